"""Listings of FTP servers: MLSD, and the many dialects of LIST.

MLSD is in UTC and made for machines (RFC 3659). LIST has no standard: it is in the server's own
zone, without seconds, and without a year or without an hour.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

Kind = Literal["file", "folder", "link"]

_MONTHS = {
    month: number
    for number, names in enumerate(
        (
            "jan janv",
            "feb févr fév fevr",
            "mar mars mrz",
            "apr avr",
            "may mai",
            "jun juin",
            "jul juil",
            "aug août aou",
            "sep sept",
            "oct okt",
            "nov",
            "dec déc dez",
        ),
        start=1,
    )
    for month in names.split()
}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_UNIX = re.compile(
    r"(?P<type>[-dlbcpsD])[-rwxsStTlL]{9}[.+@]?\s+.*?\s(?P<size>\d+)\s+"
    r"(?:(?P<iso>\d{4}-\d\d-\d\d\s+\d\d:\d\d(?::\d\d)?)"
    rf"|(?:(?P<month>{_MONTH})\.?\s+(?P<day>\d\d?)|(?P<day2>\d\d?)\s+(?P<month2>{_MONTH})\.?)"
    r"\s+(?P<when>\d{4}|\d\d?:\d\d))"
    r" (?P<name>.+)",
    re.IGNORECASE,
)
_WINDOWS = re.compile(
    r"(?P<month>\d\d)-(?P<day>\d\d)-(?P<year>\d{4}|\d\d)\s+(?P<hour>\d\d):(?P<minute>\d\d)"
    r"(?P<half>[AP]M)?\s+(?:(?P<folder><(?:DIR|JUNCTION|SYMLINKD)>)\s{10}|(?P<size>\d+) )"
    r"(?P<name>.+)"
)
#: Two changes of summer time in 100,000 files take fewer; more means that the times make no sense.
MOST_QUESTIONS = 150
_QUARTER = timedelta(minutes=15)


@dataclass(frozen=True)
class Entry:
    """One line of a listing.

    ``modified`` is aware (UTC) or unknown; ``shown`` is what LIST wrote, in the server's own zone,
    known only where the hour was given.
    """

    name: str
    kind: Kind
    size: int | None = None
    modified: datetime | None = None
    shown: datetime | None = None


def parse_mlsd(line: str) -> Entry | None:
    """Return the entry of an MLSD line, or None for the folder itself and its parent.

    Raises
    ------
    ValueError
        If the line is none of MLSD's.
    """
    facts, space, name = line.partition(" ")
    if not space or not name:
        raise ValueError("no name")
    found = {}
    for fact in facts.rstrip(";").split(";"):
        key, _, value = fact.partition("=")
        found[key.lower()] = value
    sort = found.get("type", "file").lower()
    name = name.rsplit("/", 1)[-1]
    if sort in ("cdir", "pdir") or name in (".", "..", ""):
        return None
    if sort == "dir":
        return Entry(name, "folder")
    size = int(found["size"]) if "size" in found else None
    modified = parse_timestamp(found["modify"]) if "modify" in found else None
    if sort.startswith("os.unix=sl") or sort.startswith("os.unix=symlink"):
        return Entry(name, "link", None, None)
    return Entry(name, "file", size, modified)


def parse_timestamp(text: str) -> datetime:
    """Return the instant of ``YYYYMMDDhhmmss[.f]``, which RFC 3659 has in UTC.

    Raises
    ------
    ValueError
        If the text is no such time.
    """
    whole, _, fraction = text.strip().partition(".")
    # Servers of the year 2000 wrote the year as 19100.
    if len(whole) == 15 and whole.startswith("191"):
        whole = f"20{whole[3:]}"
    moment = datetime.strptime(whole, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return moment + timedelta(microseconds=int(fraction[:6].ljust(6, "0")) if fraction else 0)


def parse_list(line: str, now: datetime) -> Entry | None:
    """Return the entry of a LIST line in Unix or Windows style, or None for what is no entry.

    ``now`` tells the year where the line gives none.

    Raises
    ------
    ValueError
        If the line is of no known style.
    """
    if not line.strip() or re.fullmatch(r"total \d+\s*", line):
        return None
    if match := _UNIX.fullmatch(line):
        entry = _unix_entry(match, now)
    elif match := _WINDOWS.fullmatch(line):
        entry = _windows_entry(match)
    else:
        raise ValueError("unknown style of listing")
    return None if entry is None or entry.name in (".", "..") else entry


def date_entries(entries: Sequence[Entry], mdtm: Callable[[str], datetime | None]) -> list[Entry]:
    """Return the entries of a LIST with ``modified`` in UTC, where that can be found out.

    The server's distance from UTC is measured: ``mdtm(name)`` asks for one file's time in UTC, or
    returns None where the server does not know. Where summer time began or ended within the
    listing, the day is found by halving. Without an answer, or where answers make no sense,
    ``modified`` stays unknown.
    """
    timed = sorted(
        (entry for entry in entries if entry.kind == "file" and entry.shown is not None),
        key=lambda entry: entry.shown or datetime.min,
    )
    asked: dict[int, timedelta | None] = {}

    def offset(index: int) -> timedelta | None:
        if index not in asked:
            if len(asked) >= MOST_QUESTIONS:
                return None
            asked[index] = _measure(timed[index], mdtm)
        return asked[index]

    dated: dict[str, datetime] = {}

    def settle(low: int, high: int) -> bool:
        # The range may hold summer, winter, summer; its middle tells then.
        middle = (low + high) // 2
        found = {offset(low), offset(middle), offset(high)}
        if None in found:
            return False
        if len(found) == 1:
            distance = found.pop() or timedelta()
            for entry in timed[low : high + 1]:
                if entry.shown is not None:
                    dated[entry.name] = (entry.shown - distance).replace(tzinfo=UTC)
            return True
        return settle(low, middle) and settle(min(middle + 1, high), high)

    if timed and not settle(0, len(timed) - 1):
        dated.clear()
    return [replace(entry, modified=dated.get(entry.name)) for entry in entries]


def measured_offset(
    entries: Sequence[Entry], mdtm: Callable[[str], datetime | None]
) -> timedelta | None:
    """Return how far the server's listings are ahead of UTC, by its newest file; else None."""
    timed = [entry for entry in entries if entry.kind == "file" and entry.shown is not None]
    if not timed:
        return None
    return _measure(max(timed, key=lambda entry: entry.shown or datetime.min), mdtm)


