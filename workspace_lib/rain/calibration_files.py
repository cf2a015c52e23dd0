"""Calibrations of a site as files: its dated list, and the import of the original network's CSV.

``parameters/<site>/calibrations.yml`` holds the records, each complete in itself::

    calibrations:
      - gauge: hydropolis
        valid_from: 2004-01-01T00:00:00Z
        mm_per_tip: 0.2
        kind: quadratic
        x: tips/min
        coefficients: {a: 0.0008, b: 1.0761, c: 0}
        source: {certificate: No. 17, date: 2004-01-01, operator: A. Martin}
"""

from __future__ import annotations

import csv
import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import AwareDatetime, Field, ValidationError, model_validator

from workspace_lib.clock import iso
from workspace_lib.errors import ConfigError, FormatError, ParameterError, WorkspaceError
from workspace_lib.files import atomic_write, sha256_bytes
from workspace_lib.rain.calibration import (
    Beyond,
    Calibration,
    Kind,
    Origin,
    Unit,
    depth_of_tip,
    points_of_errors,
)
from workspace_lib.rain.in_force import GaugeCalibrations
from workspace_lib.rain.settings import Gauge, Network, load_network, load_rain, problems_of
from workspace_lib.settings import Section, Settings

#: First line of the original network's file.
CSV_COLUMNS: Final = ("pluvio", "a", "b", "c")


class _Bucket(Section):
    """A tip as it is weighed: volumes of the sides, and the funnel that collects them."""

    tip_ml: tuple[float, ...] | float
    funnel_cm2: float

    def mm(self) -> float:
        volumes = self.tip_ml if isinstance(self.tip_ml, tuple) else (self.tip_ml,)
        return depth_of_tip(volumes, self.funnel_cm2)


class _Source(Section):
    certificate: str = ""
    date_: date | None = Field(None, alias="date")
    operator: str = ""


class _Entry(Section):
    """One record as it is written."""

    gauge: str
    valid_from: AwareDatetime
    valid_to: AwareDatetime | None = None
    mm_per_tip: float | _Bucket
    kind: Kind
    x: Unit
    coefficients: dict[str, float] = Field(default_factory=dict)
    points: tuple[tuple[float, float], ...] = ()
    errors_percent: tuple[tuple[float, float], ...] = ()
    domain: tuple[float, float] | None = None
    beyond: Beyond | None = None
    source: _Source

    @model_validator(mode="after")
    def _one_form_of_table(self) -> _Entry:
        if self.points and self.errors_percent:
            raise ValueError("a table has either points or errors_percent")
        return self

    def calibration(self) -> Calibration:
        mm = self.mm_per_tip
        return Calibration(
            gauge=self.gauge,
            valid_from=self.valid_from,
            valid_to=self.valid_to,
            mm_per_tip=mm.mm() if isinstance(mm, _Bucket) else mm,
            kind=self.kind,
            unit=self.x,
            coefficients=self.coefficients,
            points=points_of_errors(self.errors_percent) if self.errors_percent else self.points,
            domain=self.domain,
            beyond=self.beyond,
            origin=Origin(self.source.certificate, self.source.date_, self.source.operator),
        )


@dataclass(frozen=True)
class Imported:
    """What was found in a file of calibrations: records, and what needs a look.

    ``merged`` are gauges that stand under several names with equal values, ``left_out`` names that
    no gauge has and the reader was told to leave out.
    """

    records: tuple[Calibration, ...]
    merged: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def load_calibrations(settings: Settings) -> dict[str, GaugeCalibrations]:
    """Return the calibrations of every gauge of a site, by house name.

    A gauge without a record has none; a site without the file has none at all. What holds then is
    the site's word (``wings.rain.uncalibrated``).

    Raises
    ------
    ConfigError
        If the file is not YAML, an entry is wrong or of a gauge that the site has not, or two are
        in force at once; every wrong entry is named.
    """
    rain, network = load_rain(settings), load_network(settings)
    records = read_calibrations(calibrations_path(settings), network)
    nominal = rain.uncalibrated == "nominal"
    return {
        gauge.id: GaugeCalibrations(
            gauge.id,
            tuple(one for one in records if one.gauge == gauge.id),
            gauge.mm_per_tip if nominal else None,
        )
        for gauge in network.gauges
    }


def calibrations_path(settings: Settings) -> Path:
    """Return the file of a site that holds its calibrations."""
    return settings.site_dir / load_rain(settings).calibrations


