"""Everything computed of an event: of simulated ones whose truth is known, of published ones."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workspace_lib.formats import find_reader
from workspace_lib.reclosers.analysis import analyse_entry, analyse_event
from workspace_lib.reclosers.analysis_values import EventAnalysis, from_dict
from workspace_lib.reclosers.cev import parse_cev, read_cev
from workspace_lib.reclosers.comtrade import Files, parse_comtrade, read_comtrade
from workspace_lib.reclosers.comtrade_write import write_comtrade
from workspace_lib.reclosers.faults import Line, line_of
from workspace_lib.reclosers.hdr import EventSummary, Measured, parse_hdr
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.record import Analog, DeviceTime, Digital, EventRecord, device_time
from workspace_lib.reclosers.simulator_comtrade import comtrade_of
from workspace_lib.reclosers.simulator_events import LENGTH, SimulatedEvent, make_events

KINDS = ["AG", "BG", "CG", "AB", "BC", "CA", "ABC"]
WHEN = datetime(2026, 3, 1, 7, 50, 0, 249_000)


def of(event: SimulatedEvent, words: str = "C") -> EventRecord:
    """What a reader makes of the event's report."""
    record: EventRecord = parse_cev(event.cev_of(words)).data
    return record


def codes(analysis: EventAnalysis) -> set[str]:
    return {note.code for note in analysis.notes}


# How near the truth values are: share of the magnitude, share of the line, and times [s]. Rows of a
# filtered report are a quarter-cycle apart, and bits always are.
NEAR = {
    "C": (0.002, 0.005, 0.0025, 0.004),
    "": (0.003, 0.005, 0.005, 0.007),
    "R S32": (0.003, 0.003, 0.0015, 0.0015),
    "S128 R": (0.005, 0.003, 0.0015, 0.0015),
}
BIT_S = 0.25 / 60 + 0.001


@pytest.mark.parametrize("words", NEAR)
@pytest.mark.parametrize("model", ["351R", "651R"])
def test_what_is_computed_is_what_was_simulated(model: Any, words: str) -> None:
    size, place, begin, clearing = NEAR[words]
    for seed in range(2 if "128" in words else 6):
        for event in make_events(model, 6, seed=seed):
            found = analyse_event(of(event, words))
            if event.kind == "ER":
                assert (found.kind, found.fault_type) == ("trigger", None)
                continue
            assert (found.kind, found.fault_type) == ("fault", event.kind), event
            true = float(np.abs(event.load + event.fault[0]).max())
            assert found.magnitude_a == pytest.approx(true, rel=size)
            assert found.load_a == pytest.approx(event.load_a, rel=0.02, abs=1)
            assert found.frequency_hz == pytest.approx(60, abs=0.02)
            times, located = found.times, found.located
            assert times.trigger_s is not None
            assert times.inception_s == pytest.approx(
                times.trigger_s + event.inception_s, abs=begin
            )
            assert times.trip_s == pytest.approx(times.trigger_s + event.trip_s, abs=BIT_S)
            assert times.contacts_open_s == pytest.approx(times.trigger_s + event.open_s, abs=BIT_S)
            assert times.clearing_s == pytest.approx(event.open_s - event.inception_s, abs=clearing)
            assert located is not None
            assert located.best / LENGTH == pytest.approx(event.distance, abs=place)
            assert located.low <= event.distance * LENGTH <= located.high
            assert (found.shot, found.locked_out) == (event.shot, event.lockout)
            assert found.disagreeing == (), event


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    distance=st.floats(0.02, 1.0),
    load=st.floats(1, 300),
    angle=st.floats(0, 360),
    inception=st.floats(-0.014, -0.002),
)
def test_any_solid_fault_is_found_where_it_is(
    kind: str, distance: float, load: float, angle: float, inception: float
) -> None:
    event = SimulatedEvent("651R", WHEN, kind, 0, distance, load, angle, inception, 0.06, 0.095)
    found = analyse_event(of(event, "R S32"))
    assert found.fault_type == kind
    assert found.distance == pytest.approx(distance * LENGTH, abs=0.005 * LENGTH)


