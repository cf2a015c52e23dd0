"""Phasors as a drawing: arrows of three phases in a circle, strong ones before pale ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from workspace_lib.views.charts import nice_ticks
from workspace_lib.views.html import Html, tag
from workspace_lib.views.texts import Texts

#: Colours of the style sheet by phase; what has none (ground) is that of text.
PHASE_SERIES: Final[Mapping[str, int]] = {"A": 1, "B": 6, "C": 3}
GROUND_SERIES: Final = 8
_SIZE, _RADIUS, _HEAD = 260.0, 96.0, 7.0


@dataclass(frozen=True)
class Arrow:
    """One phasor: its name, phase, magnitude in the unit of the drawing, and angle [°]."""

    name: str
    phase: str
    magnitude: float
    angle_deg: float
    strong: bool = True


def series_of(phase: str) -> int:
    """Return the number of the series' colour of a phase."""
    return PHASE_SERIES.get(phase, GROUND_SERIES)


def phasor_circle(texts: Texts, arrows: Sequence[Arrow], *, title: str, unit: str) -> Html:
    """Return phasors in a circle; pale ones are drawn below and without a name.

    Parameters
    ----------
    title : str
        What they are; also for those who cannot see the drawing.
    """
    most = max((one.magnitude for one in arrows), default=0.0)
    if most <= 0:
        return Html("")
    ticks = [one for one in nice_ticks(0.0, most, 3) if 0 < one <= most * 1.001]
    middle = _SIZE / 2
    scale = _RADIUS / most
    said = "; ".join(
        f"{one.name} {texts.number(one.magnitude, _digits(most))} {unit}, "
        f"{texts.number(one.angle_deg)}°"
        for one in arrows
        if one.strong
    )
    parts = [f"<title>{_escaped(title)}: {_escaped(said)}</title>"]
    parts += [f'<circle class="ws-grid" cx="{middle:g}" cy="{middle:g}" r="{_RADIUS:g}"/>']
    for tick in ticks:
        radius = tick * scale
        parts.append(f'<circle class="ws-grid" cx="{middle:g}" cy="{middle:g}" r="{radius:.1f}"/>')
    parts.append(
        f'<path class="ws-grid" d="M{middle - _RADIUS:g} {middle:g}h{2 * _RADIUS:g}'
        f'M{middle:g} {middle - _RADIUS:g}v{2 * _RADIUS:g}"/>'
    )
    if ticks:
        label = f"{texts.number(ticks[-1], _digits(most))} {unit}"
        angle = _free([one.angle_deg for one in arrows if one.magnitude * scale > _HEAD])
        x, y = _at(ticks[-1] * scale, angle)
        parts.append(
            f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{_escaped(label)}</text>'
        )
    parts += [_arrow(one, scale) for one in sorted(arrows, key=lambda one: one.strong)]
    named = [one for one in arrows if one.strong]
    parts += _names(named, scale)
    heading = tag("figcaption", f"{title} [{unit}]")
    drawing = Html(
        f'<svg class="ws-draw" viewBox="0 0 {_SIZE:g} {_SIZE:g}" role="img">{"".join(parts)}</svg>'
    )
    return tag("figure", heading, drawing, class_="ws-phasors")


def _arrow(arrow: Arrow, scale: float) -> str:
    length = arrow.magnitude * scale
    if length < 1.0:
        return ""
    middle = _SIZE / 2
    x, y = _at(length, arrow.angle_deg)
    colour = f"var(--ws-s{series_of(arrow.phase)})"
    width = 2.5 if arrow.strong else 1.5
    opacity = "" if arrow.strong else ' opacity=".45"'
    head = ""
    for side in (-150.0, 150.0):
        turn = math.radians(arrow.angle_deg + side)
        size = min(_HEAD, length)
        head += f"M{x:.1f} {y:.1f}l{size * math.cos(turn):.1f} {-size * math.sin(turn):.1f}"
    return (
        f'<path d="M{middle:g} {middle:g}L{x:.1f} {y:.1f}{head}" fill="none" stroke="{colour}" '
        f'stroke-width="{width:g}" stroke-linecap="round"{opacity}/>'
    )


def _free(angles_deg: Sequence[float]) -> float:
    """Return the angle [°] of those proposed that is farthest from all arrows."""

    def near(angle: float) -> float:
        return min((abs((angle - one + 180) % 360 - 180) for one in angles_deg), default=180.0)

    return max((-68.0, -112.0, 68.0, 112.0, -45.0, -135.0, 45.0, 135.0), key=near)


def _names(arrows: Sequence[Arrow], scale: float) -> list[str]:
    """Return the names at the tips of arrows; one that would stand over another goes aside."""
    taken: list[tuple[float, float]] = []
    parts = []
    for arrow in sorted(arrows, key=lambda one: -one.magnitude):
        length = arrow.magnitude * scale
        if length < 6.0:
            continue
        places = [(length + out, turn) for out in (14, 28) for turn in (0, 16, -16, 30, -30)]
        for radius, turn in [*places, (max(16.0, length - 22), 0)]:
            x, y = _at(radius, arrow.angle_deg + turn)
            if all(abs(x - a) > 22 or abs(y - b) > 13 for a, b in taken) and not any(
                _crosses(x, y, one, scale) for one in arrows
            ):
                break
        taken.append((x, y))
        parts.append(
            f'<text class="ws-strong" x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">'
            f"{_escaped(arrow.name)}</text>"
        )
    return parts


def _crosses(x: float, y: float, arrow: Arrow, scale: float) -> bool:
    """Return whether an arrow goes through a name whose middle is there."""
    tip_x, tip_y = _at(arrow.magnitude * scale, arrow.angle_deg)
    middle = _SIZE / 2
    steps = [n / 24 for n in range(25)]
    return any(
        abs(x - middle - (tip_x - middle) * part) < 11
        and abs(y - middle - (tip_y - middle) * part) < 8
        for part in steps
    )


def _at(radius: float, angle_deg: float) -> tuple[float, float]:
    turn = math.radians(angle_deg)
    return _SIZE / 2 + radius * math.cos(turn), _SIZE / 2 - radius * math.sin(turn)


def _digits(most: float) -> int:
    return 0 if most >= 100 else 1


def _escaped(text: str) -> str:
    return tag("i", text).markup[3:-4]
