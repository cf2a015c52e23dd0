"""What the page of one event of a recloser shows; it needs no kernel and no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlencode

from workspace_lib.clock import iso
from workspace_lib.reclosers.analysis_values import Comparison, EventAnalysis, Phasor
from workspace_lib.reclosers.queries import EventFile, EventRow, RelayState
from workspace_lib.views.blocks import badge, notice, notices, panel
from workspace_lib.views.boards.reclosers import fault_words, span_words
from workspace_lib.views.boards.reclosers_event import circles
from workspace_lib.views.html import Child, Html, join, tag
from workspace_lib.views.texts import MISSING, Texts
from workspace_lib.web.recloser_tables import plain_table

API: Final = "/api/v1/events"
#: How long before and after an incident its page of a complaint begins and ends.
AROUND: Final = timedelta(minutes=15)
OUTCOME_STATES: Final = {"permanent": "bad", "momentary": "good", "unknown": "unknown"}
FILE_STATES: Final = {"whole": "good", "summary": "partial", "damaged": "attention"}
_TIMES: Final = (
    ("inception", "inception_s"),
    ("trip", "trip_s"),
    ("open", "contacts_open_s"),
    ("cleared", "current_zero_s"),
    ("reclosed", "reclosed_s"),
)
_SPANS: Final = ("relay_s", "opening_s", "clearing_s", "dead_s")
_PHASORS: Final = ("IA", "IB", "IC", "IG", "I1", "I2", "I0", "VA", "VB", "VC", "V1", "V2", "V0")
_IMAGE: Final = (
    "display: block; width: 100%; max-width: 1100px; height: auto; margin: 0 auto; "
    "background: #fff; border-radius: 6px"
)


@dataclass(frozen=True)
class EventPage:
    """Everything that the page of one event shows; distances are in ``unit``."""

    row: EventRow
    files: Sequence[EventFile]
    analysis: EventAnalysis | None
    siblings: Sequence[EventRow]
    relay: RelayState | None
    name: str
    unit: str


def event_content(texts: Texts, page: EventPage, now: datetime) -> Html:
    """Return the page's content."""
    parts: list[Html | None] = [
        _head(texts, page),
        notices(_notices(texts, page)),
        _plot(texts, page),
    ]
    if page.analysis is not None:
        parts += [
            _values(texts, page, page.analysis),
            _times(texts, page.analysis),
            _phasors(texts, page.analysis),
        ]
    parts += [_summary(texts, page, now), _files(texts, page), _incident(texts, page, now)]
    return tag("main", [part for part in parts if part], class_="ws-main")


def _head(texts: Texts, page: EventPage) -> Html:
    row = page.row
    said = [texts(f"recloser_pages.kind.{row.kind}")] if row.kind else []
    if row.fault_type or row.kind in (None, "fault"):
        said.append(fault_words(texts, row.fault_type or row.event, row.magnitude_a))
    if row.distance is not None:
        said.append(span_words(texts, row.distance, row.distance_low, row.distance_high, page.unit))
    if row.clearing_s is not None:
        said.append(texts("reclosers.cleared", ms=texts.number(row.clearing_s * 1000)))
    if row.shot_number is not None:
        said.append(texts("reclosers.shot", shot=row.shot_number))
    states = [badge(texts, FILE_STATES[row.state], texts(f"reclosers.state.{row.state}"))]
    if row.outcome is not None:
        word = texts(f"reclosers.outcome.{row.outcome}")
        states.insert(0, badge(texts, OUTCOME_STATES[row.outcome], word))
    if row.locked_out:
        states.insert(0, badge(texts, "bad", texts("reclosers.lockout")))
    local = texts.local(row.triggered)
    time = f"{texts.date(row.triggered)} {local:%H:%M:%S}.{local.microsecond // 1000:03d}"
    return tag(
        "header",
        tag("h1", f"{row.recloser} · {time}"),
        tag("p", " · ".join([*([page.name] if page.name else []), *said]), class_="ws-about"),
        tag("p", join(states, " ")),
        class_="ws-head",
    )


def _notices(texts: Texts, page: EventPage) -> list[Html]:
    row, found = page.row, []
    why = row.why or texts("reclosers.nowhere")
    if row.state == "summary":
        found.append(notice("partial", texts("recloser_pages.only_listed", why=why)))
    elif row.state == "damaged":
        found.append(notice("attention", texts("recloser_pages.not_whole", why=why)))
    elif row.trouble:
        found.append(notice("attention", texts("recloser_pages.trouble", why=row.trouble)))
    elif page.analysis is None:
        found.append(notice("waiting", texts("recloser_pages.not_analysed")))
    return found


