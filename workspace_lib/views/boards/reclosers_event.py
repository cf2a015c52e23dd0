"""One event on the board of reclosers: waves, bits and marks, phasors, and the relay's own values.

Waves are read from the archive, and computed, by the functions the analysis uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection

from workspace_lib.clock import to_us
from workspace_lib.errors import WorkspaceError
from workspace_lib.reclosers import queries, queries_incidents
from workspace_lib.reclosers.analysis import analyse_event
from workspace_lib.reclosers.analysis_values import EventAnalysis, Moment
from workspace_lib.reclosers.archive import open_archive
from workspace_lib.reclosers.event_traces import BitTrace, EventTraces, event_traces
from workspace_lib.reclosers.queries import EventFilter, EventRow
from workspace_lib.reclosers.queries_incidents import IncidentFilter
from workspace_lib.reclosers.settings import load_reclosers
from workspace_lib.reclosers.stored_records import StoredRecord, read_record
from workspace_lib.store.engines import read
from workspace_lib.views.blocks import badge, empty, failed, how_computed, tabs, when
from workspace_lib.views.board import Board, Content
from workspace_lib.views.boards.reclosers import EVENTS_PAGE, fault_words, span_words
from workspace_lib.views.charts import Event, Row, Series, Spans, TimeChart, decimate
from workspace_lib.views.html import Html, join, tag
from workspace_lib.views.marks import bar, strip_row, strips
from workspace_lib.views.phasors import Arrow, phasor_circle, series_of
from workspace_lib.views.tables import Column, table
from workspace_lib.views.texts import Texts
from workspace_lib.views.tiles import front_link

#: Bits of an event that the board shows at most; its page has all.
MOST_BITS: Final = 10
#: Points of a line that are sent to a browser: waves of several events stand in one page.
MOST_POINTS: Final = 700
#: Compared values shown, those that differ first.
MOST_COMPARED: Final = 10
#: Colour of bits: that of what is neither good nor bad.
BIT_SERIES: Final = 9
QUANTITIES: Final = {
    "currents": "reclosers.currents",
    "voltages": "reclosers.voltages",
    "other": "reclosers.other",
}
_HEIGHTS: Final = {"currents": 150, "voltages": 120, "other": 100}


def newest(board: Board, *, events: str = "", count: int = 3) -> Content:
    """Return some events as tabs: those named by their numbers, else the newest with waves."""
    texts = board.texts
    rows = _rows(board, events, count)
    if not rows:
        return Content(empty(texts, texts("reclosers.event.none")))
    pages: dict[str, Html] = {}
    for row in rows:
        name = f"{row.recloser} · {texts.moment(row.triggered, now=board.now)}"
        if name in pages:
            name = f"{row.recloser} · {row.device_time.replace('T', ' ')} · {row.event}"
        pages[name] = _page(board, row)
    return Content(tabs(pages, "reclosers-events"), how=_how(board))


def _rows(board: Board, events: str, count: int) -> list[EventRow]:
    numbers = [int(one) for one in events.replace(",", " ").split() if one.isdigit()]
    with read(board.store.data) as connection:
        if numbers:
            return queries.event_rows(connection, numbers)[:8]
        found = _of_faults(connection, count)
        return found or queries.search(connection, EventFilter(state="whole"), limit=count)


def _of_faults(connection: Connection, count: int) -> list[EventRow]:
    """Return an event of each of the newest faults: the last one, which says how it ended.

    It is of the recloser nearest to the fault.
    """
    found = []
    for fault in queries_incidents.disturbances(connection, limit=4 * count):
        wanted = IncidentFilter(disturbance_id=fault.disturbance_id)
        parts = queries_incidents.incidents(connection, wanted)
        nearest = (fault.content.get("patrol") or {}).get("recloser")
        chosen = [one.incident_id for one in parts if nearest in (one.recloser, None)]
        events = queries_incidents.events_of(connection, chosen)
        if whole := [one for one in events if one.state == "whole"]:
            found.append(whole[-1])
    return found[:count]


def _page(board: Board, row: EventRow) -> Html:
    texts = board.texts
    head = _head(board, row)
    try:
        stored = _stored(board, row)
        found = _analysis(board, row, stored)
        traces = event_traces(stored.record, found, most_bits=MOST_BITS)
    except WorkspaceError as error:
        return join([head, failed(texts, error)])
    chart = event_chart(texts, row, traces)
    return join(
        [
            head,
            chart.to_html(texts),
            _hidden_bits(texts, traces),
            tag(
                "div",
                tag(
                    "div",
                    tag("div", *circles(texts, found), class_="ws-circles"),
                    sequence_bars(texts, found),
                ),
                tag("div", compared(board, row, found), times(texts, found)),
                class_="ws-beside",
            ),
        ]
    )


def _stored(board: Board, row: EventRow) -> StoredRecord:
    with read(board.store.data) as connection:
        files = queries.event_files(connection, row.event_id)
    return read_record(open_archive(board.settings).read, files)


def _analysis(board: Board, row: EventRow, stored: StoredRecord) -> EventAnalysis:
    """Return what is stored of an event's analysis; computed here if another version wrote it."""
    with read(board.store.data) as connection:
        kept = queries.analysis_of(connection, row.event_id)
    found = None if kept is None else kept.analysis
    return found or analyse_event(stored.record, relay=stored.relay)