@pytest.mark.parametrize(("words", "near"), [("C", 0.011), ("R S32", 0.0035)])
def test_a_fault_that_others_clear_is_seen_and_no_trip(words: str, near: float) -> None:
    for event in make_events("651R", 8, seed=5):
        if event.kind == "ER":
            continue
        only_seen = replace(event, trips=False)
        found = analyse_event(of(only_seen, words))
        assert (found.kind, found.fault_type, found.tripped) == ("fault", event.kind, False)
        assert found.distance == pytest.approx(event.distance * LENGTH, abs=0.01 * LENGTH)
        assert found.times.clearing_s is None
        assert found.times.fault_s == pytest.approx(event.open_s - event.inception_s, abs=near)
        assert found.i2t is not None


def test_a_reclosing_within_the_record_ends_the_dead_time() -> None:
    found = analyse_event(
        made(
            [(0, 100), (128, 1500), (256, 0), (400, 100)],
            {"TRIP": (200, 256), "52A": (0, 250), "52A3P": (400, 512), "51P": (130, 256)},
        )
    )
    assert (found.kind, found.closed) == ("fault", True)
    assert found.times.clearing_s == pytest.approx(4 / 60, abs=0.002)
    assert found.times.dead_s == pytest.approx((400 - 256) / 1920, abs=0.001)


@pytest.mark.parametrize("samples", ["BINARY", "ASCII"])
def test_the_comtrade_files_of_a_relay_say_what_their_header_says(samples: Any) -> None:
    for event in make_events("651R", 8, seed=11):
        files = comtrade_of(event, samples)
        record = parse_comtrade(Files(files["cfg"], files["dat"], files["hdr"])).data
        header = parse_hdr(files["hdr"]).data.summary
        found = analyse_event(record, relay=header, line=line_of(of(event).settings))
        assert found.fault_type == (None if event.kind == "ER" else event.kind)
        assert found.disagreeing == ()
        assert {one.quantity for one in found.comparisons} >= {
            "magnitude",
            "shot",
            "VA",
            "VA before",
        }
        if event.location is not None:
            assert found.distance == pytest.approx(event.location, abs=0.003 * LENGTH)
            assert found.compared("trip time") is not None


def test_the_relays_own_values_stand_beside_the_computed_ones() -> None:
    event = SimulatedEvent("351R", WHEN, "BG", 1, 0.4)
    found = analyse_event(of(event))
    by_name = {one.quantity: one for one in found.comparisons}
    assert {"type", "magnitude", "distance", "frequency", "shot", "IA", "IG", "3I2"} <= set(by_name)
    assert (by_name["type"].computed, by_name["type"].relay) == ("BG", "BG")
    place = by_name["distance"]
    assert isinstance(place.computed, float)
    assert isinstance(place.relay, float)
    assert place.difference == pytest.approx(place.computed - place.relay)
    assert place.agrees


def test_a_relay_that_says_something_else_is_contradicted() -> None:
    record = of(SimulatedEvent("351R", WHEN, "BG", 1, 0.4))
    summary = {**record.summary, "EVENT": "BCG T", "LOCATION": 20.0, "IB": 9999.0}
    found = analyse_event(replace(record, summary=summary))
    wrong = {one.quantity for one in found.disagreeing}
    assert wrong == {"type", "distance", "magnitude", "IB"}


def test_what_the_summary_does_not_say_the_list_or_the_header_may() -> None:
    record = of(SimulatedEvent("651R", WHEN, "CG", 2, 0.7))
    bare = replace(record, summary={})
    assert analyse_event(bare).comparisons == ()
    entry = HistoryEntry(1, device_time(WHEN, 0, 3), "CG T", 16.9, 900.0, 60.0, shot="2")
    by_list = analyse_event(bare, relay=entry)
    assert {one.quantity for one in by_list.comparisons} == {
        "type", "magnitude", "distance", "frequency", "shot",
    }  # fmt: skip
    assert record.start is not None
    header = EventSummary(
        event="CG T",
        fault={"IC": Measured(880.0, 0.0), "VC": Measured(8.0, 0.0), "IB": Measured(None, None)},
        prefault={"IC": Measured(110.0, 0.0)},
        trip_time=record.start.later(int((4 / 60 + 0.05) * 1e9)),
    )
    by_header = analyse_event(bare, relay=[header, entry])
    assert by_header.compared("IC before") is not None
    assert by_header.compared("VC") is not None
    assert by_header.compared("IB") is None
    trip = by_header.compared("trip time")
    assert trip is not None
    assert trip.agrees
    assert by_header.compared("shot") is not None


def test_everything_goes_to_json_and_back() -> None:
    for event in make_events("351R", 6, seed=3):
        found = analyse_event(of(event))
        text = json.dumps(found.to_dict(), allow_nan=False)
        assert from_dict(json.loads(text)) == found


