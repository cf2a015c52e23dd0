"""The board of rain: sums and their thresholds, silent gauges, completeness.

Numbers are those the job ``rain_sums`` has published. The chart (`rain_chart`), the map and the
days summed (`rain_network`) come from the same rows, up to the same instant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from workspace_lib.clock import to_us
from workspace_lib.errors import PublishError
from workspace_lib.rain import queries
from workspace_lib.rain.analysis import US
from workspace_lib.rain.settings import Gauge, load_network, load_rain
from workspace_lib.views.blocks import (
    age,
    badge,
    card,
    empty,
    legend,
    notice,
    notices,
    when,
)
from workspace_lib.views.blocks import cards as card_row
from workspace_lib.views.board import Board, Content, rows_of
from workspace_lib.views.html import Html, join, tag
from workspace_lib.views.icons import icon
from workspace_lib.views.marks import Mark, heat_strip, sparkline, strip_row, strips
from workspace_lib.views.tables import Column, table
from workspace_lib.views.texts import Texts
from workspace_lib.views.tiles import Tile
from workspace_lib.views.tokens import STATES

SUMS, TOTALS, GAUGES, COMPLETENESS = (
    "rain.sums",
    "rain.totals",
    "rain.gauges",
    "rain.completeness",
)
CHECK = "rain.check"
#: A gauge whose newest row is older than this is silent, where its job says no other limit [s].
SILENT_S = 1800.0
#: Less of a day than this is shown as partly measured [1].
WHOLE = 0.99


def tile(board: Board) -> Tile | None:
    """Return rain's tile of the overview: the wettest gauge of the last day, silent gauges."""
    texts, published = board.texts, board.published(SUMS)
    sums = [row for row in rows_of(published) if row["window"] == "P24h"]
    known = [row for row in sums if row["rain_mm"] is not None and row["missing_share"] < 1]
    wettest = max(known, key=lambda row: float(row["rain_mm"]), default=None)
    gauges, silent_ones = rows_of(board.published(GAUGES)), _silent(board)
    if not gauges:
        return None
    if silent_ones:
        said = texts("overview.silent", count=len(silent_ones), total=len(gauges))
    else:
        said = texts("overview.all_gauges", total=len(gauges))
    state = "bad" if len(silent_ones) == len(gauges) else "attention" if silent_ones else "good"
    return Tile(
        "rain",
        "stale" if published.stale else state,
        texts.number(wettest["rain_mm"], 1) if wettest else "–",
        unit="mm",
        note=f"{texts('rain.last_24h')} · {_wettest_note(texts, wettest)} · {said}"
        if wettest
        else said,
        as_of=published.as_of,
        spark=sparkline(
            _steps(board, wettest["gauge"], published.as_of, 24, 3600) if wettest else [],
            bars=True,
            label=texts("rain.per_hour"),
        ),
    )


def silent(board: Board) -> Html:
    """Return one sentence for each gauge that has been silent for too long."""
    texts, now = board.texts, board.now
    sentences = []
    for name, last in _silent(board):
        if last is None:
            sentences.append(notice("attention", texts("rain.never", gauge=name)))
            continue
        gone = texts.duration((now - last).total_seconds())
        moment = texts.moment(last, now=now)
        said = texts("rain.silent", gauge=name, age=gone, moment=moment)
        sentences.append(notice("attention", said))
    return notices(sentences)


def summary(board: Board, *, days: int) -> Html:
    """Return what somebody must do, and below it the four figures that matter."""
    return join([silent(board), cards(board, days=days)])


def cards(board: Board, *, days: int) -> Html:
    """Return the wettest gauge, of all days and of the last, and how complete the data are."""
    texts, now = board.texts, board.now
    published = board.published(TOTALS)
    totals = [row for row in rows_of(published) if row["rain_mm"] is not None]
    sums = [row for row in rows_of(board.published(SUMS)) if row["window"] == "P24h"]
    sums = [row for row in sums if row["rain_mm"] is not None]
    gauges = rows_of(board.published(GAUGES))
    limit_s = board.published(GAUGES).fresh_for_s or SILENT_S
    fresh = [r for r in gauges if r["last"] and (now - r["last"]).total_seconds() <= limit_s]
    wettest = max(totals, key=lambda row: float(row["rain_mm"]), default=None)
    day = max(sums, key=lambda row: float(row["rain_mm"]), default=None)
    missing = [float(row["missing_share"]) for row in totals]
    measured = 1 - sum(missing) / len(missing) if missing else None
    until = published.as_of
    per_day = _steps(board, wettest["gauge"], until, days, 86_400) if wettest else []
    per_hour = _steps(board, day["gauge"], until, 24, 3600) if day else []
    measured_state = "unknown" if measured is None else "good" if measured >= WHOLE else "partial"
    all_fresh = len(fresh) == len(gauges)
    return card_row(
        card(
            texts("rain.total", days=days),
            texts.number(wettest["rain_mm"], 1) if wettest else "–",
            unit="mm",
            note=_wettest_note(texts, wettest),
            spark=sparkline(per_day, bars=True, label=texts("rain.per_day")),
            stale=published.stale,
        ),
        card(
            texts("rain.last_24h"),
            texts.number(day["rain_mm"], 1) if day else "–",
            unit="mm",
            note=_wettest_note(texts, day),
            spark=sparkline(per_hour, bars=True, label=texts("rain.per_hour")),
            stale=published.stale,
        ),
        card(
            texts("rain.gauges"),
            f"{texts.number(len(fresh))} / {texts.number(len(gauges))}",
            note=texts("rain.gauges.note", limit=texts.duration(limit_s)),
            state=badge(texts, "good" if all_fresh else "attention"),
        ),
        card(
            texts("rain.coverage"),
            texts.percent(measured),
            note=texts("rain.coverage.note", days=days),
            state=badge(texts, measured_state),
        ),
    )


