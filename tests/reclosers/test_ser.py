"""Lists of changes of state: numbers, times to the millisecond, elements and their states."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.errors import FormatError
from workspace_lib.formats import Record
from workspace_lib.reclosers.ser import StateChanges, parse_ser

TEXT = """\x02
FEEDER 12                        Date: 07/12/19    Time: 09:40:00.000
STATION A

FID=SEL-351R-R112-V0-Z004003-D20020610     CID=59A0

#       DATE       TIME         ELEMENT      STATE

5     07/12/19   09:00:00.001   Relay newly powered up or settings changed
4     07/12/19   09:28:31.717   51G          Asserted
3     07/12/19   09:28:31.775   TRIP         Asserted
2     07/12/19   09:28:31.813   52A          Deasserted
1     07/12/19   09:28:32.001   FP_LOCK      PICKUP
=>
\x03"""


def parse(text: str = TEXT) -> Record:
    return parse_ser(text.encode("latin-1"))


def changes(text: str = TEXT) -> StateChanges:
    found: StateChanges = parse(text).data
    return found


def test_every_row_is_a_change_in_the_order_of_the_list() -> None:
    found = changes().changes
    assert [(one.number, one.element, one.asserted) for one in found[1:]] == [
        (4, "51G", True),
        (3, "TRIP", True),
        (2, "52A", False),
        (1, "FP_LOCK", None),
    ]
    assert str(found[2].time) == "2019-07-12T09:28:31.775"


def test_a_message_of_the_relay_is_an_element_without_state() -> None:
    first = changes().changes[0]
    assert (first.element, first.state) == ("Relay newly powered up or settings changed", "")


def test_a_state_may_have_a_name_of_the_sites_own() -> None:
    assert changes().changes[-1].state == "PICKUP"


def test_the_head_says_who_it_was() -> None:
    head = changes().head
    assert head is not None
    assert (head.relay, head.terminal) == ("FEEDER 12", "STATION A")


def test_a_list_whose_blanks_were_lost_gives_the_same_changes() -> None:
    lines = [" ".join(line.split()) for line in TEXT.splitlines()]
    assert changes("\n".join(lines)).changes == changes().changes


def test_no_data_is_an_empty_list() -> None:
    assert changes("\r\nNo SER Data\r\n").changes == ()


def test_another_order_of_dates_is_the_relays_setting() -> None:
    text = TEXT.replace("07/12/19", "19/07/12")
    found: StateChanges = parse_ser(text.encode(), order="YMD").data
    assert found.changes == changes().changes


def test_a_row_that_is_none_is_told_and_the_others_are_read() -> None:
    record = parse(TEXT.replace("07/12/19   09:28:31.775", "13/42/19   09:28:31.775"))
    assert [one.number for one in record.data.changes] == [5, 4, 2, 1]
    assert [(issue.code, issue.where) for issue in record.issues] == [("bad_row", "line 11")]


def test_a_history_is_no_list_of_changes() -> None:
    with pytest.raises(FormatError):
        parse("#     DATE      TIME     EVENT   LOCAT  CURR\r\n1 07/12/19 09:28:31.721 AG\r\n")


@settings(max_examples=60)
@given(st.integers(0, len(TEXT)), st.binary(min_size=1, max_size=8))
def test_any_damage_ends_as_a_list_or_a_format_error(at: int, noise: bytes) -> None:
    raw = TEXT.encode("latin-1")
    try:
        parse_ser(raw[:at] + noise + raw[at + len(noise) :])
    except FormatError:
        return
