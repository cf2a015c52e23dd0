"""Header files: the relay's summary by its columns, also where numbers touch or are unknown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.reclosers.hdr import EventSummary, Header, parse_hdr, read_hdr, sniff_hdr

TEXT = """
LCL 12 SEL-351                 Date: 01/07/23    Time: 23:59:59.174
STATION A

Event: CG T       Location:    2.36            Trip Time: 23:59:59.210
#: 12345  Shot: 1  Freq:  60.00  Group: 1     Close Time: 00:00:01.500
Targets: 51 G C
Breaker: Open

PreFault:     IA     IB     IC     IN     IG    3I2       VA       VB       VC
MAG(A/kV)    124    132    142     14     16     16    6.953    6.951    6.956
ANG(DEG)   19.31-100.44 138.96 167.47 165.29-131.91     0.00  -119.70   120.00
Fault:
MAG(A/kV)    166    190   1080   1028   1028   1072    7.177    7.073    6.159
ANG(DEG)   10.33-105.95  56.79  46.87  46.91 167.59    -2.50  -117.39   118.35

"""


def header(text: str = TEXT) -> Header:
    found: Header = parse_hdr(text.encode("latin-1")).data
    return found


def summary(text: str = TEXT) -> EventSummary:
    found = header(text).summary
    assert found is not None
    return found


def codes(text: str) -> list[str]:
    return [issue.code for issue in parse_hdr(text.encode("latin-1")).issues]


def test_labels_give_what_the_relay_says() -> None:
    found = summary()
    assert (found.relay, found.terminal) == ("LCL 12 SEL-351", "STATION A")
    assert str(found.time) == "2023-01-07T23:59:59.174"
    assert (found.event, found.location, found.number) == ("CG T", 2.36, 12345)
    assert (found.shot, found.frequency, found.group) == ("1", 60.0, "1")
    assert (found.targets, found.breaker) == ("51 G C", "Open")
    assert codes(TEXT) == []


def test_numbers_that_touch_are_two() -> None:
    found = summary().prefault
    assert (found["IA"].angle_deg, found["IB"].angle_deg) == (19.31, -100.44)
    assert (found["IG"].angle_deg, found["3I2"].angle_deg) == (165.29, -131.91)


def test_the_second_table_has_the_columns_of_the_first() -> None:
    found = summary().fault
    assert (found["IC"].magnitude, found["IC"].angle_deg) == (1080, 56.79)
    assert (found["VC"].magnitude, found["VC"].angle_deg) == (6.159, 118.35)


def test_a_time_after_midnight_is_that_of_the_next_day() -> None:
    assert str(summary().trip_time) == "2023-01-07T23:59:59.210"
    assert str(summary().close_time) == "2023-01-08T00:00:01.500"


def test_what_the_relay_does_not_know_is_unknown() -> None:
    text = TEXT.replace("   2.36", "$$$$$$$").replace("23:59:59.210", "--:--:--.---")
    found = summary(text.replace("Shot: 1", "Shot:  "))
    assert (found.location, found.trip_time, found.shot) == (None, None, "")


def test_a_magnitude_of_dollars_is_unknown_in_its_own_column() -> None:
    found = summary(TEXT.replace("   1080", "$$$$$$$"))
    assert (found.fault["IC"].magnitude, found.fault["IN"].magnitude) == (None, 1028)


def test_a_blank_column_shifts_no_other_and_is_told() -> None:
    text = TEXT.replace("   1080", "       ")
    assert summary(text).fault["IC"].magnitude is None
    assert summary(text).fault["VC"].magnitude == 6.159
    assert codes(text) == ["columns"]


def test_a_date_that_cannot_be_leaves_the_rest() -> None:
    text = TEXT.replace("01/07/23", "44/07/23")
    assert summary(text).time is None
    assert summary(text).fault["IC"].magnitude == 1080
    assert codes(text) == ["bad_time"]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ('<?xml version="1.0"?>\n<DisturbanceRecord/>', "xml"),
        ("[Oscillography]\ntriggerNumber=267", "text"),
        ("", "text"),
    ],
)
def test_headers_of_other_makers_are_kept_as_text(text: str, form: str) -> None:
    found = header(text)
    assert (found.form, found.text, found.summary) == (form, text, None)


def test_a_summary_is_known_by_its_content_and_a_header_by_its_ending() -> None:
    assert sniff_hdr("sum.txt", TEXT.encode())
    assert sniff_hdr("X.HDR", b"anything")
    assert not sniff_hdr("x.txt", b"FEEDER 1 Date: 07/12/99 Time: 09:28:31.721\nSTATION A\n")


def test_real_headers_of_other_makers_are_kept(real_data: Path) -> None:
    folder = real_data / "recloser"
    found: Header = read_hdr(folder / "wisp_3_ge_c60" / "3.hdr").data
    assert found.form == "text"
    (chinese,) = (folder / "zs_d51_1991").glob("*.hdr")
    other: Header = read_hdr(chinese).data
    assert other.form == "xml"
    assert "FaultReport" in other.text


@settings(max_examples=80)
@given(st.integers(0, len(TEXT)), st.binary(min_size=1, max_size=8))
def test_any_damage_still_leaves_a_header(at: int, noise: bytes) -> None:
    raw = TEXT.encode("latin-1")
    found: Header = parse_hdr(raw[:at] + noise + raw[at + len(noise) :]).data
    assert found.text
