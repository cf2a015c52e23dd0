"""Sessions with simulated relays: levels, log-in, answers, what goes wrong, and leaving."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.errors import ConfigError, FrameError, ParameterError
from workspace_lib.reclosers.relay import Manners, RelaySession
from workspace_lib.reclosers.relay_commands import ALLOWED, Command
from workspace_lib.reclosers.relay_errors import (
    FileMissing,
    InvalidCommand,
    InvalidParameter,
    LevelLost,
    NoDataAvailable,
    PasswordRefused,
    RelaySilent,
)
from workspace_lib.reclosers.simulator import Fault, RelaySpec, make_events
from workspace_lib.transports.serial_line import Limits, LineDropped

Model = Literal["351R", "651R"]
CHI = Command("CHI")


def spec(model: Model = "351R", **more: Any) -> RelaySpec:
    return RelaySpec(model, events=make_events(model, 3), **more)


def only_reads(commands: tuple[str, ...]) -> bool:
    return all(text.split()[0] in ALLOWED for text in commands)


@pytest.mark.parametrize("model", ["351R", "651R"])
@pytest.mark.parametrize("bare", [False, True], ids=["framed", "bare"])
def test_a_relay_is_logged_into_read_and_left(reach: Any, model: Model, bare: bool) -> None:
    relay = reach(spec(model, bare_prompts=bare))
    with relay.session() as session:
        assert (session.found_level, session.asked_password) == ("0", True)
        assert session.ask(Command("ID")).content.startswith(b'\r\n"FID=SEL-')
        report = session.ask(Command("CEV 2 C")).content
    truth = relay.simulator.truth()
    assert report == truth.events[1].cev_of("C")
    assert truth.commands == ("ACC", "ID", "CEV 2 C", "QUI")
    assert (truth.level, truth.alarms, session.aside) == ("0", 0, [])


def test_it_works_over_a_terminal_at_the_pace_of_a_line(reach: Any) -> None:
    relay = reach(spec(), terminal=True, baud=38400, speed=4)
    with relay.session() as session:
        report = session.ask(Command("CEV 1")).content
    assert report == relay.simulator.truth().events[0].cev_of("")


def test_a_relay_with_its_jumper_set_asks_for_no_password(reach: Any) -> None:
    relay = reach(spec(jumper=True))
    with relay.session() as session:
        assert not session.asked_password
        assert session.ask(CHI).content
    assert "OTTER" not in relay.transcripts[0]


def test_a_session_that_was_left_open_needs_no_log_in(reach: Any) -> None:
    relay = reach(spec(level="1"))
    with relay.session() as session:
        assert session.found_level == "1"
    assert relay.simulator.truth().commands == ("QUI",)


@pytest.mark.parametrize("level", ["E", "B", "2", "C"])
def test_a_higher_level_is_told_and_left_and_nothing_is_done_there(reach: Any, level: str) -> None:
    relay = reach(spec(level=level))
    with relay.session() as session:
        assert session.found_level == level
        session.ask(CHI)
    truth = relay.simulator.truth()
    assert truth.commands == ("QUI", "ACC", "CHI", "QUI")
    assert (truth.level, truth.alarms) == ("0", 0)


def test_a_refused_password_is_sent_once_and_never_again(reach: Any) -> None:
    relay = reach(spec())
    with relay.line() as line:
        session = RelaySession(line, lambda: "WRONG", Manners(probe_s=60, settle_s=0.1))
        with pytest.raises(PasswordRefused, match="not tried again"), session:
            pass
        with pytest.raises(PasswordRefused):
            session.open()
    truth = relay.simulator.truth()
    assert (truth.passwords_refused, truth.alarms, truth.level) == (1, 0, "0")
    assert truth.commands == ("ACC", "QUI")
    assert "WRONG" not in relay.transcripts[0]


def test_a_relay_that_refuses_without_asking_again_is_believed(reach: Any) -> None:
    relay = reach(spec())
    simulator = relay.simulator.relay
    simulator._tries = 0
    original = simulator._password

    def once(typed: str) -> None:
        simulator._tries = 2
        original(typed)

    simulator._password = once
    with pytest.raises(PasswordRefused), relay.session(password="WRONG"):
        pass
    assert relay.simulator.truth().passwords_refused == 1


@pytest.mark.parametrize("password", ["", "two words", "O\rOPE 1", "é", "x" * 65])
def test_a_password_that_cannot_be_one_is_not_typed(reach: Any, password: str) -> None:
    relay = reach(spec())
    with pytest.raises(ConfigError, match="cannot be typed"), relay.session(password=password):
        pass
    truth = relay.simulator.truth()
    assert (truth.passwords_refused, truth.commands) == (0, ("ACC", "QUI"))


def test_without_a_password_nothing_is_tried(reach: Any) -> None:
    relay = reach(spec())
    with (
        relay.line() as line,
        pytest.raises(ConfigError, match="none is set"),
        RelaySession(line, None, Manners(settle_s=0.1)),
    ):
        pass
    assert relay.simulator.truth().passwords_refused == 0


def test_a_command_that_does_not_only_read_is_never_sent(reach: Any) -> None:
    class Disguised:
        text = verb = "OPE"
        wire = b"OPE 1\r"

    relay = reach(spec())
    with relay.session() as session:
        for text in ("OPE 1", "HIS C", "his;c", "SER R", "PUL 1", "2AC", "SET", "TIM 1:00:00"):
            with pytest.raises(ParameterError):
                session.ask(Command(text))
        with pytest.raises(ParameterError):
            session.ask(Disguised())  # type: ignore[arg-type]
    truth = relay.simulator.truth()
    assert truth.commands == ("ACC", "QUI")
    assert len(truth.events) == 3


def test_what_is_refused_is_an_error_with_a_name_and_the_session_goes_on(reach: Any) -> None:
    relay = reach(spec(has_chi=False))
    with relay.session() as session:
        with pytest.raises(InvalidCommand):
            session.ask(CHI)
        with pytest.raises(NoDataAvailable):
            session.ask(Command("CEV 9 C"))
        assert session.ask(Command("HIS")).content.count(b"INST") >= 0


@pytest.mark.parametrize("verb", ["CHI", "CEV", "HIS", "ID"])
def test_what_is_said_unasked_is_set_aside(reach: Any, verb: str) -> None:
    relay = reach(spec(faults=[Fault("auto", verb)]))
    text = {"CEV": "CEV 1 C"}.get(verb, verb)
    with relay.session() as session:
        first = session.ask(Command(text)).content
        again = session.ask(Command(text)).content
    assert b"nobody asked" not in first
    assert any(b"nobody asked" in one for one in session.aside)
    if verb != "HIS":
        assert first == again


def test_an_event_that_is_told_between_two_commands_is_set_aside(reach: Any) -> None:
    relay = reach(spec(auto=True))
    with relay.session() as session:
        relay.simulator.happen()
        while not session.aside:
            session.ask(CHI)
        assert b"Targets" in session.aside[0]
        assert session.ask(CHI).content.count(b"\r\n") == 5


def test_a_file_is_fetched_and_the_session_goes_on(reach: Any) -> None:
    relay = reach(spec("651R"))
    with relay.session() as session:
        received = session.fetch(Command("FIL READ EVENTS HR_10003.DAT"))
        assert session.ask(CHI).content
    truth = relay.simulator.truth()
    assert received.content == truth.files()[truth.events[0].key]["dat"]
    assert (received.name, received.size) == ("HR_10003.DAT", len(received.content))
    assert (session.aside, session.disturbed) == ([], False)
    assert "Ready to send" in relay.transcripts[0]


def test_a_file_that_is_not_given_is_an_error_with_a_name(reach: Any) -> None:
    relay = reach(spec("651R"))
    with relay.session() as session:
        with pytest.raises(FileMissing):
            session.fetch(Command("FIL READ EVENTS HR_99999.DAT"))
        relay.simulator.spec.files = "show"
        with pytest.raises(InvalidParameter):
            session.fetch(Command("FIL READ EVENTS HR_10001.CFG"))
        relay.simulator.spec.files = "none"
        with pytest.raises(InvalidCommand):
            session.fetch(Command("FIL READ EVENTS HR_10001.CFG"))
        assert session.ask(CHI).content


def test_a_line_that_cannot_carry_files_leaves_the_relay_as_it_was(
    reach: Any, monkeypatch: Any
) -> None:
    def seven_bits() -> Any:
        raise ConfigError("Files need 8 data bits.")

    relay = reach(spec("651R"))
    with relay.session() as session:
        monkeypatch.setattr(session.line, "binary", seven_bits)
        with pytest.raises(ConfigError, match="8 data bits"):
            session.fetch(Command("FIL READ EVENTS HR_10001.CFG"))
        assert session.ask(CHI).content
    assert relay.simulator.truth().level == "0"


def test_a_relay_that_fell_back_to_level_0_sends_no_file(reach: Any) -> None:
    relay = reach(spec("651R"))
    with relay.session() as session:
        relay.simulator.relay.level = "0"
        with pytest.raises(LevelLost, match="level 0"):
            session.fetch(Command("FIL READ EVENTS HR_10001.CFG"))


def test_an_answer_without_its_end_is_no_answer_and_can_be_asked_for_again(
    reach: Any, brisk: Manners
) -> None:
    relay = reach(spec(faults=[Fault("drop", "CHI", at=-12, size=1)]))  # the ETX of the answer
    with relay.session(brisk, limits=Limits(byte_s=0.6)) as session:
        answers = []
        while not answers:
            try:
                answers.append(session.ask(CHI).content)
            except FrameError:
                assert len(relay.simulator.truth().commands) < 8
    assert answers[0].count(b"\r\n") == 4


def test_a_relay_that_stops_in_the_middle_is_brought_back(reach: Any, brisk: Manners) -> None:
    relay = reach(spec(faults=[Fault("stall", "CEV", at=2000)]))
    with relay.session(brisk, limits=Limits(byte_s=0.6)) as session:
        with pytest.raises(FrameError, match="not answered in full"):
            session.ask(Command("CEV 1 C"))
        assert session.ask(Command("CEV 1 C")).content == (
            relay.simulator.truth().events[0].cev_of("C")
        )


def test_a_pause_by_flow_control_is_waited_for(reach: Any) -> None:
    relay = reach(spec(faults=[Fault("stall", "CEV", at=2000, wait_s=0.3)]))
    with relay.session() as session:
        report = session.ask(Command("CEV 1 C")).content
    assert report == relay.simulator.truth().events[0].cev_of("C")
    assert "\\x13" in relay.transcripts[0]


def test_a_relay_that_hangs_up_is_dropped(reach: Any) -> None:
    relay = reach(spec(faults=[Fault("cut", "CEV", at=3000)]))
    with pytest.raises(LineDropped), relay.session() as session:
        session.ask(Command("CEV 1 C"))


def test_a_silent_relay_is_told_and_left_all_the_same(reach: Any, brisk: Manners) -> None:
    relay = reach(spec())
    relay.simulator.relay.feed = lambda data: None
    with pytest.raises(RelaySilent, match="nothing"), relay.session(brisk):
        pass
    assert "> \\x18" in relay.transcripts[0]
    assert "> QUI\\r" in relay.transcripts[0]


def test_a_relay_that_fell_back_to_level_0_is_told(reach: Any) -> None:
    relay = reach(spec())
    with relay.session() as session:
        relay.simulator.relay.level = "0"
        with pytest.raises(LevelLost, match="level 0"):
            session.ask(Command("ID"))


def test_an_abort_sends_can_and_quits(reach: Any) -> None:
    relay = reach(spec())
    with pytest.raises(KeyboardInterrupt), relay.session():
        raise KeyboardInterrupt
    assert relay.simulator.truth().commands == ("ACC", "QUI")
    assert relay.transcripts[0].rindex("> \\x18") < relay.transcripts[0].rindex("> QUI\\r")


def test_noise_on_the_log_in_is_tried_once_more(reach: Any) -> None:
    relay = reach(spec(faults=[Fault("invalid", "ACC")]))
    with relay.session() as session:
        session.ask(CHI)
    assert relay.simulator.truth().commands == ("ACC", "ACC", "CHI", "QUI")


def test_the_relays_clock_is_read_at_log_in_and_leaving(reach: Any) -> None:
    relay = reach(spec(clock_error_s=-3600.0))
    with relay.session() as session:
        pass
    assert len(session.readings) == 2
    for reading in session.readings:
        wall = reading.host.replace(tzinfo=None)
        error = (reading.relay.to_datetime() - wall).total_seconds()
        assert error == pytest.approx(-3600, abs=reading.within_s + 0.01)
        assert reading.host <= SYSTEM_CLOCK.now()


def test_everything_that_is_sent_is_in_the_transcript_and_only_reads(reach: Any) -> None:
    relay = reach(spec())
    with relay.session() as session:
        for text in ("SER", "STA", "MET", "TIM", "DAT", "SUM 1", "SHO", "HIS", "ID", "EVE 1"):
            assert session.ask(Command(text)).content
    assert only_reads(relay.simulator.truth().commands)
