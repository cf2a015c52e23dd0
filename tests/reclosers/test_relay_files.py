"""Event files out of simulated relays: whole, true, and of the right event, or not at all."""

from __future__ import annotations

import random
from typing import Any, get_args

import pytest

from workspace_lib.errors import ConfigError
from workspace_lib.reclosers.relay import Manners
from workspace_lib.reclosers.relay_capture import CapturePlan, Visit, visit_relay
from workspace_lib.reclosers.relay_commands import ALLOWED, Command
from workspace_lib.reclosers.relay_files import EventFiles
from workspace_lib.reclosers.relay_history import History
from workspace_lib.reclosers.simulator import Fault, RelaySpec, make_events
from workspace_lib.reclosers.simulator_comtrade import comtrade_of
from workspace_lib.reclosers.simulator_files import Sender, directory
from workspace_lib.reclosers.simulator_relay import FaultKind
from workspace_lib.reclosers.ymodem import Patience
from workspace_lib.transports.serial_line import Limits, SerialLine

QUICK = Patience(start_s=0.5, block_s=0.5, byte_s=0.3, quiet_s=0.05)
FILES = CapturePlan(formats="comtrade")


def spec(count: int = 2, **more: Any) -> RelaySpec:
    return RelaySpec("651R", events=make_events("651R", count), **more)


def visit(relay: Any, known: Any = (), plan: CapturePlan = FILES, **more: Any) -> Visit:
    more.setdefault("password", lambda: "OTTER")
    manners = Manners(probe_s=0.6, settle_s=0.05, transfer=QUICK)
    with relay.line(Limits(byte_s=0.6)) as line:
        return visit_relay(line, known, plan, manners=manners, **more)


def files_of(found: Visit) -> dict[tuple[str, str], dict[str, bytes]]:
    """What an archive would hold of the files after the visit."""
    return {
        one.key: {file.kind: file.content for file in one.files if file.kind != "cev"}
        for one in found.events
        if one.state == "whole"
    }


def assert_true(relay: Any, found: Visit) -> None:
    """What an archive would take is the relay's, to the byte, and only what reads was said."""
    truth = relay.simulator.truth()
    files = truth.files()
    assert all(files.get(key, {}) == content for key, content in files_of(found).items())
    assert all(text.split()[0] in ALLOWED for text in truth.commands)


def assert_complete(relay: Any, found: Visit) -> None:
    assert found.outcome == "done", found.why
    assert [one.why for one in found.events if one.state != "whole"] == []
    assert files_of(found) == relay.simulator.truth().files()
    assert_true(relay, found)
    assert relay.simulator.truth().level == "0"


def asked(relay: Any, *words: str) -> list[str]:
    return [one for one in relay.simulator.truth().commands if one.startswith(words)]


def test_files_arrive_to_the_byte_beside_the_report(reach: Any) -> None:
    relay = reach(spec(3))
    found = visit(relay, plan=CapturePlan())
    assert_complete(relay, found)
    first = found.events[0]
    assert [one.kind for one in first.files] == ["cev", "cfg", "dat", "hdr"]
    assert [one.name for one in first.files] == ["", "HR_10001.CFG", "HR_10001.DAT", "HR_10001.HDR"]
    assert first.content == relay.simulator.truth().reports("C")[first.key]
    assert found.refusals == {}
    # The directory once, and each file once.
    assert len(asked(relay, "FIL DIR")) == 1
    assert len(asked(relay, "FIL READ")) == 9


def test_a_351r_is_not_asked_for_files_and_a_plan_may_want_reports_only(reach: Any) -> None:
    for relay, plan in (
        (reach(RelaySpec("351R", events=make_events("351R", 1))), CapturePlan()),
        (reach(spec(1)), CapturePlan(formats="cev")),
    ):
        found = visit(relay, plan=plan)
        assert [one.kind for event in found.events for one in event.files] == ["cev"]
        assert asked(relay, "FIL") == []


def test_a_plan_may_want_files_only(reach: Any) -> None:
    relay = reach(spec())
    assert_complete(relay, visit(relay))
    assert asked(relay, "CEV") == []


def test_words_of_reports_can_be_others_for_a_651r(reach: Any) -> None:
    relay = reach(spec(1))
    found = visit(relay, plan=CapturePlan(report="C", report_651="S32 R", formats="cev"))
    assert asked(relay, "CEV") == ["CEV 1 S32 R"]
    assert found.events[0].content == relay.simulator.truth().events[0].cev_of("S32 R")


