"""Small drawings of many values: heat strips of slots, sparklines, bars in a cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workspace_lib.views.html import Child, Html, tag
from workspace_lib.views.texts import Texts
from workspace_lib.views.tokens import STATES


@dataclass(frozen=True)
class Mark:
    """One mark of a heat strip: a state, what it says when pointed at, and where it leads.

    ``share`` is how much of a partial one there is [1].
    """

    state: str
    says: str
    link: str | None = None
    share: float | None = None


def heat_strip(marks: Sequence[Mark], *, length: int) -> Html:
    """Return one row of marks, oldest on the left, filled up to ``length`` on the left."""
    shown = list(marks)[-length:]
    blank = [tag("li", class_="is-none", aria_hidden="true")] * (length - len(shown))
    items = []
    for mark in shown:
        said = tag("span", mark.says, class_="ws-sr")
        inner: Child = tag("a", said, href=mark.link) if mark.link else said
        filled = None if mark.share is None else f"--ws-share:{mark.share * 100:.0f}%"
        look = f"ws-{mark.state}"
        items.append(tag("li", inner, class_=look, title=mark.says, style=filled))
    return tag("ul", blank, items, class_="ws-strip")


def strip_row(name: Child, note: Child, strip: Html, end: Child, end_note: Child) -> Html:
    """Return a strip with its name before it and a figure after it."""
    return tag(
        "div",
        tag(
            "div",
            tag("strong", name),
            tag("small", note) if note is not None else None,
            class_="ws-strip-name",
        ),
        strip,
        tag(
            "div",
            end,
            tag("small", end_note) if end_note is not None else None,
            class_="ws-strip-end",
        ),
        class_="ws-strip-row",
    )


def strips(rows: Iterable[Html]) -> Html:
    """Return rows of strips under each other."""
    return tag("div", rows, class_="ws-strips")


def strip_legend(
    texts: Texts, states: Iterable[str], words: Mapping[str, str] | None = None
) -> Html:
    """Return what the marks of a strip mean, in words (the states' own unless others are given)."""
    chosen = set(states)
    entries = [
        tag(
            "span",
            tag("ul", tag("li", class_=f"ws-{state}"), class_="ws-strip", aria_hidden="true"),
            (words or {}).get(state) or texts(f"state.{state}"),
        )
        for state in STATES
        if state in chosen
    ]
    return tag("div", entries, class_="ws-legend")


def sparkline(
    values: Sequence[float | None], *, colour: int = 1, bars: bool = False, label: str = ""
) -> Html:
    """Return a line or bars without axes; a missing value is a gap, never a bridge.

    Parameters
    ----------
    colour : int
        Number of the series' colour, from 1.
    bars : bool
        Bars from zero, for counts and sums.
    label : str
        What it shows, for those who cannot see it.
    """
    width, height = 240.0, 32.0
    known = [value for value in values if value is not None]
    if not known:
        return Html("")
    low = min(0.0, *known) if bars else min(known)
    high = max(known)
    span = (high - low) or 1.0
    step = width / max(len(values), 1)

    def level(value: float) -> float:
        return height - 1 - (value - low) / span * (height - 2)

    if bars:
        body = "".join(
            f'<path d="M{i * step + step * 0.1:.1f} {height:g}V{min(level(v), height - 1):.1f}'
            f'h{step * 0.8:.1f}V{height:g}z" fill="var(--ws-s{colour})"/>'
            for i, v in enumerate(values)
            if v is not None and v > 0
        )
        body += f'<path d="M0 {height - 0.5:g}H{width:g}" stroke="var(--ws-strong)"/>'
    else:
        path, pen = "", "M"
        for i, value in enumerate(values):
            if value is None:
                pen = "M"
                continue
            path += f"{pen}{(i + 0.5) * step:.1f} {level(value):.1f}"
            pen = "L"
        body = (
            f'<path d="{path}" fill="none" stroke="var(--ws-s{colour})" stroke-width="1.5" '
            'vector-effect="non-scaling-stroke" stroke-linejoin="round"/>'
        )
    said = tag("title", label).markup if label else ""
    role = 'role="img"' if label else 'aria-hidden="true"'
    return Html(
        f'<svg class="ws-spark" viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="none" '
        f"{role}>{said}{body}</svg>"
    )


def bar(share: float | None, *, state: str | None = None) -> Html:
    """Return a bar filled by ``share`` of one, for a table's cell."""
    if share is None:
        return Html("")
    percent = max(0.0, min(1.0, share)) * 100
    return tag(
        "span",
        tag("i", style=f"width:{percent:.1f}%"),
        class_=f"ws-bar ws-{state}" if state else "ws-bar",
        aria_hidden="true",
    )