def reached(
    levels: Mapping[str, tuple[float, float]], window: str, rain_mm: float | None
) -> str | None:
    """Return the state of a sum [mm] by its window's levels: attention, bad, or None below both."""
    if window not in levels or rain_mm is None:
        return None
    attention, bad = levels[window]
    return "bad" if rain_mm >= bad else "attention" if rain_mm >= attention else None


def sums(board: Board) -> Content:
    """Return the sums of all windows that end at the newest row, one line per gauge."""
    texts, published = board.texts, board.published(SUMS)
    levels = load_rain(board.settings).thresholds_mm
    by_gauge: dict[str, dict[str, Any]] = {}
    windows: dict[str, float] = {}
    for row in rows_of(published):
        line = by_gauge.setdefault(row["gauge"], {"name": row["name"]})
        windows[row["window"]] = row["window_s"]
        # What nobody measured has no value: it is neither sorted nor exported as zero.
        line[row["window"]] = row["rain_mm"] if row["missing_share"] < 1 else None
        line[f"{row['window']}.missing"] = row["missing_share"]
        line[f"{row['window']}.measured"] = round(100 * (1 - row["missing_share"]), 2)
    columns = [Column("name", texts("rain.gauge"))]
    for name in sorted(windows, key=lambda name: windows[name]):
        title = window_name(name)
        measured = f"{title} · {texts('rain.coverage')}"
        columns += [
            Column(name, title, "mm", 1, show=_sum_cell(texts, name, levels)),
            # Who takes the table along gets this of every sum, also where it is all.
            Column(f"{name}.measured", measured, "%", 0, shown=False),
        ]
    label = texts("rain.sums")
    none = texts("rain.none")
    shown = table(texts, columns, list(by_gauge.values()), label=label, now=board.now, none=none)
    incomplete = any(
        (value or 0) > 1 - WHOLE
        for line in by_gauge.values()
        for key, value in line.items()
        if key.endswith(".missing")
    )
    notes = [texts("rain.sums.missing")] if incomplete else []
    paragraphs = [tag("p", note, class_="ws-muted") for note in notes]
    marked = {name: levels[name] for name in windows if name in levels}
    return Content(join([shown, *paragraphs, *_levels(texts, marked)]), stale=published.stale)


def status(board: Board) -> Content:
    """Return each gauge with its newest data, its battery, and what could not be used of it."""
    texts, now, published = board.texts, board.now, board.published(GAUGES)
    limit_s = published.fresh_for_s or SILENT_S

    def state(row: Mapping[str, Any]) -> Html:
        if row["last"] is None:
            return badge(texts, "unknown", texts("rain.no_data"))
        late = (now - row["last"]).total_seconds() > limit_s
        return badge(texts, "stale", texts("rain.is_silent")) if late else badge(texts, "good")

    def last(row: Mapping[str, Any]) -> Html | str:
        if row["last"] is None:
            return "–"
        since = tag("small", age(texts, row["last"], now))
        return join([when(texts, row["last"], now), " ", since])

    columns = [
        Column("name", texts("rain.gauge")),
        Column("state", texts("runs.state"), show=state, sortable=False),
        Column("last", texts("rain.last"), show=last),
        Column("battery_v", texts("rain.battery"), "V", 1),
        Column("conflicts", texts("rain.conflicts"), digits=0),
        Column("set_aside", texts("rain.set_aside"), digits=0),
        Column("bad_lines", texts("rain.bad_lines"), digits=0),
    ]
    label, none = texts("rain.status"), texts("rain.none")
    shown = table(texts, columns, rows_of(published), label=label, now=now, none=none)
    return Content(join([shown, checked(board)]), stale=published.stale)


