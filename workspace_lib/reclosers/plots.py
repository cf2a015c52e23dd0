"""Plots of an event: waves with what happened when, phasors of the fault, two events side by side.

By matplotlib without pyplot, so that a notebook, a report and the API draw the same. Time counts in
milliseconds from the trigger; the title has its wall time by the relay's clock. Phases have the
house's colours, which colour-blind people tell apart.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from workspace_lib.errors import DataQualityError
from workspace_lib.reclosers.analysis import analyse_event
from workspace_lib.reclosers.analysis_values import EventAnalysis, Moment
from workspace_lib.reclosers.channels import three_phase
from workspace_lib.reclosers.event_traces import EventTraces, Panel, event_traces
from workspace_lib.reclosers.phasors import fourier, from_filtered
from workspace_lib.reclosers.record import EventRecord, Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Language = Literal["en", "fr"]

#: Colours of phases, the same everywhere; N is what flows through ground.
COLOURS: Final = {"A": "#0072B2", "B": "#D55E00", "C": "#009E73", "N": "#333333"}
OTHERS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MARK, TRIGGER, BIT, GRID, TEXT = "#555E6B", "#B3261E", "#4B5563", "#E1E4E9", "#14171C"
_WIDTH_IN, _CURRENTS_IN, _VOLTAGES_IN, _BIT_IN = 10.0, 2.3, 1.8, 0.19
#: Width of a letter of a mark's label, as share of the width of the panels [1].
_LETTER = 0.0078
_MINUS = str.maketrans({"-": "\u2212"})
_TEXTS: Final[dict[str, dict[str, str]]] = {
    "en": {
        "currents": "Currents",
        "voltages": "Voltages",
        "other": "Values",
        "primary": "primary",
        "bits": "Bits",
        "bits_of": "Bits ({shown} of {all} that change)",
        "time": "Time after the trigger [ms]",
        "time_first": "Time after the first sample [ms]",
        "clock": "relay's clock",
        "no_clock": "time not known",
        "trigger": "trigger",
        "inception": "inception",
        "trip": "trip",
        "open": "contacts open",
        "cleared": "cleared",
        "reclosed": "reclosed",
        "event": "event",
        "fault": "fault {type}",
        "distance": "at {best} {unit} ({low}–{high})",
        "clearing": "cleared in {ms} ms",
        "shot": "shot {shot}",
        "lockout": "lockout",
        "before": "before",
        "during": "during the fault",
        "sequences": "Sequence currents [A]",
        "magnitudes": "Magnitude of the largest phase current [A RMS]",
        "no_phasors": "no phasors",
    },
    "fr": {
        "currents": "Courants",
        "voltages": "Tensions",
        "other": "Valeurs",
        "primary": "primaire",
        "bits": "Bits",
        "bits_of": "Bits ({shown} sur {all} qui changent)",
        "time": "Temps après le déclenchement de l'enregistrement [ms]",
        "time_first": "Temps après le premier échantillon [ms]",
        "clock": "horloge du relais",
        "no_clock": "heure inconnue",
        "trigger": "enregistrement",
        "inception": "début",
        "trip": "déclenchement",
        "open": "contacts ouverts",
        "cleared": "éliminé",
        "reclosed": "réenclenché",
        "event": "événement",
        "fault": "défaut {type}",
        "distance": "à {best} {unit} ({low}–{high})",
        "clearing": "éliminé en {ms} ms",
        "shot": "manœuvre {shot}",
        "lockout": "verrouillage",
        "before": "avant",
        "during": "pendant le défaut",
        "sequences": "Courants symétriques [A]",
        "magnitudes": "Amplitude du plus grand courant de phase [A eff.]",
        "no_phasors": "sans phaseurs",
    },
}


def event_figure(
    record: EventRecord,
    analysis: EventAnalysis | None = None,
    *,
    channels: Sequence[str] | None = None,
    language: Language = "en",
    distance_unit: str = "km",
    name: str = "",
) -> Figure:
    """Return an event as a figure: currents, voltages, bits that change, and marks in time.

    Parameters
    ----------
    analysis : EventAnalysis, optional
        What was computed of it; computed here otherwise.
    channels : sequence of str, optional
        Analog channels in place of the three currents and voltages.
    distance_unit : str
        Unit of the line's length, which no file tells.
    name : str
        What the event is of, in the title; the record's own names otherwise.

    Raises
    ------
    ParameterError
        If the record has no samples, or no such channel.
    """
    from matplotlib.figure import Figure

    found = analyse_event(record) if analysis is None else analysis
    traces, texts = event_traces(record, found, channels=channels), _TEXTS[language]
    heights = [_height(panel) for panel in traces.panels]
    if traces.bits:
        heights.append(_BIT_IN * len(traces.bits) + 0.1)
    if not heights:
        heights = [_CURRENTS_IN]
    figure = Figure(figsize=(_WIDTH_IN, 1.35 + sum(heights) + 0.3 * len(heights)))
    figure.set_layout_engine("constrained", h_pad=0.03)
    axes = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    for panel, one in zip(axes, traces.panels, strict=False):
        _waves(panel, traces, one, texts)
    if traces.bits:
        _bits(axes[-1], traces, texts)
    _marks([*axes], traces, texts)
    axes[-1].set_xlim(*traces.ends_ms)
    axes[-1].set_xlabel(texts["time" if traces.triggered else "time_first"])
    _title(figure, record, found, texts, distance_unit, name, language)
    return figure


def phasor_figure(
    record: EventRecord, analysis: EventAnalysis | None = None, *, language: Language = "en"
) -> Figure:
    """Return the phasors of an event before and during the fault, and its sequence currents.

    Angles are those of `analysis.Moment`: against the positive sequence before the fault.
    """
    from matplotlib.figure import Figure

    found = analyse_event(record) if analysis is None else analysis
    texts = _TEXTS[language]
    figure = Figure(figsize=(_WIDTH_IN, 3.9), layout="constrained")
    grid = figure.add_gridspec(1, 3, width_ratios=(1, 1, 0.75))
    for place, (quantity, letter) in enumerate((("currents", "I"), ("voltages", "V"))):
        panel = figure.add_subplot(grid[place], projection="polar")
        _circle(panel, found, letter, texts)
        unit, _ = _unit_of(found, letter)
        title = f"{texts[quantity]} [{unit}]"
        panel.set_title(title, loc="left", fontsize="medium", color=TEXT)
    panel = figure.add_subplot(grid[2])
    _sequence_bars(panel, found, texts)
    return figure


def compare_figure(
    a: EventRecord,
    b: EventRecord,
    *,
    names: tuple[str, str] = ("", ""),
    language: Language = "en",
    distance_unit: str = "km",
) -> Figure:
    """Return two events side by side on the same scales, and their magnitudes in one panel.

    Both count time from their own trigger. ``names`` are what they are of, in their titles.
    """
    from matplotlib.figure import Figure

    texts = _TEXTS[language]
    both = [(one, analyse_event(one)) for one in (a, b)]
    traces = [event_traces(record, found, most_bits=0) for record, found in both]
    first, last = min(t.ends_ms[0] for t in traces), max(t.ends_ms[1] for t in traces)
    figure = Figure(figsize=(_WIDTH_IN, 7.6), layout="constrained")
    grid = figure.add_gridspec(3, 2, height_ratios=(1.2, 1, 1))
    for column, ((record, found), one) in enumerate(zip(both, traces, strict=True)):
        lines = _facts(record, found, texts, distance_unit, names[column], language)
        for row, quantity in enumerate(("currents", "voltages")):
            axes = figure.add_subplot(grid[row, column])
            for panel in one.panels:
                if panel.quantity == quantity:
                    _waves(axes, one, panel, texts)
            axes.axvline(0, color=TRIGGER, linewidth=0.9)
            axes.set_xlim(first, last)
            if row == 0:
                axes.set_title("\n".join(lines), loc="left", fontsize="small", color=TEXT)
    for row in range(2):
        pair = figure.axes[row], figure.axes[row + 2]
        limits = [axes.get_ylim() for axes in pair if axes.lines]
        for axes in pair:
            axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    below = figure.add_subplot(grid[2, :])
    _magnitudes(below, [record for record, _ in both], [*names], texts)
    below.set_xlim(first, last)
    return figure


def png_of(figure: Figure, dpi: int = 110) -> bytes:
    """Return a figure as PNG."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=dpi)
    return content.getvalue()


