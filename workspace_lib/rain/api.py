"""``/api/v1/rain``: gauges, rows, coverage, sums, totals, maxima and yearly files, to be read.

Times are (from, to]: a row stamped t counts the step that ends at t. Both ends must have a zone;
those beyond what `answers.instants` takes, between which all rows lie, are brought there.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import groupby, islice
from typing import Annotated, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from workspace_lib.answers.downloads import FILE, send_file
from workspace_lib.answers.instants import Instant
from workspace_lib.answers.paging import Cursor, Limit, Page, decode_cursor, encode_cursor
from workspace_lib.answers.problems import NOT_FOUND, Refusal
from workspace_lib.answers.site import now_of, settings_of, store_of
from workspace_lib.clock import from_us, iso, to_us
from workspace_lib.errors import StoreError
from workspace_lib.rain import queries
from workspace_lib.rain.analysis import TipSeries
from workspace_lib.rain.api_items import (
    GaugeOut,
    GaugeSumsOut,
    IntervalOut,
    MaximaOut,
    ProductOut,
    RowOut,
    State,
    TotalOut,
    calibration_item,
    maxima_item,
    product_item,
    row_items,
    sum_items,
    total_item,
)
from workspace_lib.rain.calibration_files import load_calibrations
from workspace_lib.rain.depths import read_depths
from workspace_lib.rain.product_ledger import KINDS, list_products, product_file
from workspace_lib.rain.settings import Gauge, Network, load_network
from workspace_lib.rain.sums import LOOKBACK, Calendar, Period, periods
from workspace_lib.store.engines import read

router = APIRouter(prefix="/rain", tags=["rain"], responses=NOT_FOUND)

#: A gauge whose newest row is older than this is silent [s].
SILENT_S: Final = 1800.0
MEDIA_TYPES: Final = {
    ".csv": "text/csv",
    ".h5": "application/x-hdf5",
    ".mtx": "text/plain",
    ".npz": "application/zip",
}


From = Annotated[Instant, Query(alias="from", description="After this instant, with a zone.")]
To = Annotated[Instant | None, Query(description="Up to this instant, with a zone; now if empty.")]
GaugeId = Annotated[str, Path(pattern="^[a-z][a-z0-9_]*$", max_length=100)]
GaugeIds = Annotated[
    list[str] | None, Query(max_length=500, description="Only these gauges; all if empty.")
]
By = Annotated[
    Calendar | None, Query(description="One item for each day, month or year of the site's zone.")
]
RowLimit = Annotated[int, Query(ge=1, le=20_000, description="Rows of a page.")]


@router.get("/gauges")
def gauges(request: Request, limit: Limit = 100, cursor: Cursor = None) -> Page[GaugeOut]:
    """List the gauges: place, newest row, battery, the calibration in force."""
    network = sorted(_network(request).gauges, key=lambda gauge: gauge.id)
    if cursor is not None:
        after = str(decode_cursor(cursor, str)[0])
        network = [gauge for gauge in network if gauge.id > after]
    shown = network[:limit]
    more = encode_cursor(shown[-1].id) if len(network) > limit else None
    return Page(items=_gauges(request, shown), next=more)


@router.get("/gauges/{gauge}")
def gauge(request: Request, gauge: GaugeId) -> GaugeOut:
    """Describe one gauge."""
    return _gauges(request, _chosen(request, [gauge]))[0]


@router.get(
    "/gauges/{gauge}/series",
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    response_model=Page[RowOut],
)
def series(
    request: Request,
    gauge: GaugeId,
    from_: From,
    to: To = None,
    limit: RowLimit = 5000,
    cursor: Cursor = None,
    format: Annotated[
        Literal["json", "csv"] | None, Query(description="json, csv; or by Accept if empty.")
    ] = None,
) -> Page[RowOut] | Response:
    """List the rows of a gauge that have tips, by their stamps.

    At all other times there was no rain if `coverage` has them, and nobody knows otherwise. As CSV
    the following page is in the field Link.
    """
    (one,) = _chosen(request, [gauge])
    begin, end = _span(request, from_, to)
    if cursor is not None:
        begin = max(begin, int(decode_cursor(cursor, int)[0]))
    with read(store_of(request).data) as connection:
        found = read_depths(connection, one.id, begin, end)
    rows = row_items(found, limit)
    more = encode_cursor(int(found.t_us[limit - 1])) if len(found.t_us) > limit else None
    if not _wants_csv(request, format):
        return Page(items=rows, next=more)
    headers = {"Content-Disposition": f'attachment; filename="{one.id}.csv"'}
    if more is not None:
        asked = {**request.query_params, "format": "csv", "to": iso(end), "cursor": more}
        headers["Link"] = f'<{request.url.path}?{urlencode(asked)}>; rel="next"'
    return Response(_csv(rows), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/gauges/{gauge}/coverage")
def coverage(
    request: Request,
    gauge: GaugeId,
    from_: From,
    to: To = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[IntervalOut]:
    """List for which times a gauge has rows: outside of them nobody knows whether it rained."""
    (one,) = _chosen(request, [gauge])
    begin, end = _span(request, from_, to)
    after = begin if cursor is None else int(decode_cursor(cursor, int)[0])
    found = queries.coverage(store_of(request), one, from_us(begin), from_us(end))
    pairs = [
        (int(start), int(stop))
        for start, stop in zip(found.start_us, found.end_us, strict=True)
        if stop > after
    ]
    items = [
        IntervalOut.model_validate({"from": from_us(start), "to": from_us(stop)})
        for start, stop in pairs[:limit]
    ]
    return Page(
        items=items, next=encode_cursor(pairs[limit - 1][1]) if len(pairs) > limit else None
    )


@router.get("/sums")
def sums(
    request: Request,
    gauge: GaugeIds = None,
    at: Annotated[
        Instant | None,
        Query(description="End of the windows, with a zone; the network's newest row if empty."),
    ] = None,
) -> list[GaugeSumsOut]:
    """Give the sums of all windows, from 5 min to 72 h, that end at an instant."""
    chosen, store = _chosen(request, gauge), store_of(request)
    end = at or queries.latest(store, chosen, now_of(request))
    if end is None:
        raise Refusal(HTTPStatus.NOT_FOUND, "There is no row of these gauges yet.")
    found = queries.calibrated(store, chosen, end - LOOKBACK, end)
    return [
        GaugeSumsOut(gauge=one.gauge, at=end, sums=sum_items(one, end)) for one in found.values()
    ]


@dataclass(frozen=True)
class _Asked:
    """A page of gauges, each with one of the periods asked for, and where the next one begins."""

    page: list[tuple[Gauge, Period]]
    more: str | None


def _periods(
    request: Request,
    from_: From,
    to: To = None,
    gauge: GaugeIds = None,
    by: By = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> _Asked:
    """Return a page of gauges with the periods asked for, by gauge and time."""
    begin, end = _span(request, from_, to)
    parts = [Period("", begin, end)]
    if by is not None:
        parts = periods(from_us(begin), from_us(end), settings_of(request).zone, by)
    chosen = sorted(_chosen(request, gauge), key=lambda one: one.id)
    after = ("", 0) if cursor is None else decode_cursor(cursor, str, int)
    following = ((one, part) for one in chosen for part in parts if (one.id, part.from_us) > after)
    page = list(islice(following, limit + 1))
    if len(page) <= limit:
        return _Asked(page, None)
    last, part = page[limit - 1]
    return _Asked(page[:limit], encode_cursor(last.id, part.from_us))


Asked = Annotated[_Asked, Depends(_periods)]


@router.get("/totals")
def totals(request: Request, asked: Asked) -> Page[TotalOut]:
    """Give what fell between two instants, with the percentage of it that is missing."""
    rain = _with_rain(request, asked.page, timedelta())
    items = [total_item(one, period) for one, mine in rain for period in mine]
    return Page(items=items, next=asked.more)


@router.get("/maxima")
def maxima(request: Request, asked: Asked) -> Page[MaximaOut]:
    """Give the largest sums of all windows that end between two instants, and when."""
    rain = _with_rain(request, asked.page, LOOKBACK)
    items = [maxima_item(one, period) for one, mine in rain for period in mine]
    return Page(items=items, next=asked.more)


@router.get("/products")
def products(
    request: Request,
    gauge: Annotated[str | None, Query(max_length=100, description="Only of this one.")] = None,
    year: Annotated[int | None, Query(ge=1, le=9999, description="Only of this year.")] = None,
    kind: Annotated[str | None, Query(max_length=50, description="Only of this kind.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[ProductOut]:
    """List the yearly files: tables and sparse matrices of gauges, and matrices of the network."""
    found = list_products(store_of(request), gauge, year, kind)
    if cursor is not None:
        after = decode_cursor(cursor, str, int, str)
        found = [product for product in found if product.key > after]
    more = encode_cursor(*found[limit - 1].key) if len(found) > limit else None
    return Page(items=[product_item(product) for product in found[:limit]], next=more)


@router.get(
    "/products/{gauge}/{year}/{kind}", response_class=Response, responses={**FILE, **NOT_FOUND}
)
def product(
    request: Request,
    gauge: GaugeId,
    year: Annotated[int, Path(ge=1, le=9999)],
    kind: Annotated[str, Path(max_length=50, pattern="^[a-z][a-z0-9_]*$")],
) -> Response:
    """Download a yearly file of a gauge, or of the network."""
    store = store_of(request)
    found = list_products(store, gauge, year, kind)
    if not found:
        kinds = ", ".join(kind.name for kind in KINDS)
        raise Refusal(HTTPStatus.NOT_FOUND, f"There is no such file. Kinds: {kinds}.")
    try:
        path = product_file(store, found[0])
    except StoreError as error:
        raise Refusal(HTTPStatus.NOT_FOUND, error.what) from error
    return send_file(
        request,
        path,
        content_hash=found[0].sha256,
        media_type=MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        filename=path.name,
    )


def _network(request: Request) -> Network:
    settings = settings_of(request)
    if "rain" not in settings.wings:
        raise Refusal(HTTPStatus.NOT_FOUND, "This site has no rain gauges.")
    return load_network(settings)


def _chosen(request: Request, names: Sequence[str] | None) -> tuple[Gauge, ...]:
    """Return the gauges named, in the order of the site's list; all without names."""
    gauges = _network(request).gauges
    unknown = set(names or ()) - {gauge.id for gauge in gauges}
    if unknown:
        raise Refusal(HTTPStatus.NOT_FOUND, f"There is no gauge {min(unknown)}.")
    return tuple(gauge for gauge in gauges if not names or gauge.id in names)


