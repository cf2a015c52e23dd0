"""The items of the rain wing's API, as its description has them, and what they are made from."""

from __future__ import annotations

import math
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, Field

from workspace_lib.clock import from_us, to_us
from workspace_lib.rain.analysis import PM_PER_MM, WINDOWS_S, TipSeries
from workspace_lib.rain.depths import Depths
from workspace_lib.rain.in_force import Flag, GaugeCalibrations
from workspace_lib.rain.product_ledger import Product
from workspace_lib.rain.sums import Peak, Period, Total, records, sums_at, total

State = Literal["reporting", "silent", "never"]


class CalibrationOut(BaseModel):
    """The calibration in force of a gauge."""

    version: str = Field(description="Name of what it says; depths carry it.")
    kind: str = Field(description="linear, quadratic, power, table or undercatch.")
    x: str = Field(description="Unit of the variable x and of y.")
    formula: str = Field(description="The curve as text.")
    coefficients: dict[str, float]
    points: list[tuple[float, float]] = Field(description="Of a table: x and y.")
    mm_per_tip: float = Field(description="Depth of one tip at rest [mm].")
    valid_from: datetime = Field(description="For rows stamped after this instant,")
    valid_to: datetime | None = Field(description="up to this one; null: for good.")
    domain: tuple[float, float] | None = Field(description="For which x it was determined.")
    beyond: str | None = Field(description="What is done beyond: clamp, extrapolate or refuse.")
    certificate: str
    dated: date | None


class GaugeOut(BaseModel):
    """One gauge of the network."""

    id: str = Field(description="House name, as the other routes take it.")
    name: str
    lat: float | None = Field(description="Latitude [deg].")
    lon: float | None = Field(description="Longitude [deg].")
    mm_per_tip: float | None = Field(description="Nominal depth of one tip [mm].")
    step_s: int = Field(description="Nominal time from row to row [s].")
    state: State = Field(description="silent: its newest row is older than half an hour.")
    first: datetime | None = Field(description="Stamp of its first row.")
    last: datetime | None = Field(description="Stamp of its newest row.")
    age_s: float | None = Field(description="Age of its newest row [s].")
    battery_v: float | None = Field(description="Voltage of the logger's battery then [V].")
    calibration: CalibrationOut | None = Field(description="In force now; null: none is.")


class RowOut(BaseModel):
    """One row: what the logger counted in the step that ends at ``t``."""

    t: datetime = Field(description="End of the step.")
    tips: int = Field(description="Tips of the bucket [1].")
    rain_mm: float | None = Field(description="Calibrated depth [mm]; null: it has none.")
    flags: list[str] = Field(description="What is to be known of the depth.")


class IntervalOut(BaseModel):
    """A time without a pause between its rows: (from, to]."""

    from_: datetime = Field(alias="from", description="It begins after this instant.")
    to: datetime = Field(description="It ends at this instant.")


class Amount(BaseModel):
    """Rain of a time, and how much of the time is known."""

    tips: int = Field(description="Tips of the bucket [1].")
    rain_mm: float | None = Field(
        description="Calibrated depth [mm]; null where one of the tips has none."
    )
    missing_percent: float = Field(description="Share of the time without rows [%].")
    uncalibrated_tips: int = Field(description="How many of the tips have no depth [1].")


class SumOut(Amount):
    """The sum over one window (t - w, t]."""

    window: str = Field(description="P5min to P72h.")
    window_s: int = Field(description="Width w of the window [s].")


class GaugeSumsOut(BaseModel):
    """The sums of one gauge over all windows that end at ``at``."""

    gauge: str
    at: datetime = Field(description="End t of the windows.")
    sums: list[SumOut]


class TotalOut(Amount):
    """What fell in (from, to]."""

    gauge: str
    from_: datetime = Field(alias="from", description="Beginning of the time.")
    to: datetime = Field(description="End of the time.")
    period: str | None = Field(description="Which day, month or year of the site's zone it is in.")


class PeakOut(BaseModel):
    """The largest sum over one window."""

    window: str = Field(description="P5min to P72h.")
    window_s: int = Field(description="Width of the window [s].")
    tips: int = Field(description="Most tips [1].")
    tips_at: datetime | None = Field(description="End of the first such window; null: no rain.")
    rain_mm: float | None = Field(
        description="Largest calibrated depth [mm]; null: no window with rain has one."
    )
    rain_at: datetime | None = Field(description="End of the first such window.")
    missing_percent: float | None = Field(description="Share of that window without rows [%].")


class MaximaOut(TotalOut):
    """The largest sums that end in (from, to], beside what fell in it.

    Where time is missing or tips have no depth, more may have fallen.
    """

    maxima: list[PeakOut]


