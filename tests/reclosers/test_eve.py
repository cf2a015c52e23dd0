"""Event reports as text: the same record as a CEV file, with gaps and damage told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.errors import FormatError
from workspace_lib.formats import Record
from workspace_lib.reclosers.eve import parse_eve, read_eve
from workspace_lib.reclosers.record import EventRecord

HEAD = """EVE 1
\x02
FEEDER 12                        Date: 07/12/19    Time: 09:28:31.721
STATION A

FID=SEL-351R-R112-V0-Z004003-D20020610     CID=59A0

                                                               Out  In
     Currents (Amps Pri)           Voltages (kV Pri)           1357 135
   IA    IB    IC    IN    IG    VA    VB    VC    VS  Vdc Freq 246A 246
"""
CYCLES = (
    """[1]
  241    26  -268    -1    -1   9.6   1.5 -11.1   0.0   24 60.01 .... b..
 -169   293  -124     0     0  -7.2  11.9  -4.7   0.0   24 60.01>.... b..
 -242   -26   267    -1    -1  -9.6  -1.5  11.0  -0.0   24 60.01 .... b..
  168  -294   124    -1    -2   7.2 -11.9   4.7   0.0   24 60.01 1... b..
""",
    """[2]
 2317    30  -194    -1  2153   6.2   3.5  -9.9  -0.0   24 60.01*1... b..
 1483   207   -80     0  1609  -3.8  10.5  -5.1   0.0   24 60.01 1..A 1..
-1965   -41   160     0 -1846  -7.2  -2.9  10.1   0.0   24 60.01 1..b 2..
 -849  -146    39    -1  -956   4.4 -10.7   5.1  -0.0   24 60.01 .... ...
""",
)
TAIL = """
Protection and Control Elements

51   50   32
A B C
[1]
..... ...
Event: AG T     Location:   2.36   Shot: 0   Frequency: 60.01
Targets: INST 50
Currents (A Pri), ABCNGQ:   2752   210   209     0  2690  2688