def checked(board: Board) -> Html | None:
    """Return how the last full check ended, in a sentence; None before the first one."""
    texts = board.texts
    try:
        published = board.published(CHECK)
    except PublishError:
        return None
    report = published.data
    count = Counter(finding["severity"] for finding in report["findings"])
    said = {
        "good": texts("rain.check.good"),
        "attention": texts("rain.check.attention", count=count["warning"]),
        "bad": texts("rain.check.bad", count=count["error"] + count["warning"]),
    }[report["state"]]
    state = badge(texts, "stale" if published.stale else report["state"])
    moment = when(texts, published.as_of, board.now)
    return tag("p", [state, f" {texts('rain.check')}, ", moment, f": {said}"])


def completeness(board: Board) -> Content:
    """Return for each gauge and day whether it measured all, some or nothing of it."""
    texts, published = board.texts, board.published(COMPLETENESS)
    by_gauge: dict[str, list[tuple[str, float]]] = {}
    for row in rows_of(published):
        by_gauge.setdefault(row["name"], []).append((str(row["day"]), float(row["share"])))
    if not by_gauge:
        return Content(empty(texts, texts("rain.none")))
    length = max(len(days) for days in by_gauge.values())
    rows = []
    for name, days in by_gauge.items():
        marks = []
        for day, share in sorted(days):
            moment = datetime.fromisoformat(day).replace(hour=12, tzinfo=board.settings.zone)
            says = f"{texts.date(moment, year=False)} · {texts.percent(share)}"
            marks.append(Mark("measured", says, share=share))
        mean = sum(share for _, share in days) / len(days)
        strip = heat_strip(marks, length=length)
        rows.append(strip_row(name, None, strip, texts.percent(mean), None))
    words = [("ws-measured", texts("rain.coverage")), ("ws-missed", texts("rain.missing"))]
    return Content(join([strips(rows), legend(words)]), stale=published.stale)


def window_name(window: str) -> str:
    """Return a window as people read it: ``P5min`` is ``5 min``.

    Examples
    --------
    >>> window_name("P72h")
    '72 h'
    """
    digits = "".join(mark for mark in window if mark.isdigit())
    unit = window[1 + len(digits) :]
    return f"{digits}\u00a0{unit}"


def _silent(board: Board) -> list[tuple[str, datetime | None]]:
    """Return name and newest row of each gauge without data for too long."""
    published = board.published(GAUGES)
    limit_s = published.fresh_for_s or SILENT_S
    return [
        (row["name"], row["last"])
        for row in rows_of(published)
        if row["last"] is None or (board.now - row["last"]).total_seconds() > limit_s
    ]


def _wettest_note(texts: Texts, row: Mapping[str, Any] | None) -> str | None:
    if row is None:
        return None
    return texts("rain.wettest", gauge=row["name"]) if row["rain_mm"] else texts("rain.dry")


def _levels(texts: Texts, levels: Mapping[str, tuple[float, float]]) -> list[Html]:
    """Return for each of the two marks, as it stands in the table, from which sums on it is set."""
    if not levels:
        return []
    lines = []
    for place, state in enumerate(("attention", "bad")):
        said = [
            texts("rain.level", value=texts.number(both[place]), window=window_name(window))
            for window, both in levels.items()
        ]
        mark = tag("span", icon(STATES[state].icon), class_=f"ws-level ws-{state}")
        words = texts("rain.thresholds", levels=", ".join(said))
        lines.append(tag("p", mark, words, class_="ws-muted"))
    return lines


def _sum_cell(texts: Texts, window: str, levels: Mapping[str, tuple[float, float]]) -> Any:
    def cell(row: Mapping[str, Any]) -> Html:
        value, missing = row.get(window), row.get(f"{window}.missing") or 0.0
        if missing >= 1:
            return tag("span", texts("rain.not_measured"), class_="ws-muted")
        shown = tag("span", texts.number(value, 1))
        if state := reached(levels, window, value):
            level = levels[window][state == "bad"]
            said = texts("rain.reached", value=texts.number(level), window=window_name(window))
            mark = [icon(STATES[state].icon), tag("span", said, class_="ws-sr")]
            shown = tag("span", mark, shown, class_=f"ws-level ws-{state}", title=said)
        if missing <= 1 - WHOLE:
            return shown
        return join([shown, tag("small", f" ({texts.percent(1 - missing, 0)})")])

    return cell


def _steps(
    board: Board, gauge_id: str, until: datetime, count: int, step_s: int
) -> list[float | None]:
    """Return the rain of the last steps of a gauge, None where none of a step was measured."""
    since = until - timedelta(seconds=count * step_s)
    gauges: list[Gauge] = [g for g in load_network(board.settings).gauges if g.id == gauge_id]
    values: list[float | None] = []
    for one in queries.calibrated(board.store, gauges, since, until).values():
        edges = to_us(since) + np.arange(count + 1, dtype=np.int64) * step_s * US
        depths = one.between(edges).depth(one.unit)
        missing = one.coverage.missing_share(edges[:-1], edges[1:])
        values += [
            None if share >= 1 or np.isnan(depth) else float(depth)
            for depth, share in zip(depths, missing, strict=True)
        ]
    return values
