"""The yearly CSV files of a gauge: all its rows, with counts or with calibrated depths.

The header is by default the one that programs of old expect (``Rain`` is tips in the concatenated
file, mm in the treated one); ``named`` columns say so themselves. What is not known is empty.
A minute without a row has no line: missing is not zero.
"""

from __future__ import annotations

import io
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv

from workspace_lib.rain.analysis import US, Floats
from workspace_lib.rain.blocks import NO_WIND, Rows

Columns = Literal["consumer", "named"]
CONSUMER: Final = ("Station", "Timestamp", "Rain", "Wind", "Battery", "Year")
NAMED: Final = ("gauge", "timestamp_s", "{value}", "wind", "battery_v", "year")


def concatenated_csv(rows: Rows, label: str, year: int, columns: Columns = "consumer") -> bytes:
    """Return the rows of a year with their counts of tips.

    Parameters
    ----------
    rows : array of blocks.ROW
        The year's rows, by stamp.
    label : str
        What the gauge is called in the file; without commas, quotes and line ends.
    year : int
        The UTC year.
    columns : {'consumer', 'named'}
        Which header.
    """
    return _csv(rows, rows["tips"], "tips", label, year, columns)


def treated_csv(
    rows: Rows, rain_mm: Floats, label: str, year: int, columns: Columns = "consumer"
) -> bytes:
    """Return the rows of a year with their calibrated depths [mm]; empty where there is none.

    ``rain_mm`` [mm] has one entry per row, NaN where the row's tips have no known depth. It is
    written to the picometre: what a binary fraction adds beyond is no rain.
    """
    return _csv(rows, _nullable(np.round(rain_mm, 9)), "rain_mm", label, year, columns)


def depth_of_rows(rows: Rows, t_us: Any, rain_mm: Floats | None) -> Floats:
    """Return the depth of each row [mm]: 0 without tips, NaN where its tips have no depth.

    ``t_us`` [µs] are the sorted stamps to which ``rain_mm`` [mm] belongs.
    """
    depths = np.where(rows["tips"] > 0, np.nan, 0.0)
    if rain_mm is None or not len(t_us):
        return depths
    at = np.minimum(np.searchsorted(t_us, rows["t_us"]), len(t_us) - 1)
    known = (t_us[at] == rows["t_us"]) & (rows["tips"] > 0)
    depths[known] = rain_mm[at[known]]
    return depths


def _csv(rows: Rows, value: Any, name: str, label: str, year: int, columns: Columns) -> bytes:
    header = CONSUMER if columns == "consumer" else NAMED
    wind = pa.array(rows["wind"].astype(np.int64), mask=rows["wind"] == NO_WIND)
    table = pa.table(
        {
            "label": pa.repeat(label, len(rows)),
            "t": pa.array(rows["t_us"] // US),
            "value": value if isinstance(value, pa.Array) else pa.array(value.astype(np.int64)),
            "wind": wind,
            "battery": _nullable(rows["battery_v"]),
            "year": pa.repeat(pa.scalar(year, pa.int32()), len(rows)),
        }
    )
    stream = io.BytesIO()
    stream.write((",".join(header).format(value=name) + "\n").encode())
    options = pa.csv.WriteOptions(include_header=False, quoting_style="none")
    pa.csv.write_csv(table, stream, options)
    return stream.getvalue()


def _nullable(values: Any) -> Any:
    return pa.array(np.asarray(values, np.float64), mask=np.isnan(values))