Group 1
Group Settings:
RID   =LCL 12                    TID   =STATION B
CTR   = 120      PTR   = 180.00
NFREQ = 60       DATE_F= MDY
=>
\x03"""


def parse(cycles: Sequence[str] = CYCLES, head: str = HEAD, tail: str = TAIL) -> Record:
    return parse_eve((head + "".join(cycles) + tail).encode("latin-1"))


def event(cycles: Sequence[str] = CYCLES, head: str = HEAD, tail: str = TAIL) -> EventRecord:
    found: EventRecord = parse(cycles, head, tail).data
    return found


def codes(cycles: Sequence[str] = CYCLES, head: str = HEAD, tail: str = TAIL) -> list[str]:
    return [issue.code for issue in parse(cycles, head, tail).issues]


def test_a_whole_report_has_no_issue() -> None:
    assert codes() == []


def test_columns_become_channels_with_units_and_phases() -> None:
    found = event()
    assert [(one.name, one.unit, one.phase, one.scale) for one in found.analog] == [
        ("IA", "A", "A", "P"),
        ("IB", "A", "B", "P"),
        ("IC", "A", "C", "P"),
        ("IN", "A", "N", "P"),
        ("IG", "A", "G", "P"),
        ("VA", "kV", "A", "P"),
        ("VB", "kV", "B", "P"),
        ("VC", "kV", "C", "P"),
        ("VS", "kV", "S", "P"),
        ("VDC", "V", "", None),
        ("FREQ", "Hz", "", None),
    ]
    assert found.channel("IG").tolist() == [-1, 0, -1, -2, 2153, 1609, -1846, -956]
    assert found.peak_factor == pytest.approx(math.sqrt(2))


def test_secondary_units_are_told_apart() -> None:
    head = HEAD.replace("Amps Pri", "Amps Sec").replace("kV Pri", "V Sec")
    found = event(head=head)
    assert [(one.unit, one.scale) for one in found.analog[4:6]] == [("A", "S"), ("V", "S")]


def test_the_time_is_that_of_the_marked_row() -> None:
    found = event()
    assert str(found.trigger) == "2019-07-12T09:28:31.721"
    assert found.trigger_s == pytest.approx(1 / 240)
    assert found.rates == ((240.0, 8),)


def test_a_star_stands_for_both_marks() -> None:
    cycles = [cycle.replace(">", " ") for cycle in CYCLES]
    assert event(cycles).trigger_s == pytest.approx(4 / 240)


def test_a_report_without_marks_has_no_start() -> None:
    cycles = [cycle.replace(">", " ").replace("*", " ") for cycle in CYCLES]
    assert event(cycles).start is None
    assert codes(cycles) == ["no_trigger"]


def test_outputs_and_inputs_become_bits_by_their_heading() -> None:
    found = event()
    assert found.bit("Out1").astype(int).tolist() == [0, 0, 0, 1, 1, 1, 1, 0]
    assert found.bit("Out7").astype(int).tolist() == [0, 0, 0, 0, 0, 0, 1, 0]
    assert found.bit("OutA").astype(int).tolist() == [0, 0, 0, 0, 0, 1, 1, 0]
    assert found.bit("In1").astype(int).tolist() == [1, 1, 1, 1, 1, 1, 0, 0]
    assert found.bit("In2").astype(int).tolist() == [1, 1, 1, 1, 1, 0, 1, 0]


def test_columns_of_another_heading_are_kept_as_text() -> None:
    head = HEAD.replace("1357 135", "EE").replace("246A 246", "51 50")
    record = parse(head=head)
    assert record.data.digital == ()
    assert record.meta["digital_text"][3] == "1... b.."


def test_elements_summary_and_settings_are_kept() -> None:
    record = parse()
    found: EventRecord = record.data
    assert "..... ..." in record.meta["elements_text"]
    assert found.summary == {
        "EVENT": "AG T",
        "LOCATION": 2.36,
        "SHOT": 0.0,
        "FREQ": 60.01,
        "TARGETS": "INST 50",
        "IA": 2752.0,
        "IB": 210.0,
        "IC": 209.0,
        "IN": 0.0,
        "IG": 2690.0,
        "3I2": 2688.0,
    }
    assert (found.settings["CTR"], found.settings["PTR"]) == ("120", "180.00")
    assert (found.device, found.station) == ("LCL 12", "STATION B")


def test_without_settings_the_head_says_who_it_was() -> None:
    found = event(tail="")
    assert (found.device, found.station, found.frequency_hz) == ("FEEDER 12", "STATION A", 60.0)


def test_the_order_of_dates_is_that_of_the_settings() -> None:
    head = HEAD.replace("07/12/19", "19/07/12")
    assert str(event(head=head, tail=TAIL.replace("MDY", "YMD")).trigger) == (
        "2019-07-12T09:28:31.721"
    )


def test_cycles_that_were_left_out_leave_a_gap_in_time() -> None:
    cycles = [CYCLES[0], CYCLES[1].replace("[2]", "[4]")]
    found = event(cycles)
    assert np.diff(found.t_ns)[3] == pytest.approx(9 / 240 * 1e9, abs=1)
    assert found.rates == ((0.0, 8),)
    assert codes(cycles) == ["cut"]


def test_a_row_that_is_short_is_missing_and_told() -> None:
    cycles = [CYCLES[0].replace("  -0.0   24 60.01 .... b..", ""), CYCLES[1]]
    found = event(cycles)
    assert np.isnan(found.values[2]).all()
    assert codes(cycles) == ["short_row", "bad_bits"]


def test_a_date_that_cannot_be_leaves_the_samples() -> None:
    head = HEAD.replace("07/12/19", "44/12/19")
    assert event(head=head).samples == 8
    assert codes(head=head) == ["bad_time"]


@pytest.mark.parametrize("text", ["", "=>", HEAD, "Invalid Command"])
def test_a_text_without_samples_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        parse_eve(text.encode("latin-1"))


@settings(max_examples=80)
@given(st.integers(0, 1800), st.binary(min_size=1, max_size=8))
def test_any_damage_ends_as_a_record_or_a_format_error(at: int, noise: bytes) -> None:
    raw = (HEAD + "".join(CYCLES) + TAIL).encode("latin-1")
    try:
        parse_eve(raw[:at] + noise + raw[at + len(noise) :])
    except FormatError:
        return


def test_the_published_report_gives_the_published_magnitudes(real_data: Path) -> None:
    path = real_data / "recloser" / "protocol_samples" / "sel351a_eve_example_p497.txt"
    record = read_eve(path)
    found: EventRecord = record.data
    assert (found.samples, len(found.analog)) == (28, 11)
    star = 24
    for name, published, within in (
        ("IA", 2751.5, 0.1),
        ("IB", 210.2, 0.1),
        ("IC", 209.8, 0.1),
        ("IG", 2689.6, 0.1),
        ("VA", 7.27, 0.01),
    ):
        values = found.channel(name)
        assert math.hypot(values[star], values[star - 1]) == pytest.approx(published, abs=within)
    rotated = found.values[star, :3] + 1j * found.values[star - 1, :3]
    a, b, c = rotated.tolist()
    turn = complex(-0.5, math.sqrt(0.75))
    assert abs(a + turn**2 * b + turn * c) == pytest.approx(2688.1, abs=0.1)
    # Two of its nine cycles are not printed: the trigger stays where it was.
    assert found.trigger_s == pytest.approx(15 / 240)
    assert found.bit("Out1").sum() == 19
