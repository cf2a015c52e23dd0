"""Runs over fleets of simulated relays: what is fetched, kept, tried again, left and told."""

from __future__ import annotations

import gzip
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import select

from workspace_lib.errors import ParameterError, StoreError
from workspace_lib.reclosers import fleet_line
from workspace_lib.reclosers.relay_capture import visit_relay
from workspace_lib.reclosers.simulator import Fault, RelaySpec, make_events
from workspace_lib.reclosers.simulator_gateway import GatewayManners, RelayAt
from workspace_lib.reclosers.tables import recloser_relays, recloser_visits
from workspace_lib.store import leases
from workspace_lib.store.engines import read, write
from workspace_lib.transports.devices import Holder, open_exclusive
from workspace_lib.transports.serial_line import device_id

StartFleet = Callable[..., Any]
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def outcomes(report: Any) -> dict[str, str]:
    return {line.recloser: line.outcome for line in report.relays}


def row_of(fleet: Any, recloser: str) -> Any:
    with read(fleet.store.data) as connection:
        return connection.execute(
            select(recloser_relays).where(recloser_relays.c.recloser == recloser)
        ).one()


# --- what is fetched ------------------------------------------------------------------------------


def test_everything_new_is_fetched_once(start_fleet: StartFleet, fleets: ModuleType) -> None:
    fleet = start_fleet(fleets.relays_of(4, events=2, lines=2))

    first = fleet.capture()
    assert fleet.stored() == fleet.truth()
    assert (first.totals["new"], first.totals["known"], first.complete) == (8, 0, True)

    fleet.gateway.happen("R-3")
    second = fleet.capture()
    assert fleet.stored() == fleet.truth()
    assert (second.totals["new"], second.totals["known"], second.trouble) == (1, 8, "")
    assert [(line.recloser, line.new) for line in second.relays if line.new] == [("R-3", 1)]


def test_the_report_says_what_each_relay_was(start_fleet: StartFleet, fleets: ModuleType) -> None:
    late = RelayAt("R-1", fleets.spec(1, clock_error_s=-4.0))
    [line] = start_fleet([late]).capture().relays
    assert (line.recloser, line.ced, line.model, line.outcome) == ("R-1", "LAV", "SEL-351R", "done")
    assert line.clock_error_s == pytest.approx(-4.0, abs=1.0)
    assert line.bytes > 10_000
    assert (line.attempts, line.why) == (1, "")