def test_no_number_that_json_cannot_hold_gets_out() -> None:
    odd = EventAnalysis("trigger", magnitude_a=math.nan, load_a=math.inf)
    told = odd.to_dict()
    assert (told["magnitude_a"], told["load_a"]) == (None, None)


# --- COMTRADE, and rates that make no whole cycle ------------------------------------------------


@pytest.mark.parametrize("kind", ["AG", "BC", "ABC"])
def test_a_comtrade_record_is_analysed_as_its_cev_is(tmp_path: Path, kind: str) -> None:
    event = SimulatedEvent("651R", WHEN, kind, 0, 0.6)
    record = of(event, "R S32")
    cfg, _ = write_comtrade(record, tmp_path, "event")
    other = read_comtrade(cfg).data
    first, second = analyse_event(record), analyse_event(other, line=line_of(record.settings))
    assert second.fault_type == kind
    assert second.magnitude_a == pytest.approx(first.magnitude_a, rel=1e-3)
    assert second.distance == pytest.approx(first.distance, rel=2e-3)
    assert second.times.clearing_s == pytest.approx(first.times.clearing_s, abs=1e-6)


def sampled(event: SimulatedEvent, rate_hz: float, *, per_volt: float = 1e-3) -> EventRecord:
    """The event sampled at any rate, without a relay's rounding."""
    count = int(rate_hz * 0.25)
    times = np.arange(count) / rate_hz
    currents, volts = event.signals(times - 0.08)
    names = ("IA", "IB", "IC", "VA", "VB", "VC")
    return EventRecord(
        "", "", "comtrade", "1999", "BINARY", 60.0, DeviceTime(0), DeviceTime(80_000_000),
        np.rint(times * 1e9).astype(np.int64),
        tuple(Analog(one, "A" if one[0] == "I" else "kV", one[1], scale="P") for one in names),
        (Digital("TRIP"), Digital("52A")),
        np.hstack((currents, volts * per_volt)),
        np.column_stack((times - 0.08 >= event.trip_s, times - 0.08 < event.open_s)),
        ((rate_hz, count),),
    )  # fmt: skip


@pytest.mark.parametrize("rate", [1000.0, 8000.0, 3333.3])
def test_a_rate_that_makes_no_whole_cycle_is_put_on_a_grid(rate: float) -> None:
    event = SimulatedEvent("651R", WHEN, "CA", 0, 0.3)
    line = line_of(of(event, "").settings)
    found = analyse_event(sampled(event, rate), line=line)
    assert "resampled" in codes(found)
    assert found.fault_type == "CA"
    # Straight lines between 17 samples a cycle are off by two in a hundred.
    near = 0.003 if rate > 3000 else 0.03
    assert found.magnitude_a == pytest.approx(
        float(np.abs(event.load + event.fault[0]).max()), rel=near
    )
    assert found.distance == pytest.approx(0.3 * LENGTH, rel=0.05)


def test_secondary_values_become_primary_ones() -> None:
    event = SimulatedEvent("651R", WHEN, "AG", 0, 0.3)
    record = sampled(event, 1920.0)
    ratios = (120.0,) * 3 + (100.0,) * 3
    secondary = replace(
        record,
        analog=tuple(
            replace(one, scale="S", ratio=ratio)
            for one, ratio in zip(record.analog, ratios, strict=True)
        ),
        values=record.values / ratios,
    )
    assert analyse_event(secondary).magnitude_a == pytest.approx(
        analyse_event(record).magnitude_a, rel=1e-9
    )
    unknown = replace(secondary, analog=tuple(replace(one, ratio=None) for one in secondary.analog))
    assert codes(analyse_event(unknown)) == {"no_analysis"}


@pytest.mark.parametrize(
    "names",
    [
        ("IA(A)", "IB(A)", "IC(A)", "VAY(kV)", "VBY(kV)", "VCY(kV)"),
        ("IAW", "IBW", "ICW", "VAZ", "VBZ", "VCZ"),
        ("IAX", "IBX", "ICX", "VAY", "VBY", "VCY"),
        ("Ia", "Ib", "Ic", "V_A", "V_B", "V_C"),
        ("IL1", "IL2", "IL3", "UL1", "UL2", "UL3"),
        ("feeder a", "feeder b", "feeder c", "bus a", "bus b", "bus c"),
    ],
)
def test_channels_are_known_by_the_names_of_each_family(names: tuple[str, ...]) -> None:
    event = SimulatedEvent("651R", WHEN, "BG", 0, 0.5)
    record = sampled(event, 1920.0)
    renamed = tuple(replace(one, name=name) for one, name in zip(record.analog, names, strict=True))
    found = analyse_event(replace(record, analog=renamed), line=line_of(of(event, "").settings))
    assert found.fault_type == "BG"
    assert found.distance == pytest.approx(0.5 * LENGTH, rel=0.01)