def test_it_works_over_a_terminal_at_the_pace_of_a_line(reach: Any) -> None:
    relay = reach(spec(1), terminal=True, baud=115_200, speed=2)
    assert_complete(relay, visit(relay))


@pytest.mark.parametrize("told", [True, False], ids=["size", "no size"])
@pytest.mark.parametrize("padding", [0, 1, 300])
def test_padding_is_no_part_of_a_file(reach: Any, told: bool, padding: int) -> None:
    faults = [Fault("padding", "FIL READ", size=padding, times=9)]
    relay = reach(spec(tells_size=told, faults=faults))
    assert_complete(relay, visit(relay))


@pytest.mark.parametrize("kind", ["noise", "drop"])
@pytest.mark.parametrize(
    ("nth", "at"),
    [(1, 0), (1, 1), (1, 140), (1, 9000), (1, -134), (1, -1), (0, 140), (0, 1500), (2, 140)],
)
def test_a_damaged_transfer_ends_with_the_file_whole(
    reach: Any, kind: Any, at: int, nth: int
) -> None:
    relay = reach(spec(1, faults=[Fault(kind, "FIL READ", at=at, size=2, nth=nth)]))
    assert_complete(relay, visit(relay))


def test_noise_that_never_ends_leaves_a_damaged_event_and_the_next_visit_completes_it(
    reach: Any,
) -> None:
    # The samples of the older event: its second file.
    faults = [Fault("noise", "FIL READ", at=200, size=1, nth=1, times=3, every=90)]
    relay = reach(spec(faults=faults))
    found = visit(relay)
    assert [one.state for one in found.events] == ["damaged", "whole"]
    damaged = found.events[0]
    assert "never arrived whole" in damaged.why
    assert [(one.kind, one.whole) for one in damaged.files] == [("dat", False)]
    assert_true(relay, found)
    again = visit(relay, set(files_of(found)))
    assert_true(relay, again)
    assert files_of(found) | files_of(again) == relay.simulator.truth().files()


@pytest.mark.parametrize("times", [1, 9])
def test_files_that_do_not_fit_are_read_again_and_then_damaged(
    reach: Any, monkeypatch: Any, times: int
) -> None:
    events = make_events("651R", 1)
    relay = reach(RelaySpec("651R", events=events))
    machine = relay.simulator.relay
    honest, sent = machine._read_file, []

    def short(words: Any, faults: Any) -> None:
        honest(words, faults)
        if words[-1].endswith("DAT"):
            sent.append(words)
            if len(sent) <= times:  # the relay itself was not done with writing it
                machine._sender = Sender(words[-1], comtrade_of(events[0])["dat"][:9000])

    monkeypatch.setattr(machine, "_read_file", short)
    found = visit(relay)
    if times == 1:
        assert_complete(relay, found)
    else:
        (event,) = found.events
        assert event.state == "damaged"
        assert "samples are there" in event.why or "no sample" in event.why
        assert {one.whole for one in event.files} == {False}
        assert len(sent) == 2


@pytest.mark.parametrize("wait_s", [0.2, None])
@pytest.mark.parametrize("at", [100, 5000])
def test_a_relay_that_stops_amid_a_file_is_waited_for_or_brought_back(
    reach: Any, wait_s: float | None, at: int
) -> None:
    relay = reach(spec(1, faults=[Fault("stall", "FIL READ", at=at, nth=1, wait_s=wait_s)]))
    assert_complete(relay, visit(relay))


@pytest.mark.parametrize(("nth", "at"), [(0, 0), (0, 100), (1, 8000), (2, -1), (4, 8000)])
def test_a_line_that_is_cut_amid_a_file_leaves_no_half_event(reach: Any, at: int, nth: int) -> None:
    relay = reach(spec(faults=[Fault("cut", "FIL READ", at=at, nth=nth)]))
    found = visit(relay)
    assert found.outcome == "dropped"
    assert len(files_of(found)) == (1 if nth > 2 else 0)
    assert_true(relay, found)
    again = visit(relay, set(files_of(found)))
    assert again.outcome == "done"
    assert files_of(found) | files_of(again) == relay.simulator.truth().files()