class ProductOut(BaseModel):
    """A yearly file of a gauge, or of the network."""

    gauge: str = Field(description="House name of the gauge, or network.")
    year: int = Field(description="UTC year.")
    kind: str = Field(description="What it holds, and in which format.")
    file: str = Field(description="Name of the file.")
    bytes: int = Field(description="Its size.")
    sha256: str = Field(description="Hash of its content, its ETag.")
    written: datetime = Field(description="When it was made.")
    uploaded: datetime | None = Field(description="When it was proved on the site's server.")


def calibration_item(calibrations: GaugeCalibrations, at: datetime) -> CalibrationOut | None:
    """Return the calibration of a gauge that is in force at an instant, or None."""
    for one in calibrations.records:
        if one.valid_from < at and (one.valid_to is None or at <= one.valid_to):
            return CalibrationOut(
                version=one.version,
                kind=one.kind,
                x=one.unit,
                formula=one.formula,
                coefficients=dict(one.coefficients),
                points=list(one.points),
                mm_per_tip=one.mm_per_tip,
                valid_from=one.valid_from,
                valid_to=one.valid_to,
                domain=one.domain,
                beyond=one.beyond,
                certificate=one.origin.certificate,
                dated=one.origin.dated,
            )
    return None


def row_items(found: Depths, limit: int) -> list[RowOut]:
    """Return the first rows with their depths and the names of their flags."""
    return [
        RowOut(
            t=from_us(t_us),
            tips=tips,
            rain_mm=_known(rain_mm),
            flags=[flag.name.lower() for flag in Flag(bits) if flag.name],
        )
        for t_us, tips, rain_mm, bits in zip(
            found.t_us[:limit].tolist(),
            found.tips[:limit].tolist(),
            found.rain_mm[:limit].tolist(),
            found.flags[:limit].tolist(),
            strict=True,
        )
    ]


def sum_items(series: TipSeries, end: datetime) -> list[SumOut]:
    """Return the sums of all windows that end at an instant."""
    items = []
    for window, window_s in WINDOWS_S.items():
        found = sums_at(series, window_s, to_us(end))
        items.append(
            SumOut(
                window=window,
                window_s=window_s,
                tips=int(found.amounts.tips[0]),
                rain_mm=_known(found.amounts.rain_mm[0]),
                missing_percent=_percent(found.missing_share[0]),
                uncalibrated_tips=int(found.amounts.uncalibrated[0]),
            )
        )
    return items


def total_item(series: TipSeries, period: Period) -> TotalOut:
    """Return what fell in a period."""
    found = total(series, period.from_us, period.to_us)
    return TotalOut.model_validate(_total(series, period, found))


def maxima_item(series: TipSeries, period: Period) -> MaximaOut:
    """Return the largest sums that end in a period."""
    found = records(series, period.from_us, period.to_us)
    peaks = [
        _peak(window, found.tips[window], found.rain_pm[window], found.total)
        for window in WINDOWS_S
    ]
    return MaximaOut.model_validate({**_total(series, period, found.total), "maxima": peaks})


def product_item(product: Product) -> ProductOut:
    """Return a yearly file as the list of files has it."""
    return ProductOut(
        gauge=product.gauge,
        year=product.year,
        kind=product.kind,
        file=PurePosixPath(product.path).name,
        bytes=product.bytes,
        sha256=product.sha256,
        written=product.written,
        uploaded=product.uploaded,
    )


def _total(series: TipSeries, period: Period, found: Total) -> dict[str, Any]:
    return {
        "gauge": series.gauge,
        "from": from_us(period.from_us),
        "to": from_us(period.to_us),
        "period": period.name or None,
        "tips": found.tips,
        "rain_mm": _known(found.rain_mm),
        "missing_percent": _percent(found.missing_share),
        "uncalibrated_tips": found.uncalibrated,
    }


def _peak(window: str, tips: Peak, rain: Peak, found: Total) -> PeakOut:
    unknown = rain.at_us is None and found.uncalibrated > 0
    share = tips.missing_share if rain.at_us is None else rain.missing_share
    return PeakOut(
        window=window,
        window_s=WINDOWS_S[window],
        tips=tips.amount,
        tips_at=_instant(tips.at_us),
        rain_mm=None if unknown else rain.amount / PM_PER_MM,
        rain_at=_instant(rain.at_us),
        missing_percent=None if share is None else _percent(share),
    )


def _percent(share: float) -> float:
    """Return a share [1] in percent, without the digits of its rounding."""
    return round(100 * float(share), 6)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _instant(at_us: int | None) -> datetime | None:
    return None if at_us is None else from_us(at_us)
