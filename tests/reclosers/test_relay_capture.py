"""Visits of simulated relays: what is new, whole and true, whatever goes wrong on the way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest

from workspace_lib.errors import ParameterError, StoreError
from workspace_lib.reclosers.record import device_time
from workspace_lib.reclosers.relay import ClockReading, Manners
from workspace_lib.reclosers.relay_capture import (
    CapturePlan,
    FetchedEvent,
    Visit,
    clock_error_s,
    visit_relay,
)
from workspace_lib.reclosers.relay_commands import ALLOWED
from workspace_lib.reclosers.simulator import Fault, RelaySpec, make_events
from workspace_lib.reclosers.ymodem import Patience
from workspace_lib.transports.serial_line import Limits

Model = Literal["351R", "651R"]


def spec(model: Model = "351R", count: int = 3, **more: Any) -> RelaySpec:
    return RelaySpec(model, events=make_events(model, count), **more)


def visit(relay: Any, known: Any = (), *, brisk: Manners | None = None, **more: Any) -> Visit:
    """Visit a relay; with ``brisk`` manners silence counts soon."""
    limits = Limits(byte_s=brisk.probe_s) if brisk else None
    more.setdefault("password", lambda: "OTTER")
    manners = brisk or Manners(probe_s=60, settle_s=0.05, transfer=Patience(quiet_s=0.1))
    with relay.line(limits) as line:
        return visit_relay(line, known, manners=manners, **more)


def stored(found: Visit) -> dict[tuple[str, str], bytes]:
    """What a store would hold after the visit, without what is not whole."""
    return {
        one.key: one.content
        for one in found.events
        if one.state == "whole" and one.content is not None
    }


def assert_complete(relay: Any, found: Visit) -> None:
    """Every report that the relay has is there, to the byte, and only what reads was sent."""
    truth = relay.simulator.truth()
    assert found.outcome == "done", found.why
    assert stored(found) == truth.reports("C")
    for key, files in truth.files().items():
        event = next(one for one in found.events if one.key == key)
        assert {one.kind: one.content for one in event.files if one.kind != "cev"} == files
    assert all(text.split()[0] in ALLOWED for text in truth.commands)
    assert truth.level == "0"


def assert_nothing_wrong(relay: Any, found: Visit) -> None:
    """What is stored is true, whatever is missing."""
    reports = relay.simulator.truth().reports("C")
    assert all(reports[key] == content for key, content in stored(found).items())


@pytest.mark.parametrize("model", ["351R", "651R"])
@pytest.mark.parametrize("has_chi", [True, False], ids=["CHI", "HIS"])
def test_everything_new_is_fetched_to_the_byte(reach: Any, model: Model, has_chi: bool) -> None:
    relay = reach(spec(model, 4, has_chi=has_chi))
    found = visit(relay)
    assert_complete(relay, found)
    assert found.history_command == ("CHI" if has_chi else "HIS")
    assert model in found.identity["FID"]
    assert [one.entry.number for one in found.events] == [4, 3, 2, 1]
    assert (found.known, found.found_level, found.clock_moved_s) == (0, "0", 0)


def test_what_is_known_is_not_fetched_again(reach: Any) -> None:
    relay = reach(spec(count=4))
    first = visit(relay)
    relay.simulator.happen()
    again = visit(relay, {one.key for one in first.events})
    assert [one.key for one in again.events] == [relay.simulator.truth().events[0].key]
    assert again.known == 4
    reports = [text for text in relay.simulator.truth().commands if text.startswith("CEV")]
    assert len(reports) == 5


def test_a_relay_without_events_is_done_at_once(reach: Any) -> None:
    for has_chi in (True, False):
        relay = reach(RelaySpec(events=[], has_chi=has_chi))
        found = visit(relay)
        assert (found.outcome, found.listed, found.events) == ("done", (), [])


@pytest.mark.parametrize("kind", ["noise", "drop"])
@pytest.mark.parametrize("at", [60, 3000, 9000, -60])
def test_a_report_that_came_damaged_is_read_again(reach: Any, kind: Any, at: int) -> None:
    relay = reach(spec(faults=[Fault(kind, "CEV", at=at, nth=1)]))
    found = visit(relay)
    assert_complete(relay, found)
    # From then on each is read until two readings agree.
    assert [one.reads for one in found.events] == [1, 3, 2]


def test_changes_that_undo_each_other_in_the_sum_are_found_on_a_disturbed_line(
    reach: Any,
) -> None:
    relay = reach(spec(faults=[Fault("noise", "CEV", at=3000)]))
    machine = relay.simulator.relay
    honest, asked = machine._cev, []

    def changed(words: Any) -> bytes:
        asked.append(words[0])
        report = honest(words)
        if len(asked) != 3:
            return report
        place = report.index(b"59.98,16")
        return report[:place] + b"68.98,16" + report[place + 8 :]  # 5+9 and 6+8

    machine._cev = changed
    assert_complete(relay, visit(relay))


@pytest.mark.parametrize("at", [-11, -10, -7, -6, -4, -1])
def test_noise_at_the_end_of_a_report_leaves_it_whole_or_has_it_read_again(
    reach: Any, brisk: Manners, at: int
) -> None:
    relay = reach(spec(count=1, faults=[Fault("noise", "CEV", at=at, size=1)]))
    found = visit(relay, brisk=brisk)
    assert_complete(relay, found)


def test_an_end_of_line_that_was_lost_at_the_end_is_noticed(reach: Any) -> None:
    relay = reach(spec(count=1, faults=[Fault("drop", "CEV", at=-9, size=2)]))
    assert_complete(relay, visit(relay))


def test_a_whole_line_that_was_lost_is_noticed(reach: Any) -> None:
    report = make_events("351R", 1)[0].cev_of("C")
    start = report.index(b"\r\n", 5000) + 2
    size = report.index(b"\r\n", start) + 2 - start
    # The echo and the frame's beginning come before it.
    at = start + len(b"CEV 1 C\r\n\x02") - len(b"CEV 1 C\r\n")
    relay = reach(spec(count=1, faults=[Fault("drop", "CEV", at=at, size=size)]))
    found = visit(relay)
    assert_complete(relay, found)
    assert found.events[0].reads == 2


def test_a_report_that_stays_damaged_is_handed_over_as_such(reach: Any) -> None:
    relay = reach(spec(faults=[Fault("noise", "CEV", at=3000, nth=1, times=3)]))
    found = visit(relay)
    assert [one.state for one in found.events] == ["whole", "damaged", "whole"]
    damaged = found.events[1]
    assert (damaged.reads, damaged.content is not None) == (3, True)
    assert "checksum" in damaged.why
    assert_nothing_wrong(relay, found)


@pytest.mark.parametrize("verb", ["CHI", "HIS"])
def test_a_list_that_came_damaged_is_read_again(reach: Any, brisk: Manners, verb: str) -> None:
    faults = [Fault("noise", verb, at=200, size=2), Fault("drop", verb, at=150, nth=2)]
    relay = reach(spec(has_chi=verb == "CHI", faults=faults))
    assert_complete(relay, visit(relay, brisk=brisk))


@pytest.mark.parametrize("wait_s", [0.3, None])
def test_a_relay_that_stops_by_xoff_is_waited_for_or_brought_back(
    reach: Any, brisk: Manners, wait_s: float | None
) -> None:
    relay = reach(spec(faults=[Fault("stall", "CEV", at=5000, wait_s=wait_s)]))
    assert_complete(relay, visit(relay, brisk=brisk))


@pytest.mark.parametrize("verb", ["ID", "CHI", "CEV"])
def test_a_command_that_is_not_answered_is_asked_again(
    reach: Any, brisk: Manners, verb: str
) -> None:
    relay = reach(spec(faults=[Fault("mute", verb)]))
    assert_complete(relay, visit(relay, brisk=brisk))


@pytest.mark.parametrize("verb", ["ID", "CHI", "CEV"])
def test_a_command_that_noise_changed_is_asked_again(reach: Any, verb: str) -> None:
    relay = reach(spec(faults=[Fault("invalid", verb)]))
    found = visit(relay)
    assert_complete(relay, found)
    assert found.history_command == "CHI"


@pytest.mark.parametrize("nth", [0, 1, 2])
def test_an_event_amid_a_visit_shifts_numbers_and_confuses_nobody(reach: Any, nth: int) -> None:
    relay = reach(spec(faults=[Fault("event", "CEV", nth=nth)]))
    found = visit(relay)
    newest, *others = relay.simulator.truth().events
    assert set(stored(found)) == {one.key for one in others}
    assert_nothing_wrong(relay, found)
    again = visit(relay, set(stored(found)))
    assert set(stored(again)) == {newest.key}


def test_a_relay_that_has_a_new_event_each_time_is_given_up_and_told(reach: Any) -> None:
    relay = reach(spec(count=1, faults=[Fault("event", "CEV", times=99)]))
    found = visit(relay)
    assert [one.state for one in found.events] == ["moved"]
    assert_nothing_wrong(relay, found)


@pytest.mark.parametrize("verb", ["ACC", "ID", "CHI", "CEV", "QUI"])
def test_what_is_said_unasked_is_kept_and_is_no_part_of_an_event(reach: Any, verb: str) -> None:
    relay = reach(spec(faults=[Fault("auto", verb)]))
    found = visit(relay)
    assert_complete(relay, found)
    assert any(b"nobody asked" in one for one in found.aside)


def test_events_that_are_told_unasked_disturb_nothing(reach: Any) -> None:
    relay = reach(spec(auto=True, faults=[Fault("event", "CEV", nth=1), Fault("event", "CHI")]))
    found = visit(relay)
    assert found.outcome == "done"
    assert len(stored(found)) == 4
    assert_nothing_wrong(relay, found)


def test_an_erased_report_leaves_its_summary(reach: Any) -> None:
    events = make_events("351R", 3)
    relay = reach(RelaySpec(events=events, erased={events[1].key}))
    found = visit(relay)
    assert_complete(relay, found)
    assert [one.state for one in found.events] == ["whole", "summary", "whole"]
    summary = found.events[1]
    assert (summary.key, summary.content, summary.sha256) == (events[1].key, None, None)
    assert summary.entry.current == events[1].current_a


def test_padding_is_no_part_of_a_report(reach: Any) -> None:
    relay = reach(spec(faults=[Fault("padding", "CEV", size=37, times=3)]))
    assert_complete(relay, visit(relay))


@pytest.mark.parametrize("verb", ["ACC", "ID", "CHI", "CEV", "QUI"])
def test_a_line_that_is_cut_leaves_no_half_file(reach: Any, verb: str) -> None:
    kept: list[FetchedEvent] = []
    relay = reach(spec(faults=[Fault("cut", verb, at=40, nth=1 if verb == "CEV" else 0)]))
    found = visit(relay, keep=kept.append)
    assert found.outcome == ("done" if verb == "QUI" else "dropped")
    assert kept == found.events
    assert len(stored(found)) == {"CEV": 1, "QUI": 3}.get(verb, 0)
    assert_nothing_wrong(relay, found)
    rest = visit(relay, {one.key for one in kept})
    assert rest.outcome == "done"
    assert stored(found) | stored(rest) == relay.simulator.truth().reports("C")


@pytest.mark.parametrize("level", ["1", "E", "B", "2", "C"])
def test_a_relay_that_was_left_at_another_level_is_captured_at_level_1(
    reach: Any, level: str
) -> None:
    relay = reach(spec(level=level))
    found = visit(relay)
    assert_complete(relay, found)
    assert found.found_level == level
    assert relay.simulator.truth().alarms == 0


def test_a_relay_with_its_jumper_set_is_captured_without_a_password(reach: Any) -> None:
    relay = reach(spec(jumper=True))
    found = visit(relay, password=None)
    assert_complete(relay, found)
    assert not found.asked_password


def test_a_wrong_password_ends_the_visit_at_the_first_refusal(reach: Any) -> None:
    relay = reach(spec())
    found = visit(relay, password=lambda: "WRONG")
    assert (found.outcome, found.events) == ("refused", [])
    assert "not tried again" in found.why
    truth = relay.simulator.truth()
    assert (truth.passwords_refused, truth.alarms, truth.level) == (1, 0, "0")


def test_a_silent_relay_is_told(reach: Any, brisk: Manners) -> None:
    relay = reach(spec())
    relay.simulator.relay.feed = lambda data: None
    found = visit(relay, brisk=brisk)
    assert (found.outcome, found.found_level) == ("silent", "")


def test_a_clock_that_is_set_meanwhile_is_told(reach: Any) -> None:
    relay = reach(spec(clock_error_s=5, faults=[Fault("clock", "CEV", wait_s=-3600)]))
    found = visit(relay)
    assert_complete(relay, found)
    assert found.clock_moved_s == pytest.approx(-3600, abs=5)


def test_the_relays_clock_is_compared_in_its_zone() -> None:
    host = datetime(2026, 7, 1, 12, tzinfo=UTC)
    relay = device_time(datetime(2026, 7, 1, 8, 0, 3), 250_000_000, 3)
    reading = ClockReading(relay, host, 0.1)
    assert clock_error_s(reading, ZoneInfo("America/Montreal")) == pytest.approx(3.25)
    assert clock_error_s(reading, ZoneInfo("UTC")) == pytest.approx(3.25 - 4 * 3600)


def test_two_events_of_one_millisecond_and_type_are_told(reach: Any) -> None:
    events = make_events("351R", 2)
    relay = reach(RelaySpec(events=[events[0], events[0], events[1]]))
    found = visit(relay)
    assert found.repeated == (events[0].key,)
    assert set(stored(found)) == {one.key for one in events}


def test_further_commands_of_a_job_are_asked_and_their_refusal_is_told(reach: Any) -> None:
    relay = reach(spec())
    found = visit(relay, plan=CapturePlan(extras=("his", "EVE 1", "FIL DIR EVENTS")))
    assert_complete(relay, found)
    assert set(found.extras) == {"his", "EVE 1"}
    assert set(found.refusals) == {"FIL DIR EVENTS"}


@pytest.mark.parametrize("extras", [("OPE 1",), ("HIS C",), ("ACC",), ("2AC",)])
def test_a_plan_that_does_not_only_read_cannot_be_made(extras: tuple[str, ...]) -> None:
    with pytest.raises(ParameterError):
        CapturePlan(extras=extras)
    with pytest.raises(ParameterError):
        CapturePlan(report="ACK")


def test_what_fails_in_keeping_an_event_ends_the_visit_and_is_raised(reach: Any) -> None:
    def full(event: FetchedEvent) -> None:
        raise StoreError("The disk is full.")

    relay = reach(spec())
    with pytest.raises(StoreError, match="full"):
        visit(relay, keep=full)
    truth = relay.simulator.truth()
    assert (truth.commands[-1], truth.level) == ("QUI", "0")


def test_a_session_that_takes_too_long_ends_with_what_was_whole(reach: Any) -> None:
    relay = reach(spec(count=6), baud=38400)
    manners = Manners(probe_s=0.5, settle_s=0.1)
    with relay.line(Limits(byte_s=20, session_s=1.2)) as line:
        found = visit_relay(
            line, (), CapturePlan(report=""), password=lambda: "OTTER", manners=manners
        )
    assert found.outcome == "dropped"
    reports = relay.simulator.truth().reports("")
    assert all(reports[key] == content for key, content in stored(found).items())