def test_an_off_nominal_frequency_does_not_mislead() -> None:
    event = SimulatedEvent("651R", WHEN, "AG", 0, 0.5, 250.0)
    # Taken faster and said to be taken as usual, they are those of a system at 59.4 Hz.
    fast = sampled(event, 1920.0 * 60 / 59.4)
    times = np.rint(np.arange(fast.samples) * 1e9 / 1920.0).astype(np.int64)
    slow = replace(fast, rates=((1920.0, fast.samples),), t_ns=times)
    found = analyse_event(slow, line=line_of(of(event, "").settings))
    assert found.frequency_hz == pytest.approx(59.4, abs=0.02)
    assert found.fault_type == "AG"
    assert found.distance == pytest.approx(0.5 * LENGTH, rel=0.04)


# --- kinds of events -----------------------------------------------------------------------------


def made(
    levels: list[tuple[int, float]], bits: dict[str, tuple[int, int]], per_cycle: int = 32
) -> EventRecord:
    """Balanced currents of levels [A RMS] from some samples on, with bits, over 16 cycles."""
    count = 16 * per_cycle
    n = np.arange(count)
    level = np.zeros(count)
    for first, size in levels:
        level[first:] = size
    values = np.column_stack(
        [math.sqrt(2) * level * np.cos(math.tau * (n / per_cycle - k / 3)) for k in range(3)]
    )
    states = [(n >= first) & (n < last) for first, last in bits.values()]
    return EventRecord(
        "", "", "comtrade", "1999", "BINARY", 60.0, DeviceTime(0), DeviceTime(0),
        np.rint(n * 1e9 / (60.0 * per_cycle)).astype(np.int64),
        tuple(Analog(one, "A", one[1], scale="P") for one in ("IA", "IB", "IC")),
        tuple(Digital(name) for name in bits), values,
        np.column_stack(states) if states else np.zeros((count, 0), dtype=bool),
        ((60.0 * per_cycle, count),),
    )  # fmt: skip


LAST = 16 * 32
CASES: dict[str, tuple[list[tuple[int, float]], dict[str, tuple[int, int]], str]] = {
    "opened by hand": ([(0, 100), (256, 0)], {"TRIP": (0, 0), "52A": (0, 256)}, "opening"),
    "opened, bits unknown": ([(0, 100), (256, 0)], {}, "opening"),
    "tripped without a fault": ([(0, 100), (256, 0)], {"TRIP": (240, 300)}, "trip"),
    "closed": ([(256, 100)], {"TRIP": (0, 0), "52A": (250, LAST)}, "closing"),
    "closed, bits unknown": ([(256, 100)], {}, "closing"),
    "closed onto a fault": (
        [(256, 3000), (400, 0)],
        {"TRIP": (350, 450), "52A": (250, 400), "50P1": (260, 400)},
        "fault",
    ),
    "triggered": ([(0, 100)], {"TRIP": (0, 0), "52A": (0, LAST)}, "trigger"),
    "a load that rose": ([(0, 100), (256, 150)], {"TRIP": (0, 0), "52A": (0, LAST)}, "trigger"),
    "a fault that others cleared": (
        [(0, 100), (128, 900), (300, 90)],
        {"TRIP": (0, 0), "51P": (130, 300), "52A": (0, LAST)},
        "fault",
    ),
    "a fault, bits unknown": ([(0, 100), (128, 900)], {}, "fault"),
}


@pytest.mark.parametrize("what", CASES)
def test_kinds_of_events_are_told_by_bits_and_currents(what: str) -> None:
    levels, bits, kind = CASES[what]
    found = analyse_event(made(levels, bits))
    assert found.kind == kind
    assert (found.fault_type is not None) == (kind == "fault")
    assert found.tripped == (bits["TRIP"][1] > 0 if "TRIP" in bits else None)


def test_a_fault_that_began_before_the_record_is_one() -> None:
    found = analyse_event(made([(0, 900), (256, 0)], {"TRIP": (200, 300), "51P": (0, 256)}))
    assert (found.kind, found.fault_type) == ("fault", "ABC")
    assert found.load_a is None
    assert {"no_inception", "load_unknown"} <= codes(found)