def _plot(texts: Texts, page: EventPage) -> Html:
    row = page.row
    if row.state != "whole" or row.kind == "unreadable":
        return panel(
            texts("recloser_pages.plot"),
            tag("p", texts("recloser_pages.no_waves"), class_="ws-muted"),
        )
    address = f"{API}/{row.event_id}/plot.png?{urlencode({'language': texts.language})}"
    said = texts(
        "recloser_pages.plot.alt", event=row.event, recloser=row.recloser, time=row.device_time
    )
    image = tag("img", src=address, alt=said, style=_IMAGE)
    return panel(texts("recloser_pages.plot"), tag("a", image, href=address))


def _values(texts: Texts, page: EventPage, found: EventAnalysis) -> Html:
    rows: list[Sequence[Child]] = []
    for one in found.comparisons:
        unit = page.unit if one.quantity == "distance" else one.unit
        word = badge(
            texts,
            "good" if one.agrees else "attention",
            texts("reclosers.agrees" if one.agrees else "reclosers.differs"),
        )
        rows.append(
            (
                _quantity(texts, one),
                _value(texts, one.computed, unit),
                _value(texts, one.relay, unit),
                MISSING if one.difference is None else _value(texts, one.difference, unit, True),
                word,
            )
        )
    heads = [
        texts("reclosers.quantity"),
        texts("reclosers.computed"),
        texts("reclosers.relay"),
        texts("recloser_pages.difference"),
        "",
    ]
    notes = [tag("li", one.message) for one in found.notes]
    told = [tag("p", texts("recloser_pages.notes")), tag("ul", notes)] if notes else []
    none = texts("reclosers.event.no_analysis")
    return panel(
        texts("recloser_pages.values"),
        plain_table(texts, heads, rows, numbers=(1, 2, 3), none=none),
        tag("div", told, class_="ws-muted") if told else None,
        span=7,
    )  # fmt: skip


def _quantity(texts: Texts, one: Comparison) -> str:
    name, before = one.quantity, one.quantity.endswith(" before")
    key = f"reclosers.quantity.{name.replace(' ', '_')}"
    if texts.has(key):
        return texts(key)
    return f"{name.removesuffix(' before')}, {texts('recloser_pages.before')}" if before else name


def _value(texts: Texts, value: float | str, unit: str, signed: bool = False) -> str:
    if isinstance(value, str):
        return value
    if unit == "V" and abs(value) >= 1000:
        value, unit = value / 1000, "kV"
    digits = {"A": 0, "V": 0, "kV": 2, "Hz": 2, "s": 3, "km": 2, "mi": 2}.get(unit, 0)
    written = texts.number(value, digits)
    sign = "+" if signed and value > 0 and any(mark in "123456789" for mark in written) else ""
    return f"{sign}{written}\u00a0{unit}".rstrip("\u00a0")


def _times(texts: Texts, found: EventAnalysis) -> Html:
    zero = found.times.trigger_s or 0.0
    marks = [(at, mark) for mark, name in _TIMES if (at := getattr(found.times, name)) is not None]
    rows: list[Sequence[Child]] = [
        (texts(f"reclosers.mark.{mark}"), f"{texts.number((at - zero) * 1000, 1)}\u00a0ms", "")
        for at, mark in sorted(marks)
    ]
    rows += [
        (texts(f"reclosers.time.{name}"), "", f"{texts.number(took * 1000, 1)}\u00a0ms")
        for name in _SPANS
        if (took := getattr(found.times, name)) is not None
    ]
    if found.i2t is not None:
        rows.append((texts("reclosers.i2t"), "", f"{texts.number(found.i2t)}\u00a0A²\u00a0s"))
    heads = [
        texts("recloser_pages.what"),
        texts("recloser_pages.after"),
        texts("recloser_pages.took"),
    ]
    return panel(
        texts("recloser_pages.times"),
        plain_table(texts, heads, rows, numbers=(1, 2)),
        about=texts("recloser_pages.times.about"),
        span=5,
    )


def _phasors(texts: Texts, found: EventAnalysis) -> Html:
    before = found.before.phasors if found.before else {}
    during = found.during.phasors if found.during else {}
    rows: list[Sequence[Child]] = [
        (name, *_polar(texts, before, name), *_polar(texts, during, name))
        for name in _PHASORS
        if name in before or name in during
    ]
    heads = [
        texts("recloser_pages.phasor"),
        texts("recloser_pages.before"),
        "°",
        texts("recloser_pages.during"),
        "°",
    ]
    return panel(
        texts("recloser_pages.phasors"),
        tag("div", circles(texts, found), class_="ws-circles"),
        plain_table(texts, heads, rows, numbers=(1, 2, 3, 4)),
        about=texts("recloser_pages.phasors.about"),
        span=7,
    )


def _polar(texts: Texts, phasors: Mapping[str, Phasor], name: str) -> tuple[str, str]:
    found = phasors.get(name)
    if found is None:
        return MISSING, MISSING
    return _value(texts, found.magnitude, name[0].replace("I", "A")), texts.number(
        found.angle_deg, 1
    )


