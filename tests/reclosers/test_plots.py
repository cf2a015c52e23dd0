"""An event as a picture: what is drawn, where the marks stand, and pictures of odd records."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.text import Text

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers import plots
from workspace_lib.reclosers.analysis import analyse_event
from workspace_lib.reclosers.cev import parse_cev
from workspace_lib.reclosers.event_traces import event_traces
from workspace_lib.reclosers.record import Analog, Digital, EventRecord
from workspace_lib.reclosers.simulator import make_events
from workspace_lib.reclosers.simulator_events import SimulatedEvent

PNG = b"\x89PNG"


def fault(model: str = "651R", kind: str = "CG") -> SimulatedEvent:
    events = make_events(model, 40, seed=3)  # type: ignore[arg-type]
    return next(one for one in events if one.kind == kind)


@pytest.fixture(scope="module")
def truth() -> SimulatedEvent:
    return fault()


@pytest.fixture(scope="module")
def record(truth: SimulatedEvent) -> EventRecord:
    found: EventRecord = parse_cev(truth.cev_of("S128 R")).data
    return found


def test_traces_count_from_the_trigger_in_primary_units(
    record: EventRecord, truth: SimulatedEvent
) -> None:
    traces = event_traces(record, analyse_event(record))
    assert traces.triggered
    assert [(one.quantity, one.unit, one.primary) for one in traces.panels] == [
        ("currents", "A", True),
        ("voltages", "kV", True),
    ]
    assert [one.name for one in traces.panels[0].traces] == ["IA", "IB", "IC", "IG"]
    assert record.trigger_s is not None
    assert np.interp(0.0, traces.t_ms, np.arange(len(traces.t_ms))) == pytest.approx(
        np.searchsorted(record.t_s, record.trigger_s), abs=1
    )
    marks = {mark.name: mark.t_ms for mark in traces.marks}
    assert marks["inception"] == pytest.approx(truth.inception_s * 1000, abs=1.5)
    assert marks["trip"] == pytest.approx(truth.trip_s * 1000, abs=5)
    assert marks["cleared"] == pytest.approx(truth.open_s * 1000, abs=9)
    assert list(marks) == ["inception", "trip", "open", "cleared"]


def test_only_bits_that_change_are_drawn_the_first_to_change_first(record: EventRecord) -> None:
    traces = event_traces(record)
    names = [bit.name for bit in traces.bits]
    assert {"TRIP3P", "52A3P"} <= set(names)
    assert len(names) == traces.changing < len(record.digital)
    assert names.index("51P") < names.index("TRIP3P") < names.index("52A3P")
    [(_, end)] = next(bit for bit in traces.bits if bit.name == "52A3P").spans
    assert end < traces.ends_ms[1]


def test_where_many_bits_change_trips_and_contacts_stay(record: EventRecord) -> None:
    traces = event_traces(record, most_bits=3)
    assert len(traces.bits) == 3
    assert {"TRIP3P", "52A3P"} <= {bit.name for bit in traces.bits}
    assert traces.changing > 3


def test_named_channels_are_drawn_by_their_units(record: EventRecord) -> None:
    traces = event_traces(record, channels=["FREQ", "IA", "VAY"])
    assert [(one.quantity, one.unit) for one in traces.panels] == [
        ("currents", "A"), ("voltages", "kV"), ("other", "Hz"),
    ]  # fmt: skip
    assert traces.panels[0].traces[0].values.max() == pytest.approx(
        np.nanmax(record.channel("IA")) * record.peak_factor
    )
    with pytest.raises(ParameterError, match="no channel 'IX'"):
        event_traces(record, channels=["IX"])


def test_a_record_without_three_currents_shows_what_it_has() -> None:
    odd = EventRecord(
        "S", "D", "comtrade", "1999", "ASCII", None, None, None,
        np.arange(5) * 1_000_000, (Analog("U0", "V", "N"),), (Digital("X"),),
        np.ones((5, 1)), np.zeros((5, 1), dtype=bool),
    )  # fmt: skip
    traces = event_traces(odd, analyse_event(odd))
    assert [(one.unit, one.primary) for one in traces.panels] == [("V", False)]
    assert not traces.triggered
    assert plots.png_of(plots.event_figure(odd)).startswith(PNG)
    assert plots.png_of(plots.phasor_figure(odd)).startswith(PNG)


def test_a_record_without_samples_is_refused(record: EventRecord) -> None:
    none = replace(record, t_ns=record.t_ns[:0], values=record.values[:0], bits=record.bits[:0])
    with pytest.raises(ParameterError, match="no samples"):
        event_traces(none)
    assert none._repr_png_() is None


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_figure_says_what_which_and_when(record: EventRecord, language: str) -> None:
    figure = plots.event_figure(record, language=language, name="LAV-101")  # type: ignore[arg-type]
    figure.draw_without_rendering()
    title = figure.get_suptitle()
    assert title.startswith("LAV-101 · CG T · 2026-")
    said = {text.get_text() for axes in figure.axes for text in axes.texts}
    trigger = {"en": "trigger", "fr": "enregistrement"}[language]
    assert trigger in said
    assert any(one.startswith(("inception \u2212", "début \u2212")) for one in said)
    facts = figure.axes[0].get_title(loc="left")
    assert ("fault CG" if language == "en" else "défaut CG") in facts
    assert " A · " in facts
    assert {"km"} <= set(facts.split())


def test_labels_of_marks_stand_apart(record: EventRecord) -> None:
    figure = plots.event_figure(record)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    width = axes.get_window_extent().width
    ends = []
    for label in axes.texts:
        middle = label.get_position()[0] * width
        # Without its leader, which the extent of an annotation has along.
        half = Text.get_window_extent(label).width / 2
        ends.append((middle - half, middle + half))
    assert len(ends) == 5
    assert all(end < begin for (_, end), (begin, _) in pairwise(sorted(ends)))


def test_phases_have_the_colours_of_the_house() -> None:
    from workspace_lib.views.tokens import PHASES

    assert {phase: plots.COLOURS[phase] for phase in PHASES} == PHASES


def test_phasors_of_a_fault_before_and_during_it(record: EventRecord) -> None:
    figure = plots.phasor_figure(record)
    currents, voltages, bars = figure.axes
    names = {text.get_text() for text in currents.texts}
    assert "IC" in names
    assert {"VA", "VB", "VC"} <= {text.get_text() for text in voltages.texts}
    assert [label.get_text() for label in bars.get_yticklabels()] == ["I1", "I2", "I0"]
    assert plots.png_of(figure).startswith(PNG)


def test_two_events_are_drawn_on_the_same_scales(record: EventRecord) -> None:
    other = parse_cev(fault("351R", "ABC").cev_of("")).data
    figure = plots.compare_figure(record, other, names=("LAV-101", "MTL-503"))
    first, _, second, *_ = figure.axes
    assert first.get_ylim() == second.get_ylim()
    assert first.get_xlim() == second.get_xlim()
    assert second.get_title(loc="left").startswith("MTL-503 · ABC T")
    assert [line.get_label() for line in figure.axes[-1].lines][:2] == ["LAV-101", "MTL-503"]
    # The relay's filtered rows and the raw ones of the other are magnitudes of one kind.
    tops = [np.nanmax(line.get_ydata()) for line in figure.axes[-1].lines[:2]]
    for top, one in zip(tops, (record, other), strict=True):
        assert top == pytest.approx(analyse_event(one).magnitude_a, rel=0.3)


def test_a_record_shows_itself_as_a_plot(record: EventRecord) -> None:
    assert (record._repr_png_() or b"").startswith(PNG)