def test_an_event_that_is_only_listed_is_what_the_relay_says() -> None:
    entry = HistoryEntry(
        3, device_time(WHEN, 0, 3), "ABG T", 12.0, 900.0, 60.0, shot="3", targets="A B 79LO"
    )
    found = analyse_entry(entry)
    assert (found.kind, found.fault_type, found.phases) == ("fault", "ABG", "AB")
    assert (found.tripped, found.shot, found.locked_out) == (True, 3, True)
    assert (found.magnitude_a, found.located, codes(found)) == (900.0, None, {"relay_only"})
    assert analyse_entry(replace(entry, event="TRIP")).kind == "trip"
    assert analyse_entry(replace(entry, event="ER", targets="")).kind == "trigger"


# --- what is missing or odd ----------------------------------------------------------------------


def test_without_voltages_or_a_line_there_is_no_distance_and_a_note() -> None:
    record = of(SimulatedEvent("351R", WHEN, "BG"))
    blind = replace(record, analog=record.analog[:5], values=record.values[:, :5])
    found = analyse_event(blind)
    assert (found.fault_type, found.distance) == ("BG", None)
    assert {"no_voltages", "no_distance"} <= codes(found)
    assert analyse_event(blind).frequency_hz == pytest.approx(60, abs=0.05)
    lineless = analyse_event(replace(record, settings={}))
    assert (lineless.fault_type, lineless.distance) == ("BG", None)
    beyond = analyse_event(record, line=Line(0.01 + 0.04j, 0.02 + 0.1j, 1.0))
    assert beyond.distance is None
    assert "no_distance" in codes(beyond)


def test_without_currents_or_rates_there_is_a_note_only() -> None:
    record = of(SimulatedEvent("351R", WHEN, "BG", 2))
    none = replace(record, analog=record.analog[5:], values=record.values[:, 5:])
    found = analyse_event(none)
    assert (found.kind, found.magnitude_a, codes(found)) == ("trigger", None, {"no_analysis"})
    assert found.trigger == "2026-03-01T07:50:00.249"
    rateless = replace(record, frequency_hz=None)
    assert codes(analyse_event(rateless)) == {"no_analysis"}


def test_missing_samples_spoil_only_what_needs_them() -> None:
    record = of(SimulatedEvent("651R", WHEN, "BG", 0, 0.5), "R S32")
    values = record.values.copy()
    values[20:24, 1] = np.nan  # two cycles before the fault
    found = analyse_event(replace(record, values=values))
    assert "missing_samples" in codes(found)
    assert found.fault_type == "BG"
    assert found.distance == pytest.approx(0.5 * LENGTH, rel=0.01)


@st.composite
def odd_records(draw: st.DrawFn) -> EventRecord:
    """Records of any shape and content, as a damaged or foreign file may give."""
    count = draw(st.integers(1, 200))
    names = draw(
        st.lists(
            st.sampled_from(["IA", "IB", "IC", "VA", "VB", "VC", "IN", "VAB", "FREQ", "x"]),
            max_size=8, unique=True,
        )
    )  # fmt: skip
    bits = draw(
        st.lists(
            st.sampled_from(["TRIP", "52A", "51P", "SH1", "79LO", "y"]), max_size=4, unique=True
        )
    )
    seed = draw(st.integers(0, 1000))
    dice = np.random.default_rng(seed)
    values = dice.normal(0, draw(st.sampled_from([0.0, 1.0, 1e4, 1e300])), (count, len(names)))
    values[dice.random(values.shape) < draw(st.sampled_from([0.0, 0.1, 1.0]))] = np.nan
    rate = draw(st.sampled_from([0.0, 50.0, 240.0, 960.0, 1000.0, 1e9]))
    hz = draw(st.sampled_from([None, 0.0, 50.0, 60.0]))
    step = draw(st.sampled_from([0, 1, 1_000_000, 4_166_667]))
    return EventRecord(
        "", "", "comtrade", "", "", hz, draw(st.sampled_from([None, DeviceTime(0)])),
        draw(st.sampled_from([None, DeviceTime(10**9)])), np.arange(count, dtype=np.int64) * step,
        tuple(
            Analog(one, draw(st.sampled_from(["A", "kV", ""])), scale=draw(
                st.sampled_from(["P", "S", None])
            ))
            for one in names
        ),
        tuple(Digital(one) for one in bits), values, dice.random((count, len(bits))) < 0.5,
        ((rate, count),), {"CTR": draw(st.sampled_from(["", "0", "120", "x"])), "Z1MAG": "nan"},
        {"EVENT": draw(st.sampled_from([None, "", "BG T", 3.0])), "LOCATION": None},
    )  # fmt: skip