def _height(panel: Panel) -> float:
    return _CURRENTS_IN if panel.quantity == "currents" else _VOLTAGES_IN


def _waves(axes: Axes, traces: EventTraces, panel: Panel, texts: dict[str, str]) -> None:
    others = 0
    for trace in panel.traces:
        colour = COLOURS.get(trace.phase)
        if colour is None:
            colour, others = OTHERS[others % len(OTHERS)], others + 1
        axes.plot(
            traces.t_ms,
            trace.values,
            color=colour,
            linewidth=1.0 if trace.phase == "N" else 1.25,
            linestyle=(0, (4, 2)) if trace.phase == "N" else "-",
            marker="." if traces.few else None,
            markersize=3,
            label=trace.name,
        )
    unit = ", ".join(one for one in (panel.unit, texts["primary"] if panel.primary else "") if one)
    axes.set_ylabel(f"{texts[panel.quantity]} [{unit}]" if unit else texts[panel.quantity])
    _plain(axes)
    axes.axhline(0, color=MARK, linewidth=0.6)
    axes.margins(x=0, y=0.08)
    axes.legend(
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        handlelength=1.4,
        fontsize="small",
    )


def _bits(axes: Axes, traces: EventTraces, texts: dict[str, str]) -> None:
    first, last = traces.ends_ms
    for place, bit in enumerate(traces.bits):
        axes.hlines(place, first, last, color=GRID, linewidth=0.8, zorder=1)
        pieces = [(begin, end - begin) for begin, end in bit.spans]
        axes.broken_barh(pieces, (place - 0.32, 0.64), facecolors=BIT, zorder=2)
    axes.set_ylim(len(traces.bits) - 0.4, -0.6)
    axes.set_yticks(range(len(traces.bits)), [bit.name for bit in traces.bits], fontsize="small")
    shown = len(traces.bits)
    said = texts["bits"]
    if shown < traces.changing:
        said = texts["bits_of"].format(shown=shown, all=traces.changing)
    axes.set_title(said, loc="left", fontsize="small", color=MARK)
    _plain(axes)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _marks(axes: Sequence[Axes], traces: EventTraces, texts: dict[str, str]) -> None:
    """Draw a line through all panels for each mark, and its name above them, none over another."""
    marks = [(mark.t_ms, texts[mark.name], MARK) for mark in traces.marks]
    if traces.triggered:
        marks.append((0.0, texts["trigger"], TRIGGER))
    marks = sorted(marks)
    for panel in axes:
        for t_ms, _, colour in marks:
            style = "-" if colour == TRIGGER else (0, (3, 2))
            panel.axvline(t_ms, color=colour, linewidth=0.9, linestyle=style, zorder=3)
    first, last = traces.ends_ms
    span = max(last - first, 1e-9)
    labels = [
        name if colour == TRIGGER else f"{name} {t_ms:.0f} ms".translate(_MINUS)
        for t_ms, name, colour in marks
    ]
    widths = [len(label) * _LETTER for label in labels]
    places = _apart([(t_ms - first) / span for t_ms, _, _ in marks], widths)
    for (t_ms, _, colour), label, place in zip(marks, labels, places, strict=True):
        axes[0].annotate(
            label,
            xy=((t_ms - first) / span, 1.0),
            xytext=(place, 1.1),
            xycoords="axes fraction",
            textcoords="axes fraction",
            ha="center",
            va="bottom",
            fontsize="small",
            color=colour if colour == TRIGGER else TEXT,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 1},
        )