def _summary(texts: Texts, page: EventPage, now: datetime) -> Html:
    row = page.row
    facts: list[tuple[str, Child]] = [
        (texts("recloser_pages.utc"), iso(row.triggered)),
        (texts("recloser_pages.clock"), row.device_time.replace("T", " ")),
        ("", clock_words(texts, page.relay, now)),
        (texts("reclosers.ced"), row.ced),
        (texts("reclosers.model"), row.model),
        (texts("recloser_pages.fid"), row.fid),
        (texts("reclosers.type"), row.event),
        (texts("recloser_pages.reference"), row.reference),
        (texts("recloser_pages.current"), _own(texts, row.current_a, "A")),
        (texts("reclosers.distance"), _own(texts, row.location, page.unit)),
        (texts("recloser_pages.frequency"), _own(texts, row.frequency_hz, "Hz")),
        (texts("recloser_pages.group"), row.setting_group),
        (texts("reclosers.shots"), row.shot),
        (texts("recloser_pages.targets"), row.targets),
        (
            texts("recloser_pages.came"),
            join([texts(f"recloser_pages.origin.{row.origin}")
                  if texts.has(f"recloser_pages.origin.{row.origin}") else row.origin,
                  texts.moment(row.stored or row.noticed, now=now)], ", "),
        ),
    ]  # fmt: skip
    rows = [(name, value) for name, value in facts if value not in (None, "")]
    return panel(texts("recloser_pages.summary"), plain_table(texts, None, rows), span=5)


def _own(texts: Texts, value: float | None, unit: str) -> str | None:
    return None if value is None else _value(texts, value, unit)


def clock_words(texts: Texts, relay: RelayState | None, now: datetime) -> str:
    """Return by how much a relay's clock was off when it was last read."""
    if relay is None or relay.clock_error_s is None:
        return texts("recloser_pages.clock.unknown")
    off = relay.clock_error_s
    key = "recloser_pages.clock.off" if off >= 0 else "recloser_pages.clock.slow"
    read = texts.moment(relay.clock_read, now=now)
    if abs(off) < 0.05:
        return texts("recloser_pages.clock.true", when=read)
    return texts(key, error=texts.number(abs(off), 1), when=read)


def _files(texts: Texts, page: EventPage) -> Html:
    number = page.row.event_id
    kept = [one for one in page.files if one.state == "kept"]
    rows: list[Sequence[Child]] = []
    for one in page.files:
        name = PurePosixPath(one.path).name
        known: Child = tag("a", name, href=f"{API}/{number}/raw?kind={one.kind}", download=name)
        if one.state != "kept":
            known = join([name, f"({texts('recloser_pages.quarantined')})"], " ")
        size = f"{texts.number(one.bytes / 1000, 1)}\u00a0kB"
        rows.append((known, size, tag("code", one.sha256[:12], title=one.sha256)))
    heads = [
        texts("recloser_pages.file"),
        texts("recloser_pages.size"),
        texts("recloser_pages.sha256"),
    ]
    links = []
    if len(kept) > 1:
        links.append(tag("a", texts("recloser_pages.all_files"), href=f"{API}/{number}/raw"))
    if kept and page.row.kind != "unreadable":
        address = f"{API}/{number}/comtrade"
        links += [
            tag("a", texts("recloser_pages.cff"), href=address),
            tag("a", texts("recloser_pages.cfg_dat"), href=f"{address}?format=zip"),
        ]
    return panel(
        texts("recloser_pages.files"),
        plain_table(texts, heads, rows, numbers=(1,), none=texts("recloser_pages.no_files")),
        tag("p", join(links, " · ")) if links else None,
        about=texts("recloser_pages.files.about"),
    )


def _incident(texts: Texts, page: EventPage, now: datetime) -> Html:
    row = page.row
    rows: list[Sequence[Child]] = []
    for one in page.siblings:
        time = f"{texts.moment(one.triggered, now=now)}:{texts.local(one.triggered):%S}"
        link: Child = tag("a", time, href=f"/reclosers/events/{one.event_id}")
        if one.event_id == row.event_id:
            link = tag("strong", f"{time} ({texts('recloser_pages.this')})")
        kind = texts(f"recloser_pages.kind.{one.kind}") if one.kind else ""
        fault = fault_words(texts, one.fault_type or one.event, one.magnitude_a)
        shot = MISSING if one.shot_number is None else str(one.shot_number)
        rows.append((link, kind, fault, shot))
    heads = [
        texts("reclosers.when"),
        texts("recloser_pages.kind"),
        texts("reclosers.fault"),
        texts("reclosers.shots"),
    ]
    first = page.siblings[0].triggered if page.siblings else row.triggered
    last = page.siblings[-1].triggered if page.siblings else row.triggered
    span = {"since": iso(first - AROUND), "until": iso(last + AROUND)}
    address = f"/reclosers/complaint?{urlencode({'recloser': row.recloser, **span})}"
    return panel(
        texts("recloser_pages.incident"),
        plain_table(texts, heads, rows, numbers=(3,), none=texts("recloser_pages.incident.none")),
        tag("p", tag("a", texts("recloser_pages.around"), href=address)),
    )