def test_only_those_that_were_chosen_and_can_be_reached_are_visited(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    fleet = start_fleet(
        fleets.relays_of(3),
        more={"R-2": {"ced": "MAT"}},
        also=[{"id": "M-9", "ced": "MAT", "remote": False}],
    )
    report = fleet.capture(ced="MAT")
    assert outcomes(report) == {"R-2": "done"}
    assert report.not_remote == 1
    assert outcomes(fleet.capture(reclosers="R-1")) == {"R-1": "done"}
    with pytest.raises(ParameterError, match=r"R-1, R-2, R-3, M-9"):
        fleet.capture(reclosers="R-7")
    with pytest.raises(ParameterError, match="LAV, MAT"):
        fleet.capture(ced="MTL")


def test_a_report_that_the_relay_has_no_more_is_kept_as_a_summary_and_not_asked_for_again(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    spec = fleets.spec(1, events=3)
    spec.erased.add(spec.events[1].key)
    fleet = start_fleet([RelayAt("R-1", spec)])
    assert [(one.new, one.summaries) for one in fleet.capture().relays] == [(2, 1)]
    assert [(one.new, one.summaries, one.known) for one in fleet.capture().relays] == [(0, 0, 3)]


def test_progress_and_counts_are_told_as_events_arrive(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    told: list[tuple[float, str]] = []
    files: list[int] = []
    fleet = start_fleet(fleets.relays_of(3, events=1))
    fleet.capture(
        progress=lambda share, text: told.append((share, text)),
        count=lambda **amounts: files.append(amounts["files"]),
    )
    assert told[-1] == (1.0, "3 of 3 relays, 3 events new")
    assert [share for share, _ in told] == sorted(share for share, _ in told)
    assert sum(files) == 3


# --- lines ----------------------------------------------------------------------------------------


def test_there_is_never_more_than_one_session_on_a_line(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    fleet = start_fleet(fleets.relays_of(6, events=1, lines=1))
    # The gateway hangs up on a second client of a line and says so.
    assert set(outcomes(fleet.capture()).values()) == {"done"}
    assert set(fleet.gateway.sessions().values()) == {1}


def test_lines_are_worked_on_side_by_side(
    start_fleet: StartFleet, fleets: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = start_fleet(fleets.relays_of(4, events=1), wing={"parallel": 4})
    together = threading.Barrier(4)

    def visit_together(*given: Any, **options: Any) -> Any:
        together.wait(60)  # breaks unless all four lines are open at once
        return visit_relay(*given, **options)

    monkeypatch.setattr(fleet_line, "visit_relay", visit_together)
    assert set(outcomes(fleet.capture()).values()) == {"done"}


def test_a_line_that_somebody_else_holds_is_busy_and_no_fault_of_the_relay(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    fleet = start_fleet(fleets.relays_of(2, events=1))
    line = device_id(fleet.urls["R-1"])
    now = datetime.now(UTC)
    assert leases.acquire(fleet.store.control, line, "somebody", ttl_s=600, now=now)
    report = fleet.capture()
    assert outcomes(report) == {"R-1": "busy", "R-2": "done"}
    assert "somebody" in report.relays[0].why
    assert (row_of(fleet, "R-1").failures, row_of(fleet, "R-1").not_before) == (0, None)


def test_lines_are_given_back(start_fleet: StartFleet, fleets: ModuleType) -> None:
    fleet = start_fleet(fleets.relays_of(2, events=1))
    fleet.capture()
    for url in fleet.urls.values():
        with open_exclusive(fleet.store, device_id(url), Holder("next"), fleets.Nothing):
            pass


def test_what_the_gateway_says_is_told_apart(start_fleet: StartFleet, fleets: ModuleType) -> None:
    manners = GatewayManners(locked="say", locked_text="Port locked")
    fleet = start_fleet(fleets.relays_of(3, events=1), manners, locked=["R-1"])
    fleet.gateway.hold("R-2")
    report = fleet.capture()
    assert outcomes(report) == {"R-1": "locked", "R-2": "busy", "R-3": "done"}
    assert report.trouble == "busy: 1 (R-2); locked: 1 (R-1)"
    assert row_of(fleet, "R-1").not_before is None
    assert [line.attempts for line in report.relays] == [2, 2, 1]


# --- relays that fail -----------------------------------------------------------------------------


def test_a_relay_that_dropped_is_visited_again_after_the_others_and_loses_nothing(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    relays = fleets.relays_of(3, events=3, lines=1)
    relays[0].spec.faults.append(Fault("cut", "CEV", at=3000, nth=1))
    fleet = start_fleet(relays)
    report = fleet.capture()
    assert fleet.stored() == fleet.truth()
    first = report.relays[0]
    assert (first.outcome, first.attempts, first.new, first.known) == ("done", 2, 3, 0)
    with read(fleet.store.data) as connection:
        visits = connection.execute(
            select(recloser_visits.c.recloser, recloser_visits.c.outcome).order_by(
                recloser_visits.c.visit_id
            )
        ).all()
    assert visits == [("R-1", "dropped"), ("R-2", "done"), ("R-3", "done"), ("R-1", "done")]


@pytest.fixture
def silence() -> Iterator[dict[str, Any]]:
    """What the list says of a relay behind a port where nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield {"url": f"socket://127.0.0.1:{server.getsockname()[1]}"}


def test_a_silent_relay_rests_longer_each_time_until_it_answers(
    start_fleet: StartFleet, fleets: ModuleType, silence: dict[str, Any]
) -> None:
    fleet = start_fleet(fleets.relays_of(2), more={"R-1": silence}, wing={"back_off_s": 3600.0})

    report = fleet.capture(fleets.BRISK, now=NOW)
    assert outcomes(report) == {"R-1": "silent", "R-2": "done"}
    assert report.relays[0].attempts == 2
    assert row_of(fleet, "R-1").not_before == NOW + timedelta(hours=1)

    report = fleet.capture(now=NOW + timedelta(minutes=59))
    assert (outcomes(report), report.resting) == ({"R-2": "done"}, ("R-1",))

    fleet.capture(fleets.BRISK, now=NOW + timedelta(hours=1))
    assert row_of(fleet, "R-1").not_before == NOW + timedelta(hours=3)

    fleet.list_anew({})
    report = fleet.capture(now=NOW + timedelta(hours=2), full=True)
    assert outcomes(report)["R-1"] == "done"
    assert (row_of(fleet, "R-1").failures, row_of(fleet, "R-1").not_before) == (0, None)
    assert fleet.stored() == fleet.truth()


def test_who_names_a_relay_need_not_wait_for_its_rest(
    start_fleet: StartFleet, fleets: ModuleType, silence: dict[str, Any]
) -> None:
    fleet = start_fleet(fleets.relays_of(1), more={"R-1": silence})
    fleet.capture(fleets.BRISK, now=NOW)
    fleet.list_anew({})
    assert outcomes(fleet.capture(now=NOW, reclosers="R-1")) == {"R-1": "done"}


def test_a_refused_password_is_never_said_three_times_within_a_day(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    fleet = start_fleet([RelayAt("R-1", fleets.spec(1, password="other"))])

    def refused() -> int:
        return int(fleet.gateway.truth()["R-1"].passwords_refused)

    report = fleet.capture(now=NOW)
    assert (outcomes(report), report.relays[0].attempts) == ({"R-1": "refused"}, 1)
    assert refused() == 1
    assert fleet.capture(now=NOW, full=True).resting == ("R-1",)
    fleet.capture(now=NOW, reclosers="R-1")
    assert refused() == 2
    for _ in range(3):
        assert fleet.capture(now=NOW, reclosers="R-1", full=True).resting == ("R-1",)
    assert refused() == 2
    assert fleet.gateway.truth()["R-1"].alarms == 0
    fleet.capture(now=NOW + timedelta(days=1))
    assert refused() == 3


def test_a_password_that_is_not_set_is_told_and_the_relay_need_not_rest(
    start_fleet: StartFleet, fleets: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = start_fleet([RelayAt("R-1", fleets.spec(1))])
    monkeypatch.delenv(fleets.SECRET)
    report = fleet.capture()
    assert outcomes(report) == {"R-1": "refused"}
    assert fleets.SECRET in report.relays[0].why
    monkeypatch.setenv(fleets.SECRET, fleets.PASSWORD)
    assert outcomes(fleet.capture()) == {"R-1": "done"}


def test_an_event_that_never_arrives_whole_does_not_keep_the_others(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    relay = RelayAt("R-1", fleets.spec(1, events=2))
    relay.spec.faults.append(Fault("noise", "CEV", at=3000, times=1000))
    fleet = start_fleet([relay], wing={"attempts": 1})
    report = fleet.capture()
    [line] = report.relays
    assert (line.outcome, line.new, line.damaged) == ("damaged", 0, 2)
    assert report.trouble == "damaged: 1 (R-1)"
    assert fleet.stored() == {}
    relay.spec.faults.clear()
    assert outcomes(fleet.capture(reclosers="R-1")) == {"R-1": "done"}
    assert fleet.stored() == fleet.truth()


def test_a_relay_that_is_another_device_than_before_is_told(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    fleet = start_fleet(fleets.relays_of(1))
    assert fleet.capture().changed == ()
    with write(fleet.store.data) as connection:
        connection.execute(recloser_relays.update().values(fid="SEL-351R-R100-V0"))
    report = fleet.capture()
    [(recloser, what)] = report.changed
    assert recloser == "R-1"
    assert "it was SEL-351R-R100-V0 and is SEL-351R-R115" in what
    assert what in report.relays[0].why
    assert "another device" in report.trouble
    assert fleet.capture().changed == ()


def test_what_cannot_be_kept_is_told_and_fetched_by_the_next_run(
    start_fleet: StartFleet, fleets: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = start_fleet(fleets.relays_of(1), wing={"attempts": 1})

    def full(*_: Any, **__: Any) -> int:
        raise StoreError("The disk is full.")

    with monkeypatch.context() as broken:
        broken.setattr(fleet_line, "keep_event", full)
        report = fleet.capture()
    assert outcomes(report) == {"R-1": "dropped"}
    assert "could not be kept" in report.relays[0].why
    assert row_of(fleet, "R-1").not_before is None
    fleet.capture()
    assert fleet.stored() == fleet.truth()


# --- the run's time -------------------------------------------------------------------------------


def test_no_visit_begins_that_cannot_end_in_time(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    fleet = start_fleet(fleets.relays_of(2))
    report = fleet.capture(replace(fleets.QUICK, least_s=30, leave_s=10), deadline_s=39)
    assert (report.relays, report.left) == ((), ("R-1", "R-2"))
    assert not report.complete
    assert fleet.gateway.sessions() == {"R-1": 0, "R-2": 0}


def test_at_the_deadline_sessions_are_left_by_can_and_quit_and_what_came_is_kept(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    relay = RelayAt("R-1", fleets.spec(1, events=3))
    relay.spec.faults.append(Fault("stall", "CEV", at=3000, nth=1, times=99))
    fleet = start_fleet([relay])
    stop = threading.Event()
    report = fleet.capture(stop=stop, count=lambda **_: stop.set())
    [line] = report.relays
    assert (line.outcome, line.new) == ("dropped", 1)
    assert line.why == "the run was stopped"
    assert report.left == ("R-1",)
    truth = fleet.gateway.truth()["R-1"]
    assert (truth.commands[-1], truth.level) == ("QUI", "0")
    assert row_of(fleet, "R-1").not_before is None
    relay.spec.faults.clear()
    fleet.capture()
    assert fleet.stored() == fleet.truth()


def test_a_visit_is_ended_after_the_longest_time_of_one_relay(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    slow, quick = fleets.relays_of(2, events=3, lines=1)
    slow.spec.faults.append(Fault("stall", "CEV", at=3000, nth=1, times=99))
    fleet = start_fleet([slow, quick], wing={"device_s": 2.0, "attempts": 1})
    report = fleet.capture()
    assert outcomes(report) == {"R-1": "dropped", "R-2": "done"}
    assert "took longer than 2 s" in report.relays[0].why
    assert (report.relays[0].new, report.left) == (1, ())
    # It brought something: it need not rest any longer for each time.
    assert row_of(fleet, "R-1").failures == 0


def test_an_error_of_the_run_itself_leaves_relays_in_good_order(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    fleet = start_fleet(fleets.relays_of(2))

    def wrong(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fleet.capture(progress=wrong)
    assert {one.level for one in fleet.gateway.truth().values()} == {"0"}


def test_who_was_visited_longest_ago_comes_first(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    fleet = start_fleet(fleets.relays_of(3, events=1, lines=1))
    fleet.capture(reclosers="R-2", now=NOW)
    fleet.capture(reclosers="R-1", now=NOW + timedelta(hours=1))
    fleet.capture(now=NOW + timedelta(hours=2))
    with read(fleet.store.data) as connection:
        visited = connection.scalars(
            select(recloser_visits.c.recloser).order_by(recloser_visits.c.visit_id)
        ).all()
    assert visited[2:] == ["R-3", "R-2", "R-1"]


# --- the full check and transcripts ---------------------------------------------------------------


def test_the_full_check_finds_stored_files_that_are_missing_or_changed(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    fleet = start_fleet(fleets.relays_of(1, events=2))
    fleet.capture()
    assert fleet.capture(full=True).files_wrong == ()
    first, second = sorted((fleet.store.outputs / "raw" / "reclosers").glob("**/*.cev"))
    first.unlink()
    second.write_bytes(b"changed")
    report = fleet.capture(full=True)
    assert (report.files_checked, len(report.files_wrong)) == (2, 2)
    assert "stored files missing or changed: 2" in report.trouble
    assert fleet.capture().files_checked == 0


def test_the_transcript_of_each_visit_is_kept_without_the_password_and_not_for_good(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    fleet = start_fleet(fleets.relays_of(1, events=1), wing={"transcripts_days": 30})
    fleet.capture(now=datetime.now(UTC) - timedelta(days=31))
    [old] = (fleet.store.outputs / "logs/reclosers/R-1").iterdir()
    text = gzip.decompress(old.read_bytes()).decode()
    assert "CEV 1 C" in text
    assert fleets.PASSWORD not in text
    fleet.capture()
    [new] = (fleet.store.outputs / "logs/reclosers/R-1").iterdir()
    assert new != old
    with read(fleet.store.data) as connection:
        told = connection.scalars(select(recloser_visits.c.transcript)).all()
    assert told[-1] == f"logs/reclosers/R-1/{new.name}"


# --- further commands, other relays and stores ----------------------------------------------------


def test_answers_to_further_commands_are_kept_as_files_where_they_say_something_new(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    fleet = start_fleet(fleets.relays_of(1, events=1), wing={"commands": ["his"]})
    folder = fleet.store.outputs / "raw/reclosers/LAV/R-1/answers"
    fleet.capture(now=NOW, commands=["EVE 1", "his"])
    assert sorted(path.name for path in folder.iterdir()) == [
        "20260504T120000Z_EVE-1.txt",
        "20260504T120000Z_HIS.txt",
    ]
    fleet.gateway.happen("R-1")
    fleet.capture(now=NOW + timedelta(hours=1))
    [_, his] = sorted(folder.glob("*_HIS.txt"))
    assert his.read_bytes().count(b"\r\n") > 5
    fleet.capture(now=NOW + timedelta(hours=2))
    assert len(list(folder.glob("*_HIS.txt"))) == 2


def test_a_command_that_does_more_than_read_is_refused_before_anybody_is_called(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    fleet = start_fleet(fleets.relays_of(1))
    with pytest.raises(ParameterError, match="HIS C"):
        fleet.capture(commands=["HIS C"])
    assert fleet.gateway.sessions() == {"R-1": 0}


def test_a_command_that_the_relay_refuses_is_told_and_the_rest_is_done(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    relays = fleets.relays_of(1)
    relays[0].spec.faults.append(Fault("invalid", "MET", times=99))
    fleet = start_fleet(relays)
    report = fleet.capture(commands=["MET D"])
    assert outcomes(report) == {"R-1": "done"}
    assert "MET D: " in report.relays[0].why
    assert fleet.stored() == fleet.truth()


def test_a_651r_gives_its_comtrade_files_beside_the_report(
    start_fleet: StartFleet, fleets: ModuleType
) -> None:
    fleet = start_fleet([RelayAt("R-1", RelaySpec("651R", events=make_events("651R", 2)))])
    report = fleet.capture()
    assert [(line.model, line.outcome, line.new) for line in report.relays] == [
        ("SEL-651R-2", "done", 2)
    ]
    kinds = Counter(kind for _, _, kind in fleet.stored())
    assert kinds == {"cev": 2, "cfg": 2, "dat": 2, "hdr": 2}
    assert fleet.capture().relays[0].known == 2


@pytest.mark.server
def test_many_lines_keep_what_comes_in_postgresql(
    start_fleet: StartFleet, fleets: ModuleType, postgres_store_url: str
) -> None:
    fleet = start_fleet(fleets.relays_of(6, events=2), store={"url": postgres_store_url})
    assert fleet.capture().complete
    assert fleet.stored() == fleet.truth()
    assert fleet.capture(full=True).totals["known"] == 12
