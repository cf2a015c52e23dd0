"""Calibrating rain: the depths of the days that are stale, by the site's dated calibrations.

What is recomputed is exactly what changed: days with new rows, and days for which another record is
in force than the one that made their depths. Counts stay as they came, and every record that was
ever used is kept.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np

from workspace_lib.clock import SYSTEM_CLOCK
from workspace_lib.rain.calibration_files import calibrations_path, load_calibrations
from workspace_lib.rain.depths import (
    DayDepths,
    calibrate_days,
    ended_since,
    keep_records,
    stale_days,
    write_depths,
)
from workspace_lib.rain.in_force import Flag, GaugeCalibrations
from workspace_lib.rain.settings import Gauge, load_network
from workspace_lib.reports import counts_frame, plain
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.upsert import batches

log = logging.getLogger(__name__)

#: Days read and written at once: a transaction of a few hundredths of a second.
DAYS_PER_BATCH: Final = 100


@dataclass(frozen=True)
class CalibrationReport:
    """What one run recomputed, and what is to be known of it.

    ``days`` were recomputed, with ``rows`` that have tips. Of these rows, ``uncalibrated`` ones
    have no depth because no record is in force, ``nominal`` ones have the nominal depth,
    ``beyond_domain`` ones lie outside what the calibration was determined for, and of
    ``unknown_interval`` ones nobody knows for how long they count. ``left`` days were not reached.
    ``without_record`` names the gauges that have no record at all.
    """

    days: int
    rows: int
    uncalibrated: int
    nominal: int
    beyond_domain: int
    unknown_interval: int
    new_records: int
    left: int
    file: str
    days_by_gauge: dict[str, int] = field(default_factory=dict)
    uncalibrated_by_gauge: dict[str, int] = field(default_factory=dict)
    without_record: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every stale day was reached."""
        return not self.left

    @property
    def trouble(self) -> str:
        """What somebody should look at, in one sentence; empty if there is nothing."""
        parts = []
        if self.without_record:
            parts.append(f"no calibration of {', '.join(self.without_record)}")
        if self.uncalibrated:
            of = ", ".join(f"{name} {rows}" for name, rows in self.uncalibrated_by_gauge.items())
            parts.append(f"rows without a depth, because none is in force: {of}")
        if self.beyond_domain:
            parts.append(f"{self.beyond_domain} rows lie beyond the domain of their calibration")
        return "; ".join(parts)

    def to_frame(self) -> Any:
        """Return the counts as a pandas frame, for people who look at the notebook."""
        return counts_frame(self, "calibration", {"days": self.days_by_gauge})

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, to be published."""
        return plain(self)


def calibrate(
    store: Store,
    settings: Settings,
    *,
    gauges: str | Iterable[str] = "all",
    rebuild: bool = False,
    now: datetime | None = None,
    progress: Callable[[float, str], object] | None = None,
    stop: threading.Event | None = None,
) -> CalibrationReport:
    """Compute the depths of every stale day of gauges, newest days first.

    Parameters
    ----------
    store : Store
        The open store.
    settings : Settings
        The site: its gauges, its calibrations.
    gauges : str or iterable of str
        House names of gauges, or ``all``.
    rebuild : bool
        Compute all days, also those that are not stale.
    now : datetime, optional
        The instant written beside records that are new; the machine's clock otherwise.
    progress : callable, optional
        Told after each batch which fraction of the days is done, and a word for it.
    stop : threading.Event, optional
        Ends after the batch under way; the rest stays stale.

    Raises
    ------
    ConfigError, ParameterError
        If the site's gauges or calibrations, or ``gauges``, are wrong.
    StoreError
        If what the store has of a day is damaged.
    """
    chosen, calibrations = load_network(settings).choose(gauges), load_calibrations(settings)
    now = now or SYSTEM_CLOCK.now()
    with read(store.data) as connection:
        stale = {
            gauge.id: stale_days(connection, calibrations[gauge.id], rebuild=rebuild)
            for gauge in chosen
        }
        records = [record for gauge in chosen for record in calibrations[gauge.id].records]
        ended = ended_since(connection, records)
    if ended:
        with write(store.data) as connection:
            keep_records(connection, ended, now)
    tally = _Tally(waiting=sum(map(len, stale.values())))
    for gauge in chosen:
        days = stale[gauge.id]
        for some in batches(list(days), DAYS_PER_BATCH):
            if stop is not None and stop.is_set():
                break
            wanted = {day: days[day] for day in some}
            _one_batch(store, gauge, calibrations[gauge.id], wanted, rebuild, now, tally)
            if progress:
                progress(tally.reached / tally.waiting, "calibrating")
    report = tally.report(chosen, calibrations, calibrations_path(settings).name)
    log.info("%d days calibrated, %d rows with tips.", report.days, report.rows)
    if report.trouble:
        log.warning("Calibration: %s.", report.trouble)
    return report


@dataclass
class _Tally:
    waiting: int
    reached: int = 0
    new_records: int = 0
    days: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    flagged: Counter[tuple[Flag, str]] = field(default_factory=Counter)

    def add(self, gauge: str, made: Sequence[DayDepths]) -> None:
        """Count the days of a batch that were written."""
        self.rows[gauge] += sum(len(one.flags) for one in made)
        self.days[gauge] += len(made)
        for one in made:
            for flag in Flag:
                self.flagged[flag, gauge] += int(np.count_nonzero(one.flags & np.uint8(flag)))

    def total(self, flag: Flag) -> int:
        return sum(rows for (of, _), rows in self.flagged.items() if of == flag)

    def report(
        self,
        gauges: Sequence[Gauge],
        calibrations: dict[str, GaugeCalibrations],
        file: str,
    ) -> CalibrationReport:
        return CalibrationReport(
            days=self.days.total(),
            rows=self.rows.total(),
            uncalibrated=self.total(Flag.UNCALIBRATED),
            nominal=self.total(Flag.NOMINAL),
            beyond_domain=self.total(Flag.BEYOND_DOMAIN),
            unknown_interval=self.total(Flag.UNKNOWN_INTERVAL),
            new_records=self.new_records,
            left=self.waiting - self.reached,
            file=file,
            days_by_gauge={gauge: days for gauge, days in self.days.items() if days},
            uncalibrated_by_gauge={
                gauge: rows
                for (flag, gauge), rows in self.flagged.items()
                if flag == Flag.UNCALIBRATED and rows
            },
            without_record=tuple(
                gauge.id for gauge in gauges if not calibrations[gauge.id].records
            ),
        )


def _one_batch(
    store: Store,
    gauge: Gauge,
    calibrations: GaugeCalibrations,
    days: dict[int, int],
    rebuild: bool,
    now: datetime,
    tally: _Tally,
) -> None:
    """Compute and store the depths of some days.

    The day after one with new rows comes before it in the order of the work. A run that is cut
    between them finds the earlier one still stale, and with it the later one.
    """
    with read(store.data) as connection:
        made = calibrate_days(connection, gauge, calibrations, days)
    written = [one for one in made if one.changed or rebuild]
    names = {name for one in written for name in one.calibration.split()}
    used = [record for record in calibrations.records if record.version in names]
    if written:
        with write(store.data) as connection:
            tally.new_records += keep_records(connection, used, now)
            write_depths(connection, gauge.id, written)
    tally.reached += len(days)
    tally.add(gauge.id, written)
