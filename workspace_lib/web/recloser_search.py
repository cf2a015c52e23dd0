"""What the forms of reclosers ask: fields of an address, as people and other pages write them.

Every field may be missing or empty. A moment is a day or a local time of the site (`2026-11-20`,
`2026-11-20T10:00`), or an instant with its zone, as links write it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, get_args
from zoneinfo import ZoneInfo

from workspace_lib.answers.instants import EARLIEST, LATEST
from workspace_lib.answers.paging import decode_cursor
from workspace_lib.answers.problems import Refusal
from workspace_lib.reclosers.event_filter import EventFilter, State
from workspace_lib.reclosers.faults import TYPES
from workspace_lib.reclosers.queries import Place

Kind = Literal["fault", "trip", "opening", "closing", "trigger", "unreadable"]
KINDS: Final = get_args(Kind)
OUTCOMES: Final = ("momentary", "permanent", "unknown")
STATES: Final = get_args(State)
FIELDS: Final = (
    "recloser",
    "ced",
    "model",
    "since",
    "until",
    "kind",
    "fault_type",
    "phases",
    "magnitude_from",
    "magnitude_to",
    "distance_from",
    "distance_to",
    "outcome",
    "state",
    "text",
)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_MOST: Final = 100


@dataclass(frozen=True)
class Asked:
    """What a form asked: the fields as they were written, what they mean, and which mean nothing.

    ``wrong`` has name and value of fields that cannot be understood; ``after`` is where the page
    begins.
    """

    fields: Mapping[str, str]
    wanted: EventFilter
    wrong: tuple[tuple[str, str], ...] = ()
    after: Place | None = None

    @property
    def anything(self) -> bool:
        """Whether some field has a value."""
        return bool(self.fields)

    @property
    def ends_before(self) -> bool:
        """Whether the span ends before it begins."""
        since, until = self.wanted.since, self.wanted.until
        return since is not None and until is not None and until <= since


def asked(query: Mapping[str, str], zone: ZoneInfo) -> Asked:
    """Return what the fields of an address ask."""
    fields = {
        name: value
        for name in FIELDS
        if (value := query.get(name, "").replace("\x00", "").strip()[:_MOST])
    }
    wrong: list[tuple[str, str]] = []

    def taken(name: str, read: Any) -> Any:
        value = fields.get(name)
        if value is None:
            return None
        found = read(value)
        if found is None:
            wrong.append((name, value))
        return found

    def one_of(*known: str) -> Any:
        return lambda value: value if value in known else None

    recloser = taken("recloser", lambda value: value if _NAME.fullmatch(value) else None)
    ced = taken("ced", lambda value: value if _NAME.fullmatch(value) else None)
    kind, fault = taken("kind", one_of(*KINDS)), taken("fault_type", one_of(*TYPES))
    model = fields.get("model")
    wanted = EventFilter(
        ceds=(ced,) if ced else (),
        reclosers=(recloser,) if recloser else (),
        models=(model,) if model else (),
        since=taken("since", lambda value: moment(value, zone)),
        until=taken("until", lambda value: moment(value, zone, end=True)),
        kinds=(kind,) if kind else (),
        fault_types=(fault,) if fault else (),
        phases=taken("phases", _phases) or "",
        magnitude_a=(taken("magnitude_from", _number), taken("magnitude_to", _number)),
        distance=(taken("distance_from", _number), taken("distance_to", _number)),
        outcome=taken("outcome", one_of(*OUTCOMES)),
        state=taken("state", one_of(*STATES)),
        text=fields.get("text", ""),
    )
    return Asked(fields, wanted, tuple(wrong), _place(query.get("after")))


def moment(text: str, zone: ZoneInfo, *, end: bool = False) -> datetime | None:
    """Return the instant that somebody wrote, in UTC, or None; a day ends with its last moment."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    if _DAY.fullmatch(text) and end:
        found = _next_day(found)
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone)
    try:
        return min(max(found.astimezone(UTC), EARLIEST), LATEST)
    except OverflowError:
        return None


def local(instant: datetime | None, zone: ZoneInfo) -> str:
    """Return an instant as a field of a form shows it."""
    return "" if instant is None else instant.astimezone(zone).strftime("%Y-%m-%dT%H:%M")


def _phases(value: str) -> str | None:
    letters = value.upper().replace(",", "").replace(" ", "")
    return letters if letters and set(letters) <= set("ABC") else None


def _number(value: str) -> float | None:
    try:
        number = float(value.replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) and abs(number) < 1e12 else None


def _place(cursor: str | None) -> Place | None:
    if not cursor:
        return None
    try:
        instant, number = decode_cursor(cursor, int, int)
    except Refusal:
        return None
    return int(instant), int(number)


def _next_day(found: datetime) -> datetime:
    return min(found, datetime.max - timedelta(days=2)) + timedelta(days=1)