@pytest.mark.filterwarnings("error")
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(odd_records())
def test_nothing_that_a_record_may_be_is_too_odd(record: EventRecord) -> None:
    found = analyse_event(record)
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert from_dict(json.loads(text)) == found


# --- published and synthesised events ------------------------------------------------------------


def test_a_real_event_has_the_currents_its_relay_says(real_data: Path) -> None:
    found = analyse_event(read_cev(real_data / "recloser/sel710_cev/Ex1_710 (1).cev").data)
    for name, published in (("IA", 628.8), ("IB", 645.6), ("IC", 1284.7), ("IG", 13.49)):
        one = found.compared(name)
        assert one is not None
        assert one.relay == published
        assert one.computed == pytest.approx(published, abs=0.1)
    # The relay told its frequency to a tenth, ten cycles after.
    assert {one.quantity for one in found.disagreeing} <= {"frequency"}


def test_a_published_report_is_as_far_as_published(real_data: Path) -> None:
    path = real_data / "recloser" / "protocol_samples" / "sel351a_eve_example_p497.txt"
    record: EventRecord = find_reader(path).read(path).data
    settings_ = {
        "Z1MAG": "2.14", "Z1ANG": "68.86", "Z0MAG": "6.38", "Z0ANG": "72.47", "LL": "4.84",
        "CTR": "120", "PTR": "180",
    }  # fmt: skip
    found = analyse_event(record, line=line_of(settings_))
    assert (found.fault_type, found.located is not None) == ("AG", True)
    assert found.during is not None
    for name, published, near in (
        ("IA", 2751.5, 3), ("IB", 210.2, 2), ("IC", 209.8, 2), ("IG", 2689.6, 3),
        ("3I2", 2688.1, 3), ("VA", 7270, 20),
    ):  # fmt: skip
        assert found.during.magnitude(name) == pytest.approx(published, abs=near)
    assert found.located is not None
    assert found.located.reactance == pytest.approx(2.33, abs=0.02)
    assert found.located.takagi == pytest.approx(2.35, abs=0.04)
    assert found.located.modified_takagi == pytest.approx(2.35, abs=0.02)


SYNTHESISED = ["D1_351R_4spc_filtered.CEV", "D2_351A_raw16_dig4.CEV", "D3_651R2_raw32_dig4.CEV"]


@pytest.mark.parametrize("name", SYNTHESISED)
def test_synthesised_events_are_what_they_were_made_of(real_data: Path, name: str) -> None:
    folder = real_data / "recloser" / "derived_cev"
    told = json.loads((folder / "TRUTH.json").read_text())
    truth = next(one for key, one in told.items() if key.endswith(name))
    record: EventRecord = read_cev(folder / name).data
    found = analyse_event(record)
    assert (found.kind, found.fault_type) == ("fault", truth["fault"])
    assert found.during is not None
    for channel, (magnitude, _) in truth["phasors_primary_rms"].items():
        plain = channel.removesuffix("(kV)")
        scale = 1000 if channel.endswith("(kV)") else 1
        wanted = pytest.approx(magnitude * scale, rel=0.002, abs=60 if scale > 1 else 1.5)
        assert found.during.magnitude(plain) == wanted
    for ours, theirs in (("I1", "I1"), ("3I2", "I2x3"), ("IG", "I0x3")):
        assert found.during.magnitude(ours) == pytest.approx(truth["seq"][theirs], rel=0.003, abs=1)
    assert found.times.clearing_s is not None
    assert found.times.clearing_s * 60 == pytest.approx(truth["clearing_cycles"], abs=0.25)
    rows = truth.get("bits", {})
    trip = rows.get("TRIP") or rows.get("TRIP3P")
    if trip:
        assert found.times.trip_s == pytest.approx(record.t_s[trip[0]], abs=1e-9)
    contacts = rows.get("52A") or rows.get("52A3P")
    if contacts:
        # A bit's row is the first of its group where bits are written every quarter-cycle.
        assert found.times.contacts_open_s == pytest.approx(record.t_s[contacts[1]], abs=BIT_S)
    assert found.times.dead_s is None  # none of them recloses within its record
    assert found.disagreeing == ()
