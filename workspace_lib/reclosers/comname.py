"""Names of event files by IEEE C37.232 (COMNAME), legal on every system and never the same twice.

A name is ``date,time,zone,station,device,company`` and further fields, as in
``260802,111007260,-4,Boulevard-north,LAV-101,Hydro--Quebec,AG-T.cev``. The standard divides fields
by commas, Windows forbids more. What is done to a text so that it can be a field:

1. each run of blanks becomes one hyphen, and a hyphen of the text becomes two;
2. every other character that may not stand there becomes an underscore;
3. where the text cannot be told from the result, ``~`` and ten digits of its SHA-256 follow.

So two texts never share a field: what has no ``~`` can be turned back, and what has one ends in
digits of the text itself. House names (the device) have neither blanks nor commas and stay as they
are.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from workspace_lib.errors import FormatError
from workspace_lib.files import sha256_bytes
from workspace_lib.reclosers.record import DeviceTime, device_time
from workspace_lib.reclosers.report import full_year

#: File systems take 255 bytes; what is left is for marks of the archive.
LONGEST: Final = 200
#: Longest field [bytes] before digits take the place of its end.
LONGEST_FIELD: Final = 48
DIGITS: Final = 10
MARK: Final = "~"
_BLANKS = re.compile(r"\s+")
_ILLEGAL = re.compile(r'[,~<>:"/\\|?*]')
_HOUSE_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,38}[A-Za-z0-9_-])?")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE | re.DOTALL)
_TIME_CODE = re.compile(r"(?P<sign>[+-]?)(?P<hours>\d{1,2})(?:h(?P<minutes>\d{2}))?[tTsS]?")


@dataclass(frozen=True)
class ComName:
    """What a name tells: time of the event by the device's clock, and where that clock is.

    ``offset`` is the difference of that clock to UTC. ``time`` is the trigger's to the millisecond
    in names of the archive, because lists and reports of a relay tell it.
    """

    time: DeviceTime
    offset: timedelta
    station: str
    device: str
    company: str = ""
    user: tuple[str, ...] = ()


def format_comname(name: ComName, ending: str = "") -> str:
    """Return the name of a file, at most 200 bytes long, with its ending (``cev``) if given.

    Examples
    --------
    >>> when = device_time(datetime(2026, 8, 2, 11, 10, 7), 260_000_000, 3)
    >>> named = ComName(when, timedelta(hours=-4), "Boulevard north", "LAV-101", "", ("AG T",))
    >>> format_comname(named, "cev")
    '260802,111007260,-4,Boulevard-north,LAV-101,,AG-T.cev'
    """
    stamp = name.time.to_datetime()
    parts = (
        f"{stamp:%y%m%d}",
        f"{stamp:%H%M%S}{stamp.microsecond // 1000:03d}",
        time_code(name.offset),
        field(name.station),
        house_name(name.device),
        *map(field, (name.company, *name.user)),
    )
    return bounded(",".join(parts), f".{ending}" if ending else "")


def parse_comname(name: str) -> ComName:
    """Return what the name of a file tells, also one that others gave.

    Hyphens stand for blanks and two for one, as `field` writes them; a mark after the zone (``t``,
    ``s``) is left out.

    Raises
    ------
    FormatError
        If it is no name of the standard.
    """
    base = name.rpartition(".")[0] if re.search(r"\.[A-Za-z0-9]{1,4}$", name) else name
    parts = base.split(",")
    code = _TIME_CODE.fullmatch(parts[2].strip()) if len(parts) >= 5 else None
    if code is None:
        raise _no_comname(name)
    stamp = parts[0].strip() + parts[1].strip()
    if not re.fullmatch(r"\d{12,21}", stamp, re.ASCII) or len(parts[0].strip()) != 6:
        raise _no_comname(name)
    year, month, day, hour, minute, second = (int(stamp[n : n + 2]) for n in range(0, 12, 2))
    try:
        when = datetime(full_year(year), month, day, hour, minute, second)
    except ValueError as error:
        raise _no_comname(name) from error
    rest = stamp[12:]
    span = timedelta(hours=int(code["hours"]), minutes=int(code["minutes"] or 0))
    return ComName(
        device_time(when, int(rest.ljust(9, "0")), len(rest)),
        -span if code["sign"] == "-" else span,
        text_of(parts[3]),
        parts[4],
        text_of(parts[5]) if len(parts) > 5 else "",
        tuple(text_of(part) for part in parts[6:]),
    )


def time_code(offset: timedelta) -> str:
    """Return a difference to UTC as the standard writes it: ``-4``, ``+5h30``, ``0``."""
    minutes = round(offset.total_seconds() / 60)
    if minutes == 0:
        return "0"
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours}" + (f"h{rest:02d}" if rest else "")


def field(text: str) -> str:
    """Return a text as a field of a name; two texts never give the same (see above).

    Examples
    --------
    >>> field("Boulevard  north"), field("Saint-Jean"), field("AG T")
    ('Boulevard-north~8e7c37756e', 'Saint--Jean', 'AG-T')
    """
    plain = _BLANKS.sub("-", unicodedata.normalize("NFC", text).replace("-", "--"))
    plain = "".join("_" if _is_illegal(letter) else letter for letter in plain)
    if text_of(plain) == text and len(plain.encode()) <= LONGEST_FIELD and plain[-1:] != ".":
        return plain
    return _cut(plain.rstrip("."), LONGEST_FIELD) + _digits(text)


def text_of(part: str) -> str:
    """Return the text that `field` made a field of, as far as it can be told."""
    return part.replace("--", "\0").replace("-", " ").replace("\0", "-")


def house_name(text: str) -> str:
    """Return a house name as a field or a folder: as it is, if that is legal everywhere.

    Two texts never give the same, also where one is no house name.

    Examples
    --------
    >>> house_name("LAV-101"), house_name("COM1")
    ('LAV-101', '_COM1~6eac394bec')
    """
    if _HOUSE_NAME.fullmatch(text) and not _RESERVED.fullmatch(text):
        return text
    made = ("_" if _RESERVED.fullmatch(text) else "") + field(text)
    return made if MARK in made else made + _digits(text)


def bounded(base: str, ending: str = "") -> str:
    """Return a name of at most 200 bytes; digits take the place of what is too much."""
    if len((base + ending).encode()) <= LONGEST:
        return base + ending
    room = LONGEST - len(ending.encode()) - DIGITS - 1
    return _cut(base, room) + _digits(base) + ending


def _digits(text: str) -> str:
    return MARK + sha256_bytes(text.encode("utf-8", "surrogatepass"))[:DIGITS]


def _cut(text: str, room: int) -> str:
    return text.encode()[:room].decode(errors="ignore")


def _is_illegal(letter: str) -> bool:
    """Control characters, halves of pairs and what has no meaning are illegal too."""
    return bool(_ILLEGAL.match(letter)) or unicodedata.category(letter).startswith("C")


def _no_comname(name: str) -> FormatError:
    return FormatError(
        f"{name!r} is no name by IEEE C37.232.",
        fix="Such a name begins as 260802,111007260,-4,station,device,company.",
    )
