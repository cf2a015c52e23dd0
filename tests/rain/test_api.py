"""The rain wing's routes, over a store with rain, gaps and rows that have no depth."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml
from sqlalchemy import insert
from starlette.testclient import TestClient

from workspace_lib.clock import FakeClock, to_us
from workspace_lib.files import atomic_write, sha256_bytes
from workspace_lib.rain.analysis import WINDOWS_S
from workspace_lib.rain.calibrating import calibrate
from workspace_lib.rain.days import merge_rows, new_rows
from workspace_lib.rain.settings import load_network
from workspace_lib.rain.tables import rain_products
from workspace_lib.settings import Settings
from workspace_lib.store.engines import Store, write
from workspace_lib.store.migrate import open_store
from workspace_lib.web.app import create_app
from workspace_lib.web.tokens import create_token

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
START = datetime(2026, 2, 27, tzinfo=UTC)
API = "/api/v1/rain"
MINUTES = 3 * 1440
#: Tips of the first gauge, by minute after the start; from 1000 to 1400 it has no rows.
TIPS = {5: 2, 6: 1, 700: 4, 1500: 3, 2881: 1, 4000: 5}
CURVE = {
    "gauge": "mse", "valid_from": START + timedelta(minutes=6), "mm_per_tip": 0.2, "kind": "linear",
    "x": "tips/min", "coefficients": {"b": 1.05, "c": 0.0}, "source": {"certificate": "No. 7"},
}  # fmt: skip


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def stamp(minute: float) -> str:
    return at(minute).isoformat().replace("+00:00", "Z")


@pytest.fixture
def site(make_site: Callable[..., Settings]) -> Settings:
    """Three gauges, of which the first is calibrated from its sixth minute on."""
    settings = make_site({"timezone": "Europe/Paris", "wings": {"rain": {}}})
    gauges = [
        {"id": "mse", "name": "Mse", "folder": "Mse", "mm_per_tip": 0.2, "lat": 43.6, "lon": 3.9},
        {"id": "adonis", "name": "Adonis", "folder": "Adonis", "mm_per_tip": 0.2},
        {"id": "silent", "name": "Silent", "folder": "Silent"},
    ]
    for name, content in {"gauges": gauges, "calibrations": [CURVE]}.items():
        path = settings.site_dir / f"{name}.yml"
        path.write_text(yaml.safe_dump({name: content}), encoding="utf-8")
    return settings


@pytest.fixture
def rain(site: Settings) -> Iterator[Store]:
    """Three days of two gauges in the store, calibrated."""
    with open_store(site, create=True) as store:
        network = load_network(site)
        minutes = [minute for minute in range(1, MINUTES + 1) if not 1000 < minute <= 1400]
        with write(store.data) as connection:
            for gauge, tips, last in (("mse", TIPS, MINUTES), ("adonis", {60: 9}, 100)):
                known = [minute for minute in minutes if minute <= last]
                rows = new_rows(
                    [to_us(at(minute)) for minute in known],
                    [tips.get(minute, 0) for minute in known],
                    battery_v=12.5,
                    file_id=1,
                )
                merge_rows(connection, network.gauge(gauge), rows, NOW)
        calibrate(store, site, now=NOW)
        yield store


@pytest.fixture
def client(site: Settings, rain: Store) -> TestClient:
    """A program with a token that may read."""
    token = create_token(rain, "reader", "read", now=NOW)
    app = create_app(site, rain, clock=FakeClock(NOW))
    return TestClient(app, headers={"Authorization": f"Bearer {token}"})


def get(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(f"{API}{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def pages(client: TestClient, path: str, **query: Any) -> list[Any]:
    """All items of a list, page by page."""
    found, cursor = [], {}
    while True:
        page = get(client, path, **query, **cursor)
        found += page["items"]
        if page["next"] is None:
            return found
        assert page["items"]
        cursor = {"cursor": page["next"]}


def test_gauges_say_where_they_are_and_how_they_are(client: TestClient) -> None:
    adonis, mse, silent = pages(client, "/gauges", limit=2)
    assert [one["id"] for one in (adonis, mse, silent)] == ["adonis", "mse", "silent"]
    assert (mse["lat"], mse["lon"], mse["battery_v"]) == (43.6, 3.9, 12.5)
    assert (mse["first"], mse["last"]) == (stamp(1), stamp(MINUTES))
    assert mse["age_s"] == (NOW - at(MINUTES)).total_seconds()
    assert {one["id"]: one["state"] for one in (adonis, mse, silent)} == {
        "adonis": "silent", "mse": "silent", "silent": "never"
    }  # fmt: skip
    assert (silent["last"], silent["age_s"], silent["battery_v"]) == (None, None, None)


def test_a_gauge_whose_rows_are_young_is_reporting(site: Settings, rain: Store) -> None:
    token = create_token(rain, "other", "read", now=NOW)
    app = create_app(site, rain, clock=FakeClock(at(MINUTES + 30)))
    client = TestClient(app, headers={"Authorization": f"Bearer {token}"})
    assert get(client, "/gauges/mse")["state"] == "reporting"


def test_a_gauge_carries_the_calibration_in_force(client: TestClient) -> None:
    found = get(client, "/gauges/mse")["calibration"]
    assert (found["kind"], found["x"], found["certificate"]) == ("linear", "tips/min", "No. 7")
    assert (found["mm_per_tip"], found["coefficients"]) == (0.2, {"b": 1.05, "c": 0.0})
    assert get(client, "/gauges/adonis")["calibration"] is None


def test_a_series_holds_the_rows_with_tips_and_flags_those_without_a_depth(
    client: TestClient,
) -> None:
    rows = pages(client, "/gauges/mse/series", **{"from": stamp(0), "to": stamp(4000)}, limit=2)
    assert {row["t"]: row["tips"] for row in rows} == {stamp(m): n for m, n in TIPS.items()}
    assert [row["rain_mm"] for row in rows[:3]] == [None, None, pytest.approx(0.84)]
    assert rows[0]["flags"] == ["uncalibrated"]
    assert rows[2]["flags"] == []


def test_a_series_is_open_at_its_start_and_closed_at_its_end(client: TestClient) -> None:
    rows = pages(client, "/gauges/mse/series", **{"from": stamp(5), "to": stamp(700)})
    assert [row["t"] for row in rows] == [stamp(6), stamp(700)]


@pytest.mark.parametrize(
    ("accept", "asked"), [("text/csv", ""), ("*/*", "&format=csv"), ("text/csv;q=0.9", "")]
)
def test_a_series_comes_as_csv_with_the_next_page_in_link(
    client: TestClient, accept: str, asked: str
) -> None:
    found, address = [], f"{API}/gauges/mse/series?from={stamp(0)}&limit=4{asked}"
    while address:
        answer = client.get(address, headers={"Accept": accept})
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        found += list(csv.DictReader(io.StringIO(answer.text)))
        address = answer.links.get("next", {}).get("url", "")
    assert {row["t"]: int(row["tips"]) for row in found} == {stamp(m): n for m, n in TIPS.items()}
    assert found[0]["rain_mm"] == ""
    assert float(found[-1]["rain_mm"]) == pytest.approx(1.05)


def test_a_program_that_takes_both_gets_json(client: TestClient) -> None:
    headers = {"Accept": "text/csv, application/json"}
    answer = client.get(f"{API}/gauges/mse/series?from={stamp(0)}", headers=headers)
    assert answer.headers["content-type"] == "application/json"


def test_coverage_says_where_nobody_knows(client: TestClient) -> None:
    query = {"from": stamp(10), "to": stamp(2000)}
    assert pages(client, "/gauges/mse/coverage", **query, limit=1) == [
        {"from": stamp(10), "to": stamp(1000)},
        {"from": stamp(1400), "to": stamp(2000)},
    ]
    assert pages(client, "/gauges/silent/coverage", **query) == []


def test_sums_end_at_the_newest_row_of_the_network(client: TestClient) -> None:
    by_gauge = {one["gauge"]: one for one in get(client, "/sums")}
    assert set(by_gauge) == {"mse", "adonis", "silent"}
    assert {one["at"] for one in by_gauge.values()} == {stamp(MINUTES)}
    sums = {one["window"]: one for one in by_gauge["mse"]["sums"]}
    assert list(sums) == list(WINDOWS_S)
    assert (sums["P12h"]["tips"], sums["P12h"]["rain_mm"]) == (5, pytest.approx(1.05))
    assert (sums["P1h"]["tips"], sums["P1h"]["rain_mm"]) == (0, 0.0)
    assert sums["P72h"]["missing_percent"] == pytest.approx(100 * 400 / 4320)
    assert (sums["P72h"]["rain_mm"], sums["P72h"]["uncalibrated_tips"]) == (None, 3)
    assert by_gauge["silent"]["sums"][0]["missing_percent"] == 100


def test_sums_of_an_instant_know_nothing_of_what_came_later(client: TestClient) -> None:
    (found,) = get(client, "/sums", at=stamp(701), gauge="mse")
    sums = {one["window"]: one["tips"] for one in found["sums"]}
    assert (sums["P5min"], sums["P12h"]) == (4, 7)


def test_totals_say_which_part_is_missing(client: TestClient) -> None:
    query = {"from": stamp(600), "to": stamp(1600)}
    adonis, mse, silent = pages(client, "/totals", **query)
    assert (mse["tips"], mse["rain_mm"]) == (7, pytest.approx(1.47))
    assert mse["missing_percent"] == 40
    assert (mse["from"], mse["to"], mse["period"]) == (stamp(600), stamp(1600), None)
    assert (adonis["missing_percent"], silent["missing_percent"]) == (100, 100)
    assert (adonis["rain_mm"], silent["rain_mm"]) == (0, 0)


def test_totals_come_by_the_months_of_the_sites_zone_page_by_page(client: TestClient) -> None:
    query = {"from": stamp(0), "to": stamp(MINUTES), "by": "month", "limit": 1, "gauge": "mse"}
    february, march = pages(client, "/totals", **query)
    # In Paris March begins an hour before it does in UTC: 2880 - 60 minutes after the start.
    assert (february["period"], march["period"]) == ("2026-02", "2026-03")
    assert february["to"] == march["from"] == stamp(2820)
    assert (february["tips"], march["tips"]) == (10, 6)
    assert (february["rain_mm"], march["rain_mm"]) == (None, pytest.approx(1.26))


def test_several_gauges_are_asked_for_by_name(client: TestClient) -> None:
    query = {"from": stamp(0), "gauge": ["mse", "adonis"], "by": "day", "limit": 3}
    found = pages(client, "/totals", **query)
    assert {one["gauge"] for one in found} == {"adonis", "mse"}
    assert len(found) == 2 * 4


def test_maxima_name_the_first_instant_of_each(client: TestClient) -> None:
    query = {"from": stamp(600), "to": stamp(MINUTES), "gauge": "mse"}
    (found,) = pages(client, "/maxima", **query)
    maxima = {one["window"]: one for one in found["maxima"]}
    assert list(maxima) == list(WINDOWS_S)
    assert (maxima["P5min"]["tips"], maxima["P5min"]["tips_at"]) == (5, stamp(4000))
    assert (maxima["P5min"]["rain_mm"], maxima["P5min"]["rain_at"]) == (1.05, stamp(4000))
    # The first three tips have no depth, so the deepest known day began after them.
    assert (maxima["P24h"]["tips"], maxima["P24h"]["tips_at"]) == (7, stamp(700))
    assert (found["tips"], found["missing_percent"]) == (
        13,
        pytest.approx(100 * 400 / 3720, abs=1e-5),
    )


def test_maxima_without_a_depth_are_counts_alone(client: TestClient) -> None:
    query = {"from": stamp(0), "to": stamp(10), "gauge": "mse"}
    (found,) = pages(client, "/maxima", **query)
    assert (found["maxima"][0]["tips"], found["maxima"][0]["rain_mm"]) == (3, None)
    assert found["uncalibrated_tips"] == 3


def product(store: Store, gauge: str, year: int, kind: str, file: str, content: bytes) -> None:
    path = f"rain/products/{gauge}/{year}/{file}"
    atomic_write(store.outputs / path, content)
    row = {
        "gauge": gauge, "year": year, "kind": kind, "fingerprint": "f", "path": path,
        "sha256": sha256_bytes(content), "bytes": len(content), "written": NOW,
    }  # fmt: skip
    with write(store.data) as connection:
        connection.execute(insert(rain_products).values(row))


def test_yearly_files_are_listed_and_sent_with_validators_and_parts(
    client: TestClient, rain: Store
) -> None:
    matrix = bytes(range(256))
    product(rain, "network", 2025, "sparse_h5", "network_sparse_2025.h5", b"older")
    product(rain, "network", 2026, "sparse_npz", "network_sparse_2026.npz", matrix)
    product(rain, "mse", 2026, "treated", "Mse_treated_2026.csv", b"a,b\r\n")
    listed = pages(client, "/products", limit=2)
    assert [(one["gauge"], one["year"], one["kind"]) for one in listed] == [
        ("mse", 2026, "treated"), ("network", 2025, "sparse_h5"), ("network", 2026, "sparse_npz")
    ]  # fmt: skip
    assert {one["year"] for one in pages(client, "/products", gauge="network")} == {2025, 2026}
    address = f"{API}/products/network/2026/sparse_npz"
    whole = client.get(address)
    assert (whole.content, whole.headers["etag"]) == (matrix, f'"{listed[2]["sha256"]}"')
    assert 'filename="network_sparse_2026.npz"' in whole.headers["content-disposition"]
    again = client.get(address, headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    part = client.get(address, headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, matrix[10:20])
    table = client.get(f"{API}/products/mse/2026/treated")
    assert table.headers["content-type"].startswith("text/csv")


def test_a_yearly_file_that_is_gone_is_a_problem(client: TestClient, rain: Store) -> None:
    product(rain, "mse", 2026, "treated", "Mse_treated_2026.csv", b"a,b\r\n")
    (rain.outputs / "rain/products/mse/2026/Mse_treated_2026.csv").unlink()
    answer = client.get(f"{API}/products/mse/2026/treated")
    assert answer.status_code == 404
    assert "gone" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/gauges/nobody", "no gauge nobody"),
        (f"/totals?from={stamp(0)}&gauge=mse&gauge=nobody", "no gauge nobody"),
        (f"/totals?from={stamp(10)}&to={stamp(10)}", "ends before it begins"),
        ("/totals?from=0001-01-01T00:00:00%2B23:59&to=0001-01-02T00:00:00Z", "ends before"),
        (f"/gauges/mse/series?from={stamp(0)}&cursor=YWJj", "cursor"),
        ("/products/mse/2026/sparse_npz", "Kinds: concatenated"),
    ],
)
def test_what_there_is_not_is_a_problem_that_says_so(
    client: TestClient, path: str, says: str
) -> None:
    answer = client.get(f"{API}{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/totals", "query.from"),
        ("/totals?from=2026-03-01T00:00:00", "query.from"),
        (f"/totals?from={stamp(0)}&by=week", "query.by"),
        (f"/gauges/mse/series?from={stamp(0)}&format=xml", "query.format"),
        (f"/gauges/mse/series?from={stamp(0)}&until=x", "query.until"),
    ],
)
def test_a_wrong_field_is_named(client: TestClient, path: str, field: str) -> None:
    answer = client.get(f"{API}{path}")
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("at", ["1700000000", "3.1e-191", "null", "2026-11-20"])
def test_a_time_that_is_no_date_with_a_time_is_refused(client: TestClient, at: str) -> None:
    answer = client.get("/api/v1/rain/sums", params={"at": at})
    assert answer.status_code == 422
    assert "2026-11-20T12:00:00Z" in answer.text


def test_times_beyond_all_rows_are_brought_to_where_rows_can_be(client: TestClient) -> None:
    query = {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59-23:00", "gauge": "mse"}
    (found,) = pages(client, "/totals", **query)
    assert (found["from"], found["to"]) == ("1990-01-01T00:00:00Z", "2100-01-01T00:00:00Z")
    assert found["tips"] == sum(TIPS.values())


def test_without_a_row_there_are_no_sums(client: TestClient) -> None:
    answer = client.get(f"{API}/sums?gauge=silent")
    assert answer.status_code == 404
    assert "no row" in answer.json()["detail"]


def test_a_site_without_rain_says_so(make_site: Callable[..., Settings]) -> None:
    settings = make_site()
    with open_store(settings, create=True) as store:
        token = create_token(store, "reader", "read", now=NOW)
        client = TestClient(create_app(settings, store, clock=FakeClock(NOW)))
        answer = client.get(f"{API}/gauges", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 404
    assert "no rain gauges" in answer.json()["detail"]