@pytest.mark.parametrize("kind", ["mute", "invalid"])
@pytest.mark.parametrize("verb", ["FIL DIR", "FIL READ"])
def test_a_command_that_is_not_answered_or_not_understood_is_asked_again(
    reach: Any, kind: Any, verb: str
) -> None:
    relay = reach(spec(1, faults=[Fault(kind, verb)]))
    assert_complete(relay, visit(relay))


@pytest.mark.parametrize("kind", ["noise", "drop"])
@pytest.mark.parametrize("at", [40, 130, 185, 230, 275, 435, -60, -20])
def test_a_directory_that_came_damaged_loses_no_file(reach: Any, kind: Any, at: int) -> None:
    relay = reach(spec(2, faults=[Fault(kind, "FIL DIR", at=at, size=2)]))
    assert_complete(relay, visit(relay))


def test_a_directory_that_was_damaged_twice_at_one_place_loses_no_file(reach: Any) -> None:
    listing = directory(spec(2).stems())
    place = len("FIL DIR EVENTS\r\n\x02") + listing.index(".HDR") + 2
    relay = reach(spec(2, faults=[Fault("noise", "FIL DIR", at=place, size=1, times=2)]))
    assert_complete(relay, visit(relay))


def test_what_is_said_unasked_is_no_directory(reach: Any) -> None:
    relay = reach(spec(1, faults=[Fault("auto", "FIL DIR", times=3)]))
    assert_complete(relay, visit(relay, plan=CapturePlan()))


@pytest.mark.parametrize(("nth", "at"), [(0, 0), (0, 100), (1, 5000), (1, -1), (2, 100)])
def test_what_is_said_unasked_amid_a_file_is_no_part_of_it(reach: Any, at: int, nth: int) -> None:
    relay = reach(spec(1, faults=[Fault("auto", "FIL READ", at=at, nth=nth)]))
    assert_complete(relay, visit(relay))


@pytest.mark.parametrize("numbers", ["up", "newest"])
@pytest.mark.parametrize("nth", [0, 1, 2, 3])
@pytest.mark.parametrize("more", [{}, {"auto": True}, {"takes_count": False}])
def test_an_event_amid_a_transfer_mixes_no_files(
    reach: Any, numbers: Any, nth: int, more: dict[str, Any]
) -> None:
    faults = [Fault("event", "FIL READ", at=1000, nth=nth)]
    relay = reach(spec(3, file_numbers=numbers, faults=faults, **more))
    found = visit(relay)
    assert found.outcome == "done", found.why
    assert_true(relay, found)
    newest, *others = relay.simulator.truth().events
    assert set(files_of(found)) == {one.key for one in others}
    again = visit(relay, set(files_of(found)))
    assert set(files_of(again)) == {newest.key}
    assert_true(relay, again)


def test_files_that_are_renamed_each_time_are_given_up_and_told(reach: Any) -> None:
    faults = [Fault("event", "FIL READ", at=500, times=99)]
    relay = reach(spec(1, file_numbers="newest", faults=faults))
    found = visit(relay)
    assert [one.state for one in found.events] == ["moved"]
    assert found.events[0].files == ()
    assert_true(relay, found)


def test_a_clock_that_is_set_amid_a_transfer_is_told_and_changes_no_event(reach: Any) -> None:
    relay = reach(spec(clock_error_s=5, faults=[Fault("clock", "FIL READ", wait_s=-3600)]))
    found = visit(relay)
    assert_complete(relay, found)
    assert found.clock_moved_s == pytest.approx(-3600, abs=5)


@pytest.mark.parametrize("numbers", ["up", "newest"])
def test_the_files_of_few_events_are_found_without_opening_all(reach: Any, numbers: Any) -> None:
    events = make_events("651R", 12)
    relay = reach(RelaySpec("651R", events=events, file_numbers=numbers))
    known = {one.key for one in events} - {events[0].key, events[7].key}
    found = visit(relay, known)
    assert set(files_of(found)) == {events[0].key, events[7].key}
    assert_true(relay, found)
    opened = [one for one in asked(relay, "FIL READ") if one.endswith("CFG")]
    assert len(opened) <= (4 if numbers == "newest" else 2)


