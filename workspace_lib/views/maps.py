"""Maps of places without tiles: where devices stand, with a value or a state at each.

Nothing is fetched from anywhere: a scale, north, and the places. Distances are those of an
equirectangular projection about the middle latitude, true to better than 1 % over 100 km.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from workspace_lib.views.html import Html, tag
from workspace_lib.views.texts import Texts

#: Length of one degree of latitude [km] (mean of the WGS 84 meridian).
KM_PER_DEGREE: Final = 111.13
#: Classes of the style sheet in which a drawing appears, with its width and height [px].
SIZES: Final = (("ws-wide", 640, 380), ("ws-narrow", 380, 360))
MARGIN_PX, FOOT_PX, FONT_PX, LINE_PX = 34.0, 30.0, 12.0, 15.0
#: Radius of a mark, and how far a ring stands off it [px].
DOT_PX, RING_PX = 6.5, 3.5
#: Places closer together than this have no extent a map could be fitted to [km].
LEAST_KM = 0.2


@dataclass(frozen=True)
class Place:
    """One place of a map.

    ``value`` is written beside its name and ``share`` (0 to 1) fills its mark; without them it has
    no value. ``state`` is one of the house's states, drawn around the mark when it is not good.
    ``says`` is what is told when it is pointed at.
    """

    name: str
    lat: float
    lon: float
    says: str
    value: str | None = None
    share: float | None = None
    state: str = "good"
    link: str | None = None


def site_map(texts: Texts, places: Sequence[Place], *, label: str) -> Html:
    """Return the places as a map in two widths; ``label`` says what it shows."""
    drawn = [_draw(texts, places, label, style, width, height) for style, width, height in SIZES]
    return tag("figure", drawn, class_="ws-map", role="group", aria_label=label)


def nice_length_km(most_km: float) -> float:
    """Return the longest of 1, 2 or 5 times a power of ten that is no longer than ``most_km``.

    Examples
    --------
    >>> nice_length_km(0.73), nice_length_km(34.0)
    (0.5, 20.0)
    """
    power = 10.0 ** math.floor(math.log10(most_km))
    return max(m * power for m in (1.0, 2.0, 5.0) if m * power <= most_km * (1 + 1e-9))


class Projection:
    """Pixels of places in a drawing: the same scale in both directions, north at the top."""

    def __init__(self, places: Sequence[Place], width: float, height: float) -> None:
        lats, lons = [p.lat for p in places], [p.lon for p in places]
        self._lat = (min(lats) + max(lats)) / 2
        self._lon = (min(lons) + max(lons)) / 2
        self._east_km = KM_PER_DEGREE * math.cos(math.radians(self._lat))
        wide = max((max(lons) - min(lons)) * self._east_km, LEAST_KM)
        high = max((max(lats) - min(lats)) * KM_PER_DEGREE, LEAST_KM)
        inner = (width - 2 * MARGIN_PX, height - FOOT_PX - 2 * MARGIN_PX)
        self.px_per_km = min(inner[0] / wide, inner[1] / high)
        self._middle = (width / 2, (height - FOOT_PX) / 2)

    def __call__(self, place: Place) -> tuple[float, float]:
        """Return x from the left and y from the top [px]."""
        east = (place.lon - self._lon) * self._east_km
        north = (place.lat - self._lat) * KM_PER_DEGREE
        x, y = self._middle
        return x + east * self.px_per_km, y - north * self.px_per_km


def _draw(
    texts: Texts, places: Sequence[Place], label: str, style: str, width: int, height: int
) -> Html:
    project = Projection(places, width, height)
    dots = [project(place) for place in places]
    # A label that finds no room is left out; the mark still tells it when pointed at.
    boxes = place_labels(dots, [_label_px(place) for place in places], width, height - FOOT_PX)
    marks = [_mark(place, dot, box) for place, dot, box in zip(places, dots, boxes, strict=True)]
    said = tag("title", label).markup
    return Html(
        f'<svg class="ws-draw {style}" viewBox="0 0 {width} {height}" role="img">{said}'
        f"{_grid(project, width, height)}{''.join(marks)}{_foot(texts, project, width, height)}"
        "</svg>"
    )


def place_labels(
    dots: Sequence[tuple[float, float]],
    widths: Sequence[float],
    width: float,
    height: float,
) -> list[tuple[float, float] | None]:
    """Return the upper left corner of each label, beside its dot and over nothing else [px].

    Tried in turn: right, left, above, below, and the corners; None where there is no room.
    """
    reach = DOT_PX + RING_PX
    taken = [(x - reach, y - reach, x + reach, y + reach) for x, y in dots]
    found: list[tuple[float, float] | None] = []
    gap = DOT_PX + RING_PX + 2
    for number, ((x, y), wide) in enumerate(zip(dots, widths, strict=True)):
        tries = [
            (x + gap, y - LINE_PX / 2),
            (x - gap - wide, y - LINE_PX / 2),
            (x - wide / 2, y - gap - LINE_PX),
            (x - wide / 2, y + gap),
            *((x + side, y + up) for side in (gap, -gap - wide) for up in (-gap - 6, gap - 8)),
        ]
        corner = next((c for c in tries if _free(c, wide, taken, number, width, height)), None)
        if corner is not None:
            taken.append((*corner, corner[0] + wide, corner[1] + LINE_PX))
        found.append(corner)
    return found


def _free(
    corner: tuple[float, float],
    wide: float,
    taken: Sequence[tuple[float, float, float, float]],
    own: int,
    width: float,
    height: float,
) -> bool:
    left, top = corner
    right, bottom = left + wide, top + LINE_PX
    if left < 2 or top < 2 or right > width - 2 or bottom > height - 2:
        return False
    return not any(
        number != own and left < box[2] and box[0] < right and top < box[3] and box[1] < bottom
        for number, box in enumerate(taken)
    )


def _label_px(place: Place) -> float:
    shown = len(place.name) + (len(place.value) + 1 if place.value else 0)
    return shown * FONT_PX * 0.58 + 4


def _mark(place: Place, dot: tuple[float, float], corner: tuple[float, float] | None) -> str:
    x, y = dot
    said = tag("title", place.says).markup
    share = "" if place.share is None else f' style="--ws-share:{_percent(place.share)}%"'
    measured = "is-unknown" if place.value is None else "is-dry" if not place.share else ""
    ring = text = ""
    if place.state != "good":
        at = f'cx="{x:.1f}" cy="{y:.1f}" r="{DOT_PX + RING_PX}"'
        ring = f'<circle class="ws-ring ws-{place.state}" {at}/>'
    if corner is not None:
        value = f' <tspan class="ws-strong">{_escaped(place.value)}</tspan>' if place.value else ""
        text = (
            f'<text x="{corner[0] + 2:.1f}" y="{corner[1] + FONT_PX - 0.5:.1f}">'
            f"{_escaped(place.name)}{value}</text>"
        )
    inner = (
        f'{said}<circle class="ws-dot {measured}"{share} cx="{x:.1f}" cy="{y:.1f}" '
        f'r="{DOT_PX}"/>{ring}{text}'
    )
    if place.link:
        return tag("a", Html(inner), href=place.link).markup
    return f"<g>{inner}</g>"


def _percent(share: float) -> int:
    """Return how strongly a mark is filled, never so little that it looks dry [%]."""
    return round(25 + 75 * max(0.0, min(1.0, share)))


def _grid(project: Projection, width: int, height: int) -> str:
    step = nice_length_km(width / 4 / project.px_per_km) * project.px_per_km
    bottom = height - FOOT_PX
    across = [width / 2 + n * step for n in range(-8, 9) if 0 < width / 2 + n * step < width]
    down = [bottom / 2 + n * step for n in range(-8, 9) if 0 < bottom / 2 + n * step < bottom]
    lines = "".join(f"M{x:.1f} 0V{bottom:g}" for x in across)
    lines += "".join(f"M0 {y:.1f}H{width}" for y in down)
    return f'<path class="ws-grid" d="{lines}"/>'


def _foot(texts: Texts, project: Projection, width: int, height: int) -> str:
    length_km = nice_length_km(width / 4 / project.px_per_km)
    length = length_km * project.px_per_km
    y = height - 12.0
    metres = length_km < 1
    said = f"{texts.number(length_km * 1000 if metres else length_km)} {'m' if metres else 'km'}"
    return (
        f'<path class="ws-scale" d="M2 {y - 5:g}v5h{length:.1f}v-5"/>'
        f'<text x="{length + 10:.1f}" y="{y:g}">{said}</text>'
        f'<path class="ws-north" d="M{width - 22} {y:g}l5 -14l5 14l-5 -4z"/>'
        f'<text x="{width - 28}" y="{y:g}" text-anchor="end">N</text>'
    )


def _escaped(text: str | None) -> str:
    return tag("i", text).markup[3:-4] if text else ""