def read_calibrations(path: Path, network: Network) -> list[Calibration]:
    """Return the records of a file, in its order; none if there is no file.

    Raises
    ------
    ConfigError
        As `load_calibrations`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The calibrations cannot be read ({error}).", where=str(path)) from error
    return parse_calibrations(text, network, str(path))


def parse_calibrations(text: str, network: Network, where: str) -> list[Calibration]:
    """Return the records of the text of such a file, see `read_calibrations`."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise ConfigError(
            "The calibrations are not valid YAML.",
            where=f"{where}:{mark.line + 1}" if mark else where,
        ) from error
    if content in (None, {"calibrations": None}):
        return []
    entries = content.get("calibrations") if isinstance(content, dict) else None
    if not isinstance(entries, list) or set(content) != {"calibrations"}:
        raise ConfigError(
            "The file holds one key, calibrations, with a list of records.",
            where=where,
            fix="See docs/rain.md, Calibration.",
        )
    known = {gauge.id for gauge in network.gauges}
    records: list[Calibration] = []
    wrong: list[str] = []
    for number, entry in enumerate(entries, start=1):
        try:
            record = _Entry.model_validate(entry).calibration()
            if record.gauge not in known:
                raise ParameterError(f"The site has no rain gauge {record.gauge!r}.")
            _refuse_overlap(record, records)
        except ValidationError as error:
            wrong.append(f"entry {number}{_gauge_of(entry)}: {problems_of(error)}")
        except WorkspaceError as error:
            wrong.append(f"entry {number}{_gauge_of(entry)}: {error.what}")
        else:
            records.append(record)
    if wrong:
        raise ConfigError(
            f"Calibrations are wrong: {'; '.join(wrong)}",
            where=where,
            fix="See docs/rain.md, Calibration.",
        )
    return records


def _refuse_overlap(record: Calibration, others: Sequence[Calibration]) -> None:
    mine = (one for one in others if one.gauge == record.gauge)
    GaugeCalibrations(record.gauge, (*mine, record))


def _gauge_of(entry: Any) -> str:
    gauge = entry.get("gauge") if isinstance(entry, dict) else None
    return f" ({gauge})" if gauge else ""


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
            fix="Add names, with their dates, to aliases in the list of gauges.",
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


def to_yaml(records: Sequence[Calibration], indent: str = "  ") -> str:
    """Return records as entries of the site's list."""
    entries = []
    for one in records:
        entry: dict[str, Any] = {"gauge": one.gauge, "valid_from": iso(one.valid_from)}
        if one.valid_to is not None:
            entry["valid_to"] = iso(one.valid_to)
        entry |= {"mm_per_tip": one.mm_per_tip, "kind": one.kind, "x": one.unit}
        if one.kind == "table":
            entry["points"] = [list(point) for point in one.points]
        else:
            entry["coefficients"] = dict(one.coefficients)
            if one.domain is not None:
                entry["domain"] = list(one.domain)
        if one.beyond is not None:
            entry["beyond"] = one.beyond
        dated = one.origin.dated
        entry["source"] = {
            "certificate": one.origin.certificate,
            **({"date": dated} if dated else {}),
            **({"operator": one.origin.operator} if one.origin.operator else {}),
        }
        entries.append(entry)
    text = yaml.safe_dump(
        entries, sort_keys=False, allow_unicode=True, default_flow_style=None, width=96
    )
    return textwrap.indent(text, indent)


def append_calibrations(path: Path, records: Sequence[Calibration], network: Network) -> int:
    """Add records to a site's list, below what stands there; returns how many were new.

    Records that are there already are left out, so that importing twice is importing once.

    Raises
    ------
    ConfigError
        If the list is wrong, would be afterwards, or ends in a way that nothing can be added to.
    """
    before = read_calibrations(path, network)
    new = [record for record in records if record not in before]
    if not new:
        return 0
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if before:
        entry = re.search(r"^ *(?=- )", text, re.MULTILINE)
        after = f"{text.rstrip()}\n{to_yaml(new, entry.group() if entry else '')}"
    else:
        comments = re.sub(r"^calibrations:.*\n?", "", text, flags=re.MULTILINE)
        after = f"{comments}calibrations:\n{to_yaml(new)}"
    if parse_calibrations(after, network, str(path)) != [*before, *new]:
        raise ConfigError(
            "Entries cannot be added at the end of this file.",
            where=str(path),
            fix="Print them instead, and put them in by hand.",
        )
    atomic_write(path, after.encode())
    return len(new)