def _span(request: Request, from_: datetime, to: datetime | None) -> tuple[int, int]:
    """Return the ends of the time asked for [µs]."""
    begin, end = to_us(from_), to_us(now_of(request) if to is None else to)
    if end <= begin:
        raise Refusal(HTTPStatus.NOT_FOUND, "There is no such time: it ends before it begins.")
    return begin, end


def _gauges(request: Request, chosen: Sequence[Gauge]) -> list[GaugeOut]:
    store, now = store_of(request), now_of(request)
    last = queries.last_rows(store, chosen)
    calibrations = load_calibrations(settings_of(request))
    items = []
    for gauge in chosen:
        newest, span = last.get(gauge.id), queries.span(store, gauge)
        age_s = None if newest is None else (now - newest.t).total_seconds()
        state: State = "reporting"
        if age_s is None or age_s > SILENT_S:
            state = "never" if age_s is None else "silent"
        items.append(
            GaugeOut(
                id=gauge.id,
                name=gauge.name,
                lat=gauge.lat,
                lon=gauge.lon,
                mm_per_tip=gauge.mm_per_tip,
                step_s=gauge.step_s,
                state=state,
                first=span and span[0],
                last=newest and newest.t,
                age_s=age_s,
                battery_v=newest and newest.battery_v,
                calibration=calibration_item(calibrations[gauge.id], now),
            )
        )
    return items


def _with_rain(
    request: Request, page: Sequence[tuple[Gauge, Period]], before: timedelta
) -> Iterator[tuple[TipSeries, list[Period]]]:
    """Yield the rain of each gauge of a page, from some time before its first period on."""
    for _, group in groupby(page, key=lambda one: one[0].id):
        mine = list(group)
        gauge, parts = mine[0][0], [part for _, part in mine]
        begin, end = from_us(parts[0].from_us) - before, from_us(parts[-1].to_us)
        yield queries.calibrated(store_of(request), [gauge], begin, end)[gauge.id], parts


def _wants_csv(request: Request, format: str | None) -> bool:
    if format is not None:
        return format == "csv"
    accepted = [
        part.partition(";")[0].strip() for part in request.headers.get("accept", "").split(",")
    ]
    return "text/csv" in accepted and "application/json" not in accepted


def _csv(rows: Sequence[RowOut]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(("t", "tips", "rain_mm", "flags"))
    for row in rows:
        depth = "" if row.rain_mm is None else repr(row.rain_mm)
        writer.writerow((iso(row.t), row.tips, depth, " ".join(row.flags)))
    return text.getvalue()
