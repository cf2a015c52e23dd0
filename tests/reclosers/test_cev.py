"""CEV files: all layouts, exact times, bits of the right names, damage told and nothing guessed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.errors import FormatError
from workspace_lib.formats import Record
from workspace_lib.reclosers.cascii import checksum
from workspace_lib.reclosers.cev import parse_cev, read_cev
from workspace_lib.reclosers.record import EventRecord
from workspace_lib.reclosers.report import parse_settings

BITS = "TRIP CLOSE 52A * 79RS 79CY 79LO *"


def line(text: str) -> str:
    return f'{text},"{checksum(f"{text},".encode("latin-1")):04X}"\r\n'


def cev(
    rows: list[str],
    *,
    head: tuple[str, ...] = ('"FID"', '"FID=SEL-351R-R115"'),
    date: str = "7,12,2019,9,28,31,721",
    names: str = '"FREQ","SAM/CYC_A","SAM/CYC_D","NUM_OF_CYC","EVENT","LOCATION"',
    values: str = '59.9,4,4,1,"BG T",$$$$$$$$',
    columns: str = f'"IA","VA(kV)","FREQ","TRIG","{BITS}"',
    settings: str = "RID = R 7\r\nTID = LCL 12\r\n",
) -> bytes:
    parts = [
        *map(line, head),
        line('"MONTH","DAY","YEAR","HOUR","MIN","SEC","MSEC"'),
        line(date),
        line(names),
        line(values),
        line(columns),
        *map(line, rows),
        line('"SETTINGS"'),
        line(f'"{settings}"'),
    ]
    return "".join(parts).encode("latin-1")


ROWS = [
    '118,14.4,60.0, ,"20"',
    '-20,0.5,60.0,">","A0"',
    '-118,-14.4,60.0, ,""',
    '20,-0.5,60.0,"*","02"',
]


def event(content: bytes) -> EventRecord:
    record: EventRecord = parse_cev(content).data
    return record


def codes(content: bytes) -> list[str]:
    return [issue.code for issue in parse_cev(content).issues]


def test_a_whole_file_has_no_issue() -> None:
    assert codes(cev(ROWS)) == []


def test_the_time_of_the_header_is_that_of_the_marked_row() -> None:
    found = event(cev(ROWS))
    assert str(found.trigger) == "2019-07-12T09:28:31.721"
    assert found.trigger_s == pytest.approx(1 / 240)
    assert found.t_ns.tolist() == [0, 4_166_667, 8_333_333, 12_500_000]


def test_a_star_stands_for_both_marks_when_they_fall_on_one_row() -> None:
    rows = [row.replace('">"', " ") for row in ROWS]
    assert event(cev(rows)).trigger_s == pytest.approx(3 / 240)


def test_the_measured_frequency_is_no_time_base() -> None:
    assert event(cev(ROWS)).rates == ((240.0, 4),)


def test_a_bit_without_a_name_shifts_no_other() -> None:
    found = event(cev(ROWS))
    assert [one.name for one in found.digital] == ["TRIP", "CLOSE", "52A", "79RS", "79CY", "79LO"]
    assert found.bit("52A").tolist() == [True, True, True, False]
    assert found.bit("79LO").tolist() == [False, False, False, True]


def test_rows_between_those_with_bits_hold_them() -> None:
    assert event(cev(ROWS)).bit("TRIP").tolist() == [False, True, True, False]


def test_units_and_phases_come_from_the_names() -> None:
    found = event(cev(ROWS))
    assert [(one.name, one.unit, one.phase) for one in found.analog] == [
        ("IA", "A", "A"),
        ("VA", "kV", "A"),
        ("FREQ", "Hz", ""),
    ]


def test_a_location_the_relay_could_not_find_is_unknown() -> None:
    assert event(cev(ROWS)).summary["LOCATION"] is None


def test_who_it_was_comes_from_the_settings() -> None:
    found = event(cev(ROWS))
    assert (found.device, found.station) == ("R 7", "LCL 12")


def test_secondary_values_become_primary_by_the_ratio_of_their_channel() -> None:
    content = cev(
        ROWS,
        names='"FREQ","NFREQ","SAM/CYC_A","PRIM_VAL","CTR_IA","EVENT"',
        values='59.9,60,4,"NO",160.00,"ER"',
    )
    found = event(content)
    assert found.primary("IA")[0] == pytest.approx(118 * 160)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda rows: [*rows[:2], "1,2"], "short_row"),
        (lambda rows: [*rows[:3], rows[3].replace("-0.5", "-0.x")], "bad_number"),
        (lambda rows: [*rows[:3], rows[3].replace('"02"', '"0G"')], "bad_bits"),
        (lambda rows: rows[:3], "cut"),
        (lambda rows: [row.replace('">"', " ").replace('"*"', " ") for row in rows], "no_trigger"),
    ],
)
def test_what_is_odd_is_told(change: Callable[[list[str]], list[str]], code: str) -> None:
    assert code in codes(cev(change(ROWS)))


def test_a_row_that_is_short_is_missing_and_not_zero() -> None:
    found = event(cev([*ROWS[:3], "20,-0.5"]))
    assert np.isnan(found.values[3]).all()


def test_a_changed_byte_is_told_with_its_line() -> None:
    record = parse_cev(cev(ROWS).replace(b"-118,-14.4", b"-118,-15.4"))
    (issue,) = record.issues
    assert (issue.code, issue.where) == ("checksum", "line 10")
    assert record.data.checksums.bad == 1


@pytest.mark.parametrize(
    "date",
    ["13,12,2019,9,28,31,721", "12,12,99999999999999999999,9,28,31,7", "12,12,2019,9,28,31,1000"],
)
def test_a_date_that_cannot_be_leaves_the_time_unknown_and_the_samples_good(date: str) -> None:
    content = cev(ROWS, date=date)
    found = event(content)
    assert (found.start, found.trigger) == (None, None)
    assert found.samples == 4
    assert "bad_time" in codes(content)


def test_a_relay_that_had_no_such_event_is_no_event() -> None:
    with pytest.raises(FormatError, match="no event of this number"):
        parse_cev(line('"No Data Available"').encode())


@pytest.mark.parametrize("content", [b"", b"=>>", b'"FID","0143"\r\n', b"\x00" * 50])
def test_a_file_without_samples_is_refused(content: bytes) -> None:
    with pytest.raises(FormatError):
        parse_cev(content)


def test_the_layout_without_trigger_and_bits_is_read() -> None:
    parts = [
        line('"RELAY","MONTH","DAY","YEAR","HOUR","MIN","SEC","MSEC"'),
        line("321,7,12,99,9,28,31,721"),
        line('"IA(A)","IB(A)"'),
        line("1,2"),
        line("3,4"),
    ]
    found = event("".join(parts).encode())
    assert found.values.tolist() == [[1, 2], [3, 4]]
    assert str(found.trigger) == "1999-07-12T09:28:31.721"
    assert found.start is None


def test_a_second_block_of_channels_joins_the_first() -> None:
    content = cev(ROWS)
    at = content.index(b'"SETTINGS"')
    block = line('"IAL","IBL","TRIG","X Y Z *"') + "".join(
        line(f'{n},{-n}, ,"8"') for n in range(4)
    )
    found = event(content[:at] + block.encode() + content[at:])
    assert found.channel("IBL").tolist() == [0, -1, -2, -3]


@pytest.mark.parametrize("echo", [b"", b"CEV 2"])
def test_a_second_event_in_one_capture_is_told_and_mixed_with_none(echo: bytes) -> None:
    content = cev(ROWS) + echo + cev(ROWS[:2], date="7,12,2019,9,30,0,5")
    found = event(content)
    assert [one.name for one in found.analog] == ["IA", "VA", "FREQ"]
    assert str(found.trigger) == "2019-07-12T09:28:31.721"
    assert "another_event" in codes(content)


def test_settings_are_read_in_both_spellings() -> None:
    assert parse_settings("CTR := 500   CTRN := 500\nTR  =OC + 51PT * SH0") == {
        "CTR": "500",
        "CTRN": "500",
        "TR": "OC + 51PT * SH0",
    }


@settings(max_examples=60)
@given(st.integers(0, 400), st.binary(min_size=1, max_size=6))
def test_any_damage_ends_as_a_record_with_issues_or_a_format_error(at: int, noise: bytes) -> None:
    content = cev(ROWS)
    damaged = content[:at] + noise + content[at + len(noise) :]
    try:
        record = parse_cev(damaged)
    except FormatError:
        return
    assert record.issues or np.array_equal(
        record.data.values, event(content).values, equal_nan=True
    )


# --- real and published files ---------------------------------------------------------------------


@pytest.fixture
def real(real_data: Path) -> Callable[[str], Record]:
    """Read a real file by its path below the recloser samples."""
    return lambda name: read_cev(real_data / "recloser" / name)


@pytest.fixture
def truth(real_data: Path) -> Any:
    path = real_data / "recloser" / "derived_cev" / "TRUTH.json"
    return {Path(key).name: value for key, value in json.loads(path.read_text()).items()}


def test_the_real_file_is_read_as_published(real: Callable[[str], Record]) -> None:
    record = real("sel710_cev/Ex1_710 (1).cev")
    found: EventRecord = record.data
    assert record.issues == ()
    assert (found.samples, len(found.analog)) == (256, 12)
    assert (found.checksums.good, found.checksums.bad) == (265, 0)
    ones = {name: int(found.bit(name).sum()) for name in ("TRIP", "52A", "50Q1P", "RELAY_EN")}
    assert ones == {"TRIP": 97, "52A": 176, "50Q1P": 29, "RELAY_EN": 256}
    assert int(np.argmax(found.bit("TRIP"))) == 159
    assert found.trigger_s == pytest.approx(159 / 240)


def test_two_rows_a_quarter_apart_give_the_published_magnitudes(
    real: Callable[[str], Record],
) -> None:
    found: EventRecord = real("sel710_cev/Ex1_710 (1).cev").data
    for name, published in (("IA", 628.83), ("IB", 645.55), ("IC", 1284.74)):
        values = found.channel(name)
        assert math.hypot(values[160], values[159]) == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize(
    "name",
    ["D1_351R_4spc_filtered.CEV", "D2_351A_raw16_dig4.CEV", "D3_651R2_raw32_dig4.CEV",
     "D4_551_CR_only.CEV"],
)  # fmt: skip
def test_the_synthesised_files_are_read_as_they_were_made(
    real: Callable[[str], Record], truth: Any, name: str
) -> None:
    found: EventRecord = real(f"derived_cev/{name}").data
    wanted = truth[name]
    assert found.samples == wanted["rows"]
    assert found.trigger_s is not None
    rate = found.rates[0][0]
    assert found.trigger_s * rate == pytest.approx(wanted["trigger_row"], abs=1e-5)
    assert found.checksums.bad == 0
    for bit, (first, end) in wanted.get("bits", {}).items():
        # Bits come at their own, lower rate: a change shows at the next row that has them.
        rows = np.flatnonzero(found.bit(bit))
        step = found.rates[0][0] / 240
        assert rows[0] == pytest.approx(first, abs=step)
        assert rows[-1] + 1 == pytest.approx(end, abs=step)