def test_an_erased_event_is_a_summary_and_one_without_files_has_its_report(reach: Any) -> None:
    events = make_events("651R", 4)
    relay = reach(
        RelaySpec("651R", events=events, erased={events[1].key}, fileless={events[3].key})
    )
    found = visit(relay, plan=CapturePlan())
    assert found.outcome == "done"
    assert [one.state for one in found.events] == ["whole", "whole", "summary", "whole"]
    oldest, _, summary, _ = found.events
    assert [one.kind for one in oldest.files] == ["cev"]
    assert "keeps no files" in oldest.why
    assert (summary.key, summary.files) == (events[1].key, ())
    assert_true(relay, found)


def test_the_newest_event_without_files_is_taken_later(reach: Any) -> None:
    relay = reach(RelaySpec("651R"))
    events = make_events("651R", 2, last=relay.simulator.relay.wall())
    relay.simulator.spec.events[:] = events
    relay.simulator.spec.fileless.add(events[0].key)
    found = visit(relay, plan=CapturePlan())
    assert [one.state for one in found.events] == ["whole", "moved"]
    assert "not there yet" in found.events[1].why
    relay.simulator.spec.fileless.clear()
    again = visit(relay, {events[1].key}, plan=CapturePlan())
    assert_true(relay, again)
    assert [one.state for one in again.events] == ["whole"]


def test_the_newest_event_that_never_gets_files_is_kept_by_its_report(reach: Any) -> None:
    events = make_events("651R", 2)
    relay = reach(RelaySpec("651R", events=events, fileless={events[0].key}))
    found = visit(relay, plan=CapturePlan())
    assert [one.state for one in found.events] == ["whole", "whole"]
    assert [one.kind for one in found.events[1].files] == ["cev"]
    assert "keeps no files" in found.events[1].why
    assert_true(relay, found)


def test_a_relay_that_shows_its_files_is_read_so(reach: Any) -> None:
    relay = reach(spec(files="show"))
    found = visit(relay)
    assert_complete(relay, found)
    # What has no checksum is read twice.
    assert len(asked(relay, "FIL SHOW")) == 2 * 2 * 3
    assert len(asked(relay, "FIL READ")) == 3


@pytest.mark.parametrize("kind", ["noise", "drop"])
@pytest.mark.parametrize("at", [300, -40])
def test_a_file_that_was_shown_damaged_is_shown_again(reach: Any, kind: Any, at: int) -> None:
    faults = [Fault(kind, "FIL SHOW", at=at, nth=1), Fault(kind, "FIL SHOW", at=at, nth=4)]
    relay = reach(spec(1, files="show", faults=faults))
    assert_complete(relay, visit(relay))


def test_a_file_that_was_shown_damaged_twice_alike_is_not_believed_on_a_line_that_errs(
    reach: Any,
) -> None:
    at = len("FIL SHOW EVENTS HR_10001.CFG\r\n\x02\r\n") + 4
    alike = Fault("drop", "FIL SHOW", at=at, size=1, times=2)
    relay = reach(spec(1, files="show", faults=[alike]))
    with relay.session(Manners(probe_s=0.6, settle_s=0.05, transfer=QUICK)) as session:
        session.disturbed = True
        files = EventFiles(session, History(session, 3), FILES)
        files.history.read()
        files.open()
        found = files.fetch(files.history.entries[0])
    assert found.state == "whole", found.why
    truth = relay.simulator.truth().files()[found.key]
    assert {one.kind: one.content for one in found.files} == truth


def test_a_shown_file_with_a_character_that_is_no_text_is_never_believed(
    reach: Any, monkeypatch: Any
) -> None:
    relay = reach(spec(1, files="show"))
    honest = relay.simulator.relay._file

    def showing(words: Any) -> str:
        return str(honest(words)).replace("FEEDER 12", "FEEDER\x0012")

    monkeypatch.setattr(relay.simulator.relay, "_file", showing)
    found = visit(relay)
    assert [one.state for one in found.events] == ["damaged"]
    assert "0x00 is no text" in found.events[0].why


def test_samples_that_cannot_be_shown_leave_the_report(reach: Any, monkeypatch: Any) -> None:
    relay = reach(spec(1, files="show"))
    honest = relay.simulator.relay._file

    def showing(words: Any) -> str:
        return str(honest(words)).replace("\r\nASCII\r\n", "\r\nBINARY\r\n")

    monkeypatch.setattr(relay.simulator.relay, "_file", showing)
    found = visit(relay, plan=CapturePlan())
    assert [one.state for one in found.events] == ["whole"]
    assert [one.kind for one in found.events[0].files] == ["cev"]
    assert "text only" in found.refusals["FIL DIR EVENTS"]