def _apart(places: list[float], widths: list[float]) -> list[float]:
    """Return the middles of labels, in their order, moved so that none overlaps the next [1]."""
    moved = [max(place, width / 2) for place, width in zip(places, widths, strict=True)]
    for n in range(1, len(moved)):
        moved[n] = max(moved[n], moved[n - 1] + (widths[n - 1] + widths[n]) / 2 + 0.012)
    edge = 1.03
    for n in reversed(range(len(moved))):
        moved[n] = min(moved[n], edge - widths[n] / 2)
        edge = moved[n] - widths[n] / 2 - 0.012
    return moved


def _title(
    figure: Figure,
    record: EventRecord,
    found: EventAnalysis,
    texts: dict[str, str],
    unit: str,
    name: str,
    language: str,
) -> None:
    head, *rest = _facts(record, found, texts, unit, name, language)
    figure.suptitle(head, x=0.012, ha="left", fontsize=12.5, fontweight="bold", color=TEXT)
    if rest:
        figure.axes[0].set_title(rest[0], loc="left", fontsize="medium", color=MARK, pad=34)


def _facts(
    record: EventRecord,
    found: EventAnalysis,
    texts: dict[str, str],
    unit: str,
    name: str,
    language: str,
) -> list[str]:
    """Return the lines of an event's title: what, which, when; then the fault, if there is one."""
    who = name or record.device or record.station or texts["event"]
    when = texts["no_clock"]
    if record.trigger:
        when = f"{str(record.trigger).replace('T', ' ')} ({texts['clock']})"
    head = " · ".join(one for one in (who, found.event.strip(), when) if one)
    facts = []
    if found.fault_type:
        facts.append(texts["fault"].format(type=found.fault_type))
    if found.magnitude_a is not None:
        facts.append(f"{_number(found.magnitude_a, 0, language)} A")
    if found.located is not None:
        best, low, high = (
            _number(one, 1, language)
            for one in (found.located.best, found.located.low, found.located.high)
        )
        facts.append(texts["distance"].format(best=best, low=low, high=high, unit=unit))
    if found.times.clearing_s is not None:
        ms = _number(found.times.clearing_s * 1000, 0, language)
        facts.append(texts["clearing"].format(ms=ms))
    if found.shot is not None:
        facts.append(texts["shot"].format(shot=found.shot))
    if found.locked_out:
        facts.append(texts["lockout"])
    return [head, " · ".join(facts)] if facts else [head]


