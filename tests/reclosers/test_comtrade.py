"""COMTRADE records: all editions and kinds of samples, exact times, damage told."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workspace_lib.errors import FormatError
from workspace_lib.formats import Record, inspect
from workspace_lib.reclosers.comtrade import (
    Files,
    by_rates,
    parse_comtrade,
    read_comtrade,
    split_cff,
)
from workspace_lib.reclosers.record import EventRecord


def cfg(
    revision: str = ",1999",
    *,
    counts: str = "3,2A,1D",
    rates: str = "1\n1200,4",
    start: str = "12/01/2011,05:55:30.075011",
    trigger: str = "12/01/2011,05:55:30.076000",
    kind: str = "ASCII",
    tail: str = "1",
    gain: str = "0.5",
) -> bytes:
    text = f"""Station,Device{revision}
{counts}
1,IA,A,Line,A,{gain},1,0,-32767,32767,100,1,S
2,VA,A,Line,kV,0.01,0,12.5,-32767,32767,20,0.1,P
1,TRIP,,,0
50
{rates}
{start}
{trigger}
{kind}
{tail}
"""
    return text.encode()


DAT = b"1,0,10,100,0\r\n2,833,20,-200,1\r\n3,1667,99999,300,1\r\n4,2500,40,,0\r\n\x1a"


def parse(config: bytes | None = None, data: bytes = DAT) -> Record:
    return parse_comtrade(Files(cfg() if config is None else config, data, name="x.cfg"))


def event(config: bytes | None = None, data: bytes = DAT) -> EventRecord:
    record: EventRecord = parse(config, data).data
    return record


def codes(config: bytes | None = None, data: bytes = DAT) -> list[str]:
    return [issue.code for issue in parse(config, data).issues]


def binary(kind: str, analog: Any, bits: Any, ticks: Any = None) -> bytes:
    """Write samples as the standard says, without the library."""
    stored = {"BINARY": "<i2", "BINARY32": "<i4", "FLOAT32": "<f4"}[kind]
    out = b""
    for number, (values, state) in enumerate(zip(analog, bits, strict=True)):
        tick = 833 * number if ticks is None else ticks[number]
        out += np.array([number + 1, tick], "<u4").tobytes()
        out += np.array(values).astype(stored).tobytes() + np.array([state], "<u2").tobytes()
    return out


def test_values_are_gain_times_what_is_stored_plus_offset() -> None:
    found = event()
    assert found.channel("IA")[:2].tolist() == [6.0, 11.0]
    assert found.channel("VA")[:3].tolist() == [1.0, -2.0, 3.0]


def test_what_stands_for_a_missing_sample_is_missing() -> None:
    found = event()
    assert np.isnan(found.channel("IA")).tolist() == [False, False, True, False]
    assert np.isnan(found.channel("VA")).tolist() == [False, False, False, True]


def test_a_whole_record_has_no_issue() -> None:
    assert codes() == []


def test_channels_carry_ratio_scale_and_skew() -> None:
    current, voltage = event().analog
    assert (current.scale, current.ratio) == ("S", 100)
    assert (voltage.scale, voltage.ratio) == ("P", pytest.approx(200))
    assert voltage.skew_s == pytest.approx(12.5e-6)


def test_secondary_values_are_made_primary_by_the_ratio() -> None:
    assert event().primary("IA")[0] == 600.0
    assert event().primary("VA")[0] == 1.0


@pytest.mark.parametrize(
    ("kind", "missing"),
    [("BINARY", -32768), ("BINARY32", -(2**31)), ("FLOAT32", -np.finfo(np.float32).max)],
)
def test_binary_samples_are_read_with_their_bits(kind: str, missing: float) -> None:
    data = binary(kind, [[10, 100], [missing, -200]], [0, 1])
    found = event(cfg(kind=kind, rates="1\n1200,2"), data)
    assert found.channel("IA")[0] == 6.0
    assert np.isnan(found.channel("IA")[1])
    assert found.bit("TRIP").tolist() == [False, True]


def test_the_kind_of_samples_may_be_written_small() -> None:
    data = binary("FLOAT32", [[1, 2]], [0])
    assert event(cfg(kind="float32", rates="1\n1200,1"), data).data_type == "FLOAT32"


def test_bits_are_taken_from_the_lowest_of_each_word() -> None:
    names = "".join(f"{n},B{n},,,0\n" for n in range(20)).encode()
    config = cfg(counts="22,2A,20D", kind="BINARY", rates="1\n1200,1")
    config = config.replace(b"1,TRIP,,,0\n", names)
    data = np.array([1, 0], "<u4").tobytes() + np.array([0, 0], "<i2").tobytes()
    data += np.array([0b1000_0000_0000_0001, 0b1000], "<u2").tobytes()
    found = event(config, data)
    assert [channel.name for channel in found.digital if found.bit(channel.name)[0]] == [
        "B0",
        "B15",
        "B19",
    ]


def test_rates_make_the_times() -> None:
    assert event().t_ns.tolist() == [0, 833_333, 1_666_667, 2_500_000]


def test_a_rate_holds_up_to_its_last_sample() -> None:
    assert by_rates(((1000.0, 2), (100.0, 4)), 5).tolist() == [
        0, 1_000_000, 2_000_000, 12_000_000, 22_000_000,
    ]  # fmt: skip


def test_without_rates_the_times_of_the_samples_hold() -> None:
    assert event(cfg(rates="0\n0,4", tail="2")).t_ns.tolist() == [
        0, 1_666_000, 3_334_000, 5_000_000,
    ]  # fmt: skip


def test_times_of_a_2013_file_with_nanoseconds_are_nanoseconds() -> None:
    config = cfg(
        ",2013",
        rates="0\n0,4",
        start="12/01/2011,05:55:30.075011123",
        trigger="12/01/2011,05:55:30.076000000",
        tail="1\n-5h30,-5h30\nB,3",
    )
    found = event(config)
    assert found.t_ns.tolist() == [0, 833, 1667, 2500]
    assert str(found.start) == "2011-01-12T05:55:30.075011123"
    assert parse(config).meta["timezone"] == {"name": "-5h30", "from": "file"}


def test_neither_rates_nor_times_is_refused() -> None:
    data = binary("BINARY", [[1, 2]], [0], ticks=[0xFFFFFFFF])
    with pytest.raises(FormatError, match="Neither sampling rates nor times"):
        parse(cfg(kind="BINARY", rates="0\n0,1"), data)


def test_the_first_edition_writes_the_month_first_and_two_digits_of_the_year() -> None:
    config = cfg("", start="09/17/15,10:52:52.987545", trigger="09/17/15,10:52:53.065045")
    found = event(config)
    assert found.revision == "1991"
    assert str(found.start) == "2015-09-17T10:52:52.987545"


@pytest.mark.parametrize(
    ("config", "code"),
    [
        (cfg(",1997"), "revision"),
        (cfg(counts="7A,2A,1D"), "channel_count"),
        (cfg(start="09/44/2025,15:44:15.167000"), "start_time"),
        (cfg(trigger="01/01/1970,00:00:00.0"), "trigger"),
        (cfg(start="12/13/2011,05:55:30.0", trigger="12/13/2011,05:55:30.1"), "date_order"),
        (cfg(rates="1\n1200,3"), "sample_count"),
        (cfg(rates="1\n1200,9"), "cut"),
        (cfg(tail="x"), "time_factor"),
        (cfg(rates="1\n120,4"), "times_differ"),
        (cfg(rates="1\n1e-300,4"), "bad_number"),
        (cfg(rates="1\n-1200,4"), "bad_number"),
    ],
)
def test_what_is_odd_is_told_and_the_samples_are_read(config: bytes, code: str) -> None:
    record = parse(config)
    assert code in [issue.code for issue in record.issues]
    assert record.data.samples == 4


def test_a_time_that_cannot_be_is_unknown() -> None:
    config = cfg(start="09/44/2025,15:44:15.167000")
    assert event(config).start is None
    assert event(config).trigger is not None


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"", "ends before the station"),
        (cfg(counts="x,y,z"), "are no numbers of channels"),
        (cfg(counts="999999999,999999999A,0D"), "cannot be"),
        (cfg(counts="103,100A,3D"), "do not make values|fields|ends before"),
        (cfg(gain="abc"), "do not make values"),
        (cfg(kind="MP3"), "no kind of samples"),
    ],
)
def test_what_makes_samples_worthless_is_refused_with_its_line(config: bytes, said: str) -> None:
    with pytest.raises(FormatError, match=said) as caught:
        parse(config)
    assert "x.cfg:" in str(caught.value)


def test_times_beyond_all_clocks_are_refused() -> None:
    with pytest.raises(FormatError, match="Times of the samples cannot be"):
        parse(cfg(rates="0\n0,4", tail="1e300"))


def test_samples_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(FormatError, match="no numbers"):
        parse(data=b"1,0,ten,100,0\r\n")


def test_rows_that_are_short_are_told() -> None:
    assert "short_row" in codes(data=DAT.replace(b"4,2500,40,,0", b"4,2500"))


def test_a_row_with_bytes_of_no_encoding_is_told_as_any_other() -> None:
    assert "short_row" in codes(data=DAT.replace(b"4,2500,40,,0", b"4,2500\xff\xfe"))


@pytest.mark.filterwarnings("error")
def test_damaged_floats_of_any_size_are_read_without_a_warning() -> None:
    data = binary("FLOAT32", [[3.0e38, np.inf]], [0])
    found = event(cfg(kind="FLOAT32", rates="1\n1200,1", gain="1e300"), data)
    assert found.samples == 1


@pytest.mark.filterwarnings("error")
def test_a_float_that_damage_made_a_signalling_nan_is_read_without_a_warning() -> None:
    data = bytearray(binary("FLOAT32", [[1, 2], [3, 4]], [1, 0]))
    data[8:12] = b"\x01\x00\x80\x7f"
    found = event(cfg(kind="FLOAT32", rates="1\n1200,2"), bytes(data))
    assert np.isnan(found.values[0, 0])


def test_bytes_after_the_last_sample_are_told_unless_they_fill_up() -> None:
    config = cfg(kind="BINARY", rates="1\n1200,1")
    data = binary("BINARY", [[1, 2]], [0])
    assert codes(config, data + b"\x1a\x1a") == []
    assert codes(config, data + b"abc") == ["trailing_bytes"]


def cff(data: bytes, head: str = "--- file type: DAT ASCII ---", kind: str = "ASCII") -> bytes:
    start = b"--- file type: CFG ---\r\n" + cfg(",2013", kind=kind)
    return start + f"{head}\r\n".encode() + data


@pytest.mark.parametrize(
    "head",
    ["--- file type: DAT ASCII ---", "-- file type  DAT ---", "--- file type DAT ASCII---"],
)
def test_a_combined_file_is_taken_apart_also_at_separators_written_wrongly(head: str) -> None:
    files, issues = split_cff(cff(DAT, head))
    assert (files.dat, issues) == (DAT, [])


def test_binary_samples_of_a_combined_file_end_where_it_says() -> None:
    data = binary("BINARY", [[1, 2]], [0])
    head = f"--- file type: DAT BINARY: {len(data)} ---"
    files, issues = split_cff(cff(data + b"more", head, "BINARY"))
    assert (files.dat, issues) == (data, [])


def test_a_length_beyond_the_file_is_told_and_costs_nothing() -> None:
    data = binary("BINARY", [[1, 2]], [0])
    content = cff(data, "--- file type: DAT BINARY: 99999999999999 ---", "BINARY")
    files, (issue,) = split_cff(content)
    assert (files.dat, issue.code) == (data, "cut")


@pytest.mark.parametrize("part", ["CFG", "DAT"])
def test_a_combined_file_without_a_part_is_refused(part: str) -> None:
    content = cff(DAT).replace(f"file type: {part}".encode(), b"file type: INF")
    with pytest.raises(FormatError, match=f"no {part} part"):
        split_cff(content)


def test_files_are_found_beside_each_other_whatever_the_case(tmp_path: Path) -> None:
    (tmp_path / "Ev. 1,a.CFG").write_bytes(cfg())
    (tmp_path / "Ev. 1,a.dat").write_bytes(DAT)
    (tmp_path / "Ev. 1,a.hdr").write_bytes(b"\xff\x80 header")
    record = read_comtrade(tmp_path / "Ev. 1,a.dat")
    assert record.data.samples == 4
    assert record.meta["header"].endswith("header")


def test_a_record_without_samples_beside_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_bytes(cfg())
    with pytest.raises(FormatError, match="no DAT file"):
        read_comtrade(tmp_path / "a.cfg")


def test_inspect_tells_the_same_of_each_record(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_bytes(cfg())
    (tmp_path / "a.dat").write_bytes(DAT)
    told = inspect(tmp_path / "a.cfg")
    assert (told["kind"], told["revision"], told["samples"]) == ("comtrade", "1999", 4)
    assert told["channels"][0] == {
        "name": "IA", "unit": "A", "first": 6.0, "middle": None, "last": 21.0, "sum": 38.0,
    }  # fmt: skip
    assert told["digital_ones"] == 2
    json.dumps(told, allow_nan=False)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 330), st.binary(min_size=1, max_size=8))
def test_any_damage_of_a_configuration_ends_as_a_record_or_a_format_error(
    at: int, noise: bytes
) -> None:
    config = cfg()
    try:
        parse(config[:at] + noise + config[at + len(noise) :])
    except FormatError:
        return


# --- real files -----------------------------------------------------------------------------------

SETS = [
    "hvdc_ccp", "keating_1999", "mm_test1", "mm_test2", "oedi_float32_f1", "pc_iso8859",
    "pc_sample_ascii", "pc_sample_bin", "pc_sample_float32_cff", "plotxy_bad_date", "plotxy_hvs",
    "rtds_ascii", "wisp_2_kv_skew", "wisp_3_ge_c60", "wisp_4_sepam", "yw_strathmore_2001",
    "zs_cff_2013", "zs_d51_1991", "zs_xtz_multirate", "zs_ymz_multirate",
]  # fmt: skip


@pytest.fixture
def oracle(real_data: Path) -> Callable[[str], list[tuple[Path, dict[str, Any]]]]:
    """What an independent decoder found in the real files of a set."""
    folder = real_data / "recloser"
    lines = (folder / "ORACLE_independent.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines if line.strip()]
    return lambda name: [(folder / name / one["file"], one) for one in found if one["set"] == name]


@pytest.mark.parametrize("name", SETS)
def test_real_records_agree_with_an_independent_decoder(
    oracle: Callable[[str], list[tuple[Path, dict[str, Any]]]], name: str
) -> None:
    found = oracle(name)
    assert found
    for path, wanted in found:
        record: EventRecord = read_comtrade(path).data
        values, middle = record.values, record.samples // 2
        assert (len(record.analog), len(record.digital)) == (wanted["na"], wanted["nd"])
        assert record.samples == wanted["n_in_dat"]
        for column, key in ((0, "a_first"), (-1, "a_last")):
            shown = [values[0, column], values[middle, column], values[-1, column]]
            assert shown == pytest.approx(wanted[key], abs=2e-6, rel=1e-9)
        assert float(np.nansum(values)) == pytest.approx(wanted["analog_sum"], abs=2e-3, rel=1e-9)
        assert int(np.count_nonzero(record.bits)) == wanted["dig_ones"]
        assert record.analog[0].name == wanted["first_analog"]
        assert record.analog[-1].name == wanted["last_analog"]


def test_real_names_are_read_in_their_encoding(real_data: Path) -> None:
    folder = real_data / "recloser"
    read = {
        name: read_comtrade(next((folder / name).glob(pattern))).data.station
        for name, pattern in (
            ("pc_iso8859", "sample_iso8859-1.cfg"),
            ("wisp_2_kv_skew", "2.cfg"),
            ("hvdc_ccp", "*.CFG"),
        )
    }
    assert read == {
        "pc_iso8859": "Estação de Medição",
        "wisp_2_kv_skew": "Неизвестный регистратор",
        "hvdc_ccp": "南瑞继保",
    }


def test_a_configuration_alone_is_refused(real_data: Path) -> None:
    path = real_data / "recloser" / "pc_sample_utf8" / "sample_ascii_utf-8.cfg"
    with pytest.raises(FormatError, match="no DAT file"):
        read_comtrade(path)


def test_mutated_real_files_never_hang_and_never_take_memory(real_data: Path) -> None:
    folder = real_data / "recloser"
    config = (folder / "pc_sample_bin" / "sample_bin.cfg").read_bytes()
    data = (folder / "pc_sample_bin" / "sample_bin.dat").read_bytes()
    generator = np.random.default_rng(11)
    start = time.monotonic()
    outcomes = {"read": 0, "refused": 0}
    for _ in range(400):
        damaged = bytearray(config)
        for _ in range(int(generator.integers(1, 5))):
            damaged[int(generator.integers(len(damaged)))] = int(generator.integers(256))
        cut = int(generator.integers(len(data)))
        try:
            parse_comtrade(Files(bytes(damaged), data[: cut or None]))
            outcomes["read"] += 1
        except FormatError:
            outcomes["refused"] += 1
    assert sum(outcomes.values()) == 400
    assert time.monotonic() - start < 120