def _head(board: Board, row: EventRow) -> Html:
    texts = board.texts
    said = [fault_words(texts, row.fault_type or row.event, row.magnitude_a)]
    if row.distance is not None:
        unit = load_reclosers(board.settings).distance_unit
        said.append(span_words(texts, row.distance, row.distance_low, row.distance_high, unit))
    if row.clearing_s is not None:
        ms = texts.number(row.clearing_s * 1000)
        said.append(texts("reclosers.cleared", ms=ms))
    if row.shot_number is not None:
        said.append(texts("reclosers.shot", shot=row.shot_number))
    facts = tag("span", join(said, " · "))
    lockout = badge(texts, "bad", texts("reclosers.lockout")) if row.locked_out else None
    link = front_link(board, f"{EVENTS_PAGE}/{row.event_id}")
    more = tag("a", texts("reclosers.event.open"), href=link) if link else None
    clock = tag("span", texts("reclosers.clock_time", time=row.device_time.replace("T", " ")))
    return tag("p", lockout, facts, clock, more, class_="ws-facts")


def event_chart(texts: Texts, row: EventRow, traces: EventTraces) -> TimeChart:
    """Return the chart of an event: a row for each quantity, one for bits, marks through all."""
    zero = row.triggered
    base = to_us(zero)
    times = base + np.rint(traces.t_ms * 1000).astype(np.int64)
    rows = [
        Row(
            texts(QUANTITIES[panel.quantity]),
            panel.unit,
            [
                _thinned(
                    Series(
                        trace.name,
                        times,
                        trace.values,
                        colour=series_of(trace.phase),
                        stroke=1.0 if trace.phase == "N" else 1.5,
                    )
                )
                # What flows through ground is drawn below the phase it nearly coincides with.
                for trace in sorted(panel.traces, key=lambda one: one.phase != "N")
            ],
            height=_HEIGHTS[panel.quantity],
            digits=0 if panel.unit == "A" else 2,
            labels=True,
            tight=True,
        )
        for panel in traces.panels
    ]
    if traces.bits:
        spans = [Spans(bit.name, _spans(bit, base), BIT_SERIES) for bit in traces.bits]
        rows.append(
            Row(texts("reclosers.bits"), spans=spans, height=18 * len(spans), hatched=False)
        )
    marks = [
        Event(
            f"{texts(f'reclosers.mark.{mark.name}')} {texts.number(mark.t_ms)}\u00a0ms",
            base + round(mark.t_ms * 1000),
        )
        for mark in traces.marks
    ]
    if traces.triggered:
        marks.append(Event(texts("reclosers.mark.trigger"), base, strong=True))
    first, last = traces.ends_ms
    return TimeChart(
        f"event-{row.event_id}",
        texts("reclosers.event.chart", recloser=row.recloser),
        zero + timedelta(milliseconds=first),
        zero + timedelta(milliseconds=last),
        tuple(rows),
        zero=zero,
        events=tuple(marks),
    )


def _spans(bit: BitTrace, base: int) -> list[tuple[int, int]]:
    return [(base + round(first * 1000), base + round(last * 1000)) for first, last in bit.spans]


def _thinned(series: Series) -> Series:
    times, values = decimate(series.times, series.values, MOST_POINTS)
    return replace(series, times=times, values=values)


def _hidden_bits(texts: Texts, traces: EventTraces) -> Html | None:
    if len(traces.bits) >= traces.changing:
        return None
    said = texts("reclosers.bits.some", shown=len(traces.bits), all=traces.changing)
    return tag("p", said, class_="ws-muted")


def circles(texts: Texts, found: EventAnalysis) -> list[Html]:
    """Return the phasors of currents and of voltages during the fault, over those before it."""
    drawn = []
    for letter, key in (("I", QUANTITIES["currents"]), ("V", QUANTITIES["voltages"])):
        moments = [one for one in (found.before, found.during) if one is not None]
        largest = max((one.magnitude(f"{letter}A") or 0.0 for one in moments), default=0.0)
        kilo = letter == "V" and largest >= 1000
        factor, unit = (1000.0, "kV") if kilo else (1.0, "A" if letter == "I" else "V")
        arrows = [
            *_arrows(found.before, letter, factor, strong=False),
            *_arrows(found.during, letter, factor, strong=True),
        ]
        drawn.append(phasor_circle(texts, arrows, title=texts(key), unit=unit))
    return drawn