def _circle(axes: Any, found: EventAnalysis, letter: str, texts: dict[str, str]) -> None:
    """Draw the phasors of one quantity: of the fault as arrows, of before as thin ones."""
    axes.set_theta_zero_location("E")
    axes.set_thetagrids(range(0, 360, 30), labels=[])
    axes.tick_params(labelsize="x-small", colors=MARK)
    axes.grid(color=GRID)
    axes.spines["polar"].set_color(GRID)
    _, factor = _unit_of(found, letter)
    most = 0.0
    for moment, strong in ((found.before, False), (found.during, True)):
        for name, size, angle in _phasors(moment, letter, factor):
            most = max(most, size)
            colour = COLOURS.get(name[1], COLOURS["N"])
            axes.annotate(
                "",
                xy=(angle, size),
                xytext=(0, 0),
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": colour,
                    "linewidth": 2.0 if strong else 1.0,
                    "alpha": 1.0 if strong else 0.4,
                    "shrinkA": 0,
                    "shrinkB": 0,
                },
            )
            if strong:
                axes.annotate(
                    name,
                    xy=(angle, size),
                    xytext=(10 * math.cos(angle), 10 * math.sin(angle)),
                    textcoords="offset points",
                    ha="center",
                    va="center",
                    fontsize="small",
                    color=colour,
                )
    if not most:
        axes.text(0.5, 0.5, texts["no_phasors"], transform=axes.transAxes, ha="center", color=MARK)
        most = 1.0
    axes.set_rlim(0, most * 1.15)
    axes.set_rlabel_position(15)
    power = 10 ** math.floor(math.log10(most / 2))
    step = max(m * power for m in (1, 2, 5) if m * power <= most / 2)
    axes.set_yticks([step * n for n in range(1, int(most * 1.15 / step) + 1)])


