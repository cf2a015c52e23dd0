"""What may be said to a relay, and that nothing else can be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.relay_commands import ALLOWED, Command, job_command

#: Full names of commands that act, set, clear or enter a level; relays cut them to three letters.
ACTING = """
    OPEN CLOSE PULSE SET PASSWORD CONTROL TRIGGER CALIBRATE 2ACCESS BACCESS EZACCESS GROUP COPY
    TARGET BREAKER RESET LOOPBACK TEST VERSION L_D PAACCESS OACCESS AACCESS CASCADE CLEAR FORCE
    REMOTE LATCH DNP MAP BNAME DNAME SNS CSER COMM IRIG PORT ACK NEXT BIRD COUNTER CEX LDP MAC
    PING RTC SYN VEC SSI PROFILE EXIT CAL OPE CLO PUL PAS CON TRI 2AC BAC EZA GRO COP TAR BRE RES
"""
CLEARING = ["C", "R", "CLEAR", "RESET", "CL", "RES", "ACK", "NEXT", "A C", "1 C", "R R", "Y", "RA"]
SEPARATORS = [" ", ",", ";", ":", "/", "  ", ", ", " / ", ";;"]
READING = [
    "ACC", "QUI", "ID", "HIS", "HIS 5", "CHI", "CHI 12", "EVE", "EVE 1", "EVE C", "EVE 2 L R",
    "CEV 1", "CEV 3 C", "CEV 2 S16 L15 R", "CEV DIF R 1", "SUM 2", "SER", "SER 1 20",
    "SER 3 30 97 4 2 97", "STA", "MET", "MET D", "TIM", "DAT", "SHO", "SHO G", "SHO 1", "SHO P 1",
    "FIL DIR", "FIL DIR EVENTS", "FIL READ EVENTS HR_10001.CFG", "FIL SHOW C4_10001.TXT",
]  # fmt: skip


def spellings(text: str) -> Iterator[str]:
    yield from {text, text.lower(), text.title()}


def refused(text: Any) -> bool:
    try:
        Command(text)
    except ParameterError:
        return True
    return False


@pytest.mark.parametrize("text", READING)
def test_a_command_that_reads_is_sent_as_it_is(text: str) -> None:
    assert Command(text).wire == text.encode() + b"\r"
    assert Command(text.lower()) == Command(text)


def test_full_names_and_other_separators_become_the_short_form() -> None:
    assert Command("history").text == "HIS"
    assert Command("event 1,c").text == "EVE 1 C"
    assert Command("FILE/READ:EVENTS;HR_1.CFG").text == "FIL READ EVENTS HR_1.CFG"
    assert Command("SER 3/30/97 4/2/97").text == "SER 3 30 97 4 2 97"


def test_no_command_that_acts_can_be_made_in_any_spelling() -> None:
    for name in ACTING.split():
        for length in range(1, len(name) + 1):
            if name[:length] in ALLOWED:
                continue
            for word in spellings(name[:length]):
                for after in ("", " 1", ";1", ",R", "/N", ":1 A"):
                    assert refused(word + after), word + after


def test_no_clearing_word_follows_a_list_a_status_or_a_measurement() -> None:
    verbs = {
        "HIS": "HISTORY", "CHI": "CHISTORY", "SER": "SEQUENCE", "STA": "STATUS", "SUM": "SUMMARY",
        "MET": "METER", "ID": "ID", "SHO": "SHOWSET",
    }  # fmt: skip
    for short, full in verbs.items():
        for verb, separator, word in itertools.product(
            [*spellings(short), *spellings(full)], SEPARATORS, CLEARING
        ):
            for text in spellings(word):
                assert refused(f"{verb}{separator}{text}"), f"{verb}{separator}{text}"


@pytest.mark.parametrize(
    "text",
    [
        "TIM 12:00:00", "DAT 1/1/26", "MET RD", "MET RE", "MET RM", "MET RESET", "EVE ACK",
        "HIS 1C", "SUM ACK", "SUM NEXT", "CEV ACK", "CEV NEXT", "FIL WRITE S SET_1.TXT",
        "FIL DEL", "FIL", "FIL READ", "FIL READ A B C", "FIL DIR ../X", "STA 1 C", "SHO C",
        "CEV 123456", "QUI 1", "ACC OTTER", "HI", "H", "HISTO", "HISX", "CEVE", "ACCES",
        "", " ", ";", "=>",
    ],
)  # fmt: skip
def test_what_is_not_on_the_list_is_refused(text: str) -> None:
    assert refused(text)


def test_no_other_character_comes_through_wherever_it_stands() -> None:
    for code in [*range(32), 127, 128, 0x85, 0xA0, 0x2028, 0xFF03, 0x131, 0x17F]:
        for text in ("HIS{}", "{}HIS", "HI{}S", "HIS {}", "HIS{}OPE 1", "CEV 1{}C", "HIS 1{}"):
            assert refused(text.format(chr(code))), (code, text)
    for text in ("HIS\rOPE", "HIS\nOPE 1", "HIS\r\nPUL 1", "CEV 1\x18", "HIS\x00", "H\x08IS"):
        assert refused(text)


@pytest.mark.parametrize("text", [None, 5, b"HIS", ["HIS"]])
def test_what_is_no_text_is_refused(text: Any) -> None:
    assert refused(text)


def test_a_command_cannot_be_changed_afterwards() -> None:
    command = Command("HIS")
    with pytest.raises(AttributeError):
        command.text = "OPE"  # type: ignore[misc]


@pytest.mark.parametrize("text", ["ACC", "QUI", "access", "quit", "2AC", "OPE"])
def test_a_job_names_no_command_of_the_session(text: str) -> None:
    with pytest.raises(ParameterError, match="only read") as caught:
        job_command(text)
    assert "ACC" not in str(caught.value.fix)


@settings(deadline=None)
@given(st.text(max_size=20))
def test_whatever_is_given_only_the_list_is_sent(text: str) -> None:
    if not refused(text):
        wire = Command(text).wire
        assert wire.endswith(b"\r")
        assert wire.count(b"\r") == 1
        assert wire.split()[0].decode() in ALLOWED
        assert all(32 <= byte < 127 for byte in wire[:-1])