def test_files_may_be_in_one_list_without_folders(reach: Any) -> None:
    relay = reach(spec(1, folder=False))
    assert_complete(relay, visit(relay))
    assert "FIL READ HR_10001.CFG" in asked(relay, "FIL READ")


def test_a_relay_without_files_gives_its_reports_and_that_is_told(reach: Any) -> None:
    relay = reach(spec(files="none"))
    found = visit(relay, plan=CapturePlan())
    assert [[one.kind for one in event.files] for event in found.events] == [["cev"], ["cev"]]
    assert "does not know" in found.refusals["FIL DIR EVENTS"]


def test_a_line_that_cannot_carry_files_brings_the_reports(reach: Any, monkeypatch: Any) -> None:
    def seven_bits(line: Any) -> Any:
        raise ConfigError("Files need 8 data bits.")

    monkeypatch.setattr(SerialLine, "binary", seven_bits)
    relay = reach(spec(1))
    found = visit(relay, plan=CapturePlan())
    assert found.outcome == "done"
    assert [one.kind for one in found.events[0].files] == ["cev"]
    assert "8 data bits" in found.refusals["FIL DIR EVENTS"]


@pytest.mark.parametrize("formats", ["comtrade", "both"])
def test_files_that_a_plan_demands_and_the_relay_refuses_end_the_visit(
    reach: Any, formats: Any
) -> None:
    relay = reach(spec(files="none"))
    found = visit(relay, plan=CapturePlan(formats=formats))
    assert (found.outcome, found.events) == ("refused", [])


@pytest.mark.parametrize("level", ["1", "E", "2"])
def test_files_are_read_at_level_1_wherever_the_relay_was_left(reach: Any, level: str) -> None:
    relay = reach(spec(1, level=level))
    assert_complete(relay, visit(relay))
    assert relay.simulator.truth().alarms == 0


def test_files_need_no_password_where_the_jumper_is_set(reach: Any) -> None:
    relay = reach(spec(1, jumper=True))
    assert_complete(relay, visit(relay, password=None))


def test_a_wrong_password_brings_no_file(reach: Any) -> None:
    relay = reach(spec(1))
    found = visit(relay, password=lambda: "WRONG")
    assert (found.outcome, found.events) == ("refused", [])
    assert relay.simulator.truth().passwords_refused == 1


def test_an_abort_amid_a_file_stops_its_sender_and_quits(reach: Any) -> None:
    relay = reach(spec(1))
    with relay.session() as session:
        read = session.line.read

        def interrupted(*more: Any) -> bytes:
            data = read(*more)
            if len(data) > 500:
                raise KeyboardInterrupt
            return bytes(data)

        session.line.read = interrupted
        with pytest.raises(KeyboardInterrupt):
            session.fetch(Command("FIL READ EVENTS HR_10001.DAT"))
        session.line.read = read
    assert relay.simulator.truth().commands[-1] == "QUI"
    assert relay.simulator.truth().level == "0"


@pytest.mark.parametrize("seed", range(6))
def test_several_faults_at_once_end_with_all_files_or_with_none(reach: Any, seed: int) -> None:
    dice = random.Random(seed)
    kinds = [kind for kind in get_args(FaultKind) if kind not in ("clock", "padding")]
    faults = [
        Fault(
            dice.choice(kinds),
            dice.choice(["FIL READ", "FIL READ", "FIL DIR", "CHI"]),
            at=dice.choice([dice.randrange(3000), -dice.randrange(1, 300)]),
            size=dice.choice([1, 2, 40]),
            wait_s=dice.choice([None, 0.05]),
            nth=dice.randrange(6),
        )
        for _ in range(4)
    ]
    numbers = dice.choice(["up", "newest"])
    relay = reach(spec(3, file_numbers=numbers, faults=faults, tells_size=dice.random() < 0.7))
    archive: dict[tuple[str, str], dict[str, bytes]] = {}
    for _ in range(12):
        found = visit(relay, set(archive))
        assert_true(relay, found)
        assert not archive.keys() & files_of(found).keys()
        archive |= files_of(found)
        if found.outcome == "done" and archive == relay.simulator.truth().files():
            break
    assert archive == relay.simulator.truth().files()
