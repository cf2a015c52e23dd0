"""The original network's file of calibrations, as dated records of the site's gauges.

The file has lines ``pluvio,a,b,c``, for y = a x² + b x + c. It says neither what x is, nor since
when, nor what a tip is worth, and names a gauge in more than one way.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from workspace_lib.clock import iso
from workspace_lib.errors import FormatError, ParameterError
from workspace_lib.files import sha256_bytes
from workspace_lib.rain.calibration import Calibration, Origin, Unit
from workspace_lib.rain.settings import Gauge, Network

#: First line of the original network's file.
CSV_COLUMNS: Final = ("pluvio", "a", "b", "c")


@dataclass(frozen=True)
class Imported:
    """What was found in a file of calibrations: records, and what needs a look.

    ``merged`` are gauges that stand under several names with equal values, ``left_out`` names that
    no gauge has and the reader was told to leave out.
    """

    records: tuple[Calibration, ...]
    merged: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def import_csv(
    content: bytes,
    network: Network,
    *,
    where: str,
    unit: Unit,
    mm_per_tip: float,
    valid_from: datetime,
    valid_to: datetime | None = None,
    names_at: datetime | None = None,
    origin: Origin,
    only_known: bool = False,
) -> Imported:
    """Return the records in the original network's file: ``pluvio,a,b,c``, y = a x² + b x + c.

    The file says neither what x is, nor since when, nor what a tip is worth: who imports it does.

    Parameters
    ----------
    content : bytes
        The file.
    network : Network
        Whose gauges are meant.
    where : str
        Name of the file, for errors.
    unit : str
        Unit of x and y.
    mm_per_tip : float
        Depth of a tip at rest [mm].
    valid_from, valid_to : datetime
        In force for rows stamped in (from, to].
    names_at : datetime, optional
        When the file's names were in use; ``valid_from`` otherwise.
    origin : Origin
        Where it comes from, see `origin_of`.
    only_known : bool
        Leave out names that no gauge has, instead of refusing the file.

    Raises
    ------
    FormatError
        If the file is none of that kind, or a number is none.
    ParameterError
        If a name means no gauge or several, or two lines of one gauge say different things.
    """
    at = names_at or valid_from
    found: dict[str, dict[str, tuple[float, float, float]]] = {}
    wrong, unknown = [], []
    for line, name, numbers in _csv_rows(content, where):
        meant = [gauge for gauge in network.gauges if name in _names(gauge, at)]
        if not meant:
            unknown.append((name, line))
        elif len(meant) > 1:
            wrong.append(f"{name!r} (line {line}) means {', '.join(g.id for g in meant)}")
        else:
            spellings = found.setdefault(meant[0].id, {})
            if spellings and set(spellings.values()) != {numbers}:
                others = ", ".join(map(repr, spellings))
                wrong.append(f"{name!r} (line {line}) is {meant[0].id}, and differs from {others}")
            spellings[name] = numbers
    if unknown and not only_known:
        names = ", ".join(f"{name!r} (line {line})" for name, line in unknown)
        wrong.append(f"no gauge is called {names} at {iso(at)}")
    if wrong:
        raise ParameterError(
            f"The names in the file are not clear: {'; '.join(wrong)}.",
            where=where,
            fix="Add names, with their dates, to aliases in the list of gauges; names of no gauge "
            "can be left out (--only-known).",
        )
    records = tuple(
        Calibration(
            gauge=gauge,
            valid_from=valid_from,
            valid_to=valid_to,
            mm_per_tip=mm_per_tip,
            kind="quadratic",
            unit=unit,
            coefficients=dict(zip(CSV_COLUMNS[1:], next(iter(spellings.values())), strict=True)),
            origin=origin,
        )
        for gauge, spellings in found.items()
    )
    merged = {gauge: tuple(names) for gauge, names in found.items() if len(names) > 1}
    return Imported(records, merged, tuple(name for name, _ in unknown))


def origin_of(
    content: bytes, name: str, certificate: str | None, dated: str | None, operator: str
) -> Origin:
    """Return where a file of calibrations comes from: as told, else its name and hash.

    Raises
    ------
    ParameterError
        If ``dated`` is no day.
    """
    try:
        day = date.fromisoformat(dated) if dated else None
    except ValueError as error:
        raise ParameterError(f"{dated!r} is not a day.", fix="Write it as 2004-01-01.") from error
    return Origin(certificate or f"{name}, sha256 {sha256_bytes(content)[:12]}", day, operator)


def _csv_rows(content: bytes, where: str) -> list[tuple[int, str, tuple[float, float, float]]]:
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"The file is no CSV ({error}).", where=where) from error
    if not lines or tuple(cell.strip() for cell in lines[0]) != CSV_COLUMNS:
        raise FormatError(f"The first line is not {','.join(CSV_COLUMNS)}.", where=f"{where}:1")
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        try:
            name, a, b, c = (cell.strip() for cell in cells)
            rows.append((number, name, (float(a), float(b), float(c))))
        except ValueError as error:
            raise FormatError(
                f"The line is not a name and three numbers: {','.join(cells)!r}.",
                where=f"{where}:{number}",
            ) from error
    return rows


def _names(gauge: Gauge, at: datetime) -> set[str]:
    own = {gauge.id, gauge.name, gauge.folder, gauge.folder.rsplit("/", 1)[-1]}
    return own | {alias.name for alias in gauge.aliases if alias.holds(at)}
