"""The dated calibrations of a site: reading its list, and adding to it.

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

import re
import textwrap
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import AwareDatetime, Field, ValidationError, model_validator

from workspace_lib.clock import iso
from workspace_lib.errors import ConfigError, ParameterError, WorkspaceError
from workspace_lib.files import atomic_write
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
from workspace_lib.rain.settings import Network, load_network, load_rain
from workspace_lib.settings import Section, Settings
from workspace_lib.site_files import parse_yaml, problems_of


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
            gauge.step_s,
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
    content = parse_yaml(text, where, "file of calibrations")
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