def _measure(entry: Entry, mdtm: Callable[[str], datetime | None]) -> timedelta | None:
    instant = mdtm(entry.name)
    if instant is None or entry.shown is None:
        return None
    # Zones differ from UTC by quarters of an hour; the rest is the seconds LIST leaves out.
    return round((entry.shown - instant.replace(tzinfo=None)) / _QUARTER) * _QUARTER


def _unix_entry(match: re.Match[str], now: datetime) -> Entry | None:
    kinds: dict[str, Kind] = {"d": "folder", "D": "folder", "l": "link", "-": "file"}
    kind = kinds.get(match["type"])
    if kind is None:
        return None
    name = match["name"]
    if kind == "link":
        return Entry(name.split(" -> ")[0], "link")
    if kind == "folder":
        return Entry(name, "folder")
    return Entry(name, "file", int(match["size"]), shown=_unix_time(match, now))


def _unix_time(match: re.Match[str], now: datetime) -> datetime | None:
    if match["iso"]:
        return datetime.fromisoformat(" ".join(match["iso"].split()))
    when = match["when"]
    month = _MONTHS[(match["month"] or match["month2"]).lower()]
    day = int(match["day"] or match["day2"])
    if ":" not in when:
        # A day without an hour says too little, and would change what was known before.
        return None
    hour, minute = (int(part) for part in when.split(":"))
    today = now.replace(tzinfo=None)
    for year in (today.year + 1, today.year, today.year - 1):
        try:
            moment = datetime(year, month, day, hour, minute)
        except ValueError:  # 29 February
            continue
        if moment <= today + timedelta(days=1):
            return moment
    return None


def _windows_entry(match: re.Match[str]) -> Entry:
    if match["folder"]:
        return Entry(match["name"], "folder")
    year, hour = int(match["year"]), int(match["hour"])
    if year < 100:
        year += 2000 if year < 70 else 1900
    if match["half"]:
        hour = hour % 12 + (12 if match["half"] == "PM" else 0)
    shown = datetime(year, int(match["month"]), int(match["day"]), hour, int(match["minute"]))
    return Entry(match["name"], "file", int(match["size"]), shown=shown)