def _arrows(moment: Moment | None, letter: str, factor: float, *, strong: bool) -> list[Arrow]:
    if moment is None:
        return []
    names = [f"{letter}{phase}" for phase in "ABC"] + (["IG"] if letter == "I" and strong else [])
    return [
        Arrow(name, name[1], one.magnitude / factor, one.angle_deg, strong)
        for name in names
        if (one := moment.phasors.get(name)) is not None
    ]


def compared(board: Board, row: EventRow, found: EventAnalysis) -> Html:
    """Return the computed values beside the relay's own, and when things happened."""
    texts = board.texts
    unit = load_reclosers(board.settings).distance_unit
    lines = sorted(_comparisons(texts, found, unit), key=lambda line: line["agrees"])
    lines = lines[:MOST_COMPARED]
    columns = [
        Column("quantity", texts("reclosers.quantity")),
        Column("computed", texts("reclosers.computed"), show=_cell("computed"), nowrap=True),
        Column("relay", texts("reclosers.relay"), show=_cell("relay"), nowrap=True),
        Column("state", "", show=_cell("state"), sortable=False, export=False),
    ]
    label = f"{texts('reclosers.compared')} {row.recloser} {row.device_time}"
    none = texts("reclosers.event.no_analysis")
    return table(texts, columns, lines, label=label, now=board.now, none=none)


def _cell(key: str) -> Any:
    return lambda row: row.get(key) or "–"


def _comparisons(texts: Texts, found: EventAnalysis, length: str) -> list[Mapping[str, Any]]:
    lines: list[Mapping[str, Any]] = []
    for one in found.comparisons:
        # Phases that were as they are told to be, before the fault or of voltages, say little.
        if one.quantity.endswith("before") or (one.agrees and one.quantity[:1] == "V"):
            continue
        key = f"reclosers.quantity.{one.quantity.replace(' ', '_')}"
        unit = length if one.quantity == "distance" else one.unit
        agrees = badge(texts, "good", texts("reclosers.agrees"))
        differs = badge(texts, "attention", texts("reclosers.differs"))
        lines.append(
            {
                "quantity": texts(key) if texts.has(key) else one.quantity,
                "computed": _value(texts, one.computed, unit),
                "relay": _value(texts, one.relay, unit),
                "state": agrees if one.agrees else differs,
                "agrees": one.agrees,
            }
        )
    return lines


def sequence_bars(texts: Texts, found: EventAnalysis) -> Html | None:
    """Return the sequence currents of the fault as bars, with those before it in words."""
    during = found.during
    if during is None:
        return None
    sizes = {name: during.magnitude(name) or 0.0 for name in ("I1", "I2", "I0")}
    most = max(sizes.values()) or 1.0
    lines = []
    for name, size in sizes.items():
        earlier = found.before.magnitude(name) if found.before else None
        before = texts("reclosers.before", value=f"{texts.number(earlier)}\u00a0A")
        lines.append(
            strip_row(
                name,
                None,
                bar(size / most),
                f"{texts.number(size)}\u00a0A",
                before if earlier is not None else None,
            )
        )
    return tag("div", strips(lines), class_="ws-sequences")


def times(texts: Texts, found: EventAnalysis) -> Html | None:
    """Return how long things took, in words and numbers."""
    known = [
        ("relay_s", found.times.relay_s),
        ("opening_s", found.times.opening_s),
        ("clearing_s", found.times.clearing_s),
        ("dead_s", found.times.dead_s),
    ]
    lines = [
        (texts(f"reclosers.time.{name}"), f"{texts.number(value * 1000)}\u00a0ms")
        for name, value in known
        if value is not None
    ]
    if found.i2t is not None:
        lines.append((texts("reclosers.i2t"), f"{texts.number(found.i2t)}\u00a0A²\u00a0s"))
    if not lines:
        return None
    return tag(
        "dl", [(tag("dt", name), tag("dd", value)) for name, value in lines], class_="ws-times"
    )


def _value(texts: Texts, value: float | str, unit: str) -> str:
    if isinstance(value, str):
        return value
    if unit == "V" and abs(value) >= 1000:
        value, unit = value / 1000, "kV"
    digits = {"A": 0, "V": 0, "kV": 2, "Hz": 2, "s": 3, "km": 2, "mi": 2}.get(unit, 0)
    return f"{texts.number(value, digits)}\u00a0{unit}".rstrip("\u00a0")


def _how(board: Board) -> Html:
    texts = board.texts
    rows: dict[str, Any] = {
        texts("reclosers.how.phasors"): texts("reclosers.how.phasors.text"),
        texts("reclosers.how.distance"): texts("reclosers.how.distance.text"),
        texts("reclosers.how.times"): texts("reclosers.how.times.text"),
        texts("reclosers.how.read"): when(texts, board.now, board.now),
    }
    return how_computed(texts, rows)