def _phasors(moment: Moment | None, letter: str, factor: float) -> list[tuple[str, float, float]]:
    """Return name, magnitude and angle [rad] of the phases of a quantity, and of ground."""
    if moment is None:
        return []
    names = [f"{letter}{phase}" for phase in "ABC"] + (["IG"] if letter == "I" else [])
    known = [(name, moment.phasors.get(name)) for name in names]
    found = [
        (name, one.magnitude / factor, math.radians(one.angle_deg))
        for name, one in known
        if one is not None
    ]
    largest = max((size for _, size, _ in found), default=0.0)
    return [one for one in found if one[1] > 0.02 * largest]


def _unit_of(found: EventAnalysis, letter: str) -> tuple[str, float]:
    if letter == "I":
        return "A", 1.0
    moments = [one for one in (found.before, found.during) if one is not None]
    sizes = [one.magnitude("VA") or 0.0 for one in moments]
    return ("kV", 1000.0) if max(sizes, default=0.0) >= 1000 else ("V", 1.0)


def _sequence_bars(axes: Axes, found: EventAnalysis, texts: dict[str, str]) -> None:
    names = ("I1", "I2", "I0")
    for moment, offset, colour, key in (
        (found.before, -0.2, GRID, "before"),
        (found.during, 0.2, COLOURS["A"], "during"),
    ):
        if moment is None:
            continue
        sizes = [moment.magnitude(name) or 0.0 for name in names]
        places = [n + offset for n in range(3)]
        edge = MARK if key == "before" else colour
        bars = axes.barh(places, sizes, 0.36, color=colour, edgecolor=edge, label=texts[key])
        axes.bar_label(bars, fmt="%.0f", padding=3, fontsize="small", color=TEXT)
    axes.set_yticks(range(3), names)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_title(texts["sequences"], loc="left", fontsize="medium", color=TEXT)
    _plain(axes)
    axes.grid(visible=False, axis="y")
    if axes.patches:
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.45, -0.1), ncols=2, frameon=False,
            fontsize="small",
        )  # fmt: skip


def _magnitudes(
    axes: Axes, records: Sequence[EventRecord], names: Sequence[str], texts: dict[str, str]
) -> None:
    for number, record in enumerate(records):
        try:
            measured = three_phase(record)
        except DataQualityError:
            continue
        phasors = (from_filtered if measured.filtered else fourier)(
            measured.currents, measured.per_cycle
        )
        if measured.filtered:
            phasors = phasors / math.sqrt(2)  # the record's rows were made instantaneous
        start = record.trigger_s or 0.0
        largest: Floats = np.max(np.abs(phasors), axis=1)
        colour = (OTHERS[0], OTHERS[1])[number]
        label = names[number] or f"{'ab'[number]}"
        times = (measured.event.t_s - start) * 1000
        axes.plot(times, largest, color=colour, linewidth=1.8, label=label)
    axes.axvline(0, color=TRIGGER, linewidth=0.9)
    axes.set_title(texts["magnitudes"], loc="left", fontsize="small", color=MARK)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(texts["time"])
    _plain(axes)
    if axes.lines:
        axes.legend(loc="upper right", frameon=False, fontsize="small")


def _plain(axes: Axes) -> None:
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    axes.tick_params(color=GRID, labelsize="small")
    axes.yaxis.label.set_fontsize("small")


def _number(value: float, digits: int, language: str) -> str:
    written = f"{value:.{digits}f}".translate(_MINUS)
    return written.replace(".", ",") if language == "fr" else written
