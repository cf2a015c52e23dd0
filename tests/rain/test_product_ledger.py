"""What a product's fingerprint depends on, and the ledger on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.clock import to_us
from workspace_lib.errors import StoreError
from workspace_lib.rain.calibrating import calibrate
from workspace_lib.rain.product_ledger import (
    NETWORK,
    Mark,
    Wanted,
    first_day,
    label_of,
    list_products,
    product_file,
    wanted,
    year_of,
)
from workspace_lib.rain.products import make_products
from workspace_lib.rain.settings import Gauge, Network, ProductSettings
from workspace_lib.settings import load_settings
from workspace_lib.store.engines import Store

NETWORK_OF_TWO = Network(
    (Gauge(id="a", name="A", folder="A"), Gauge(id="b", name="B", folder="net/B"))
)
JUNE, NEW_YEAR = first_day(2023) + 160, first_day(2024)
Fingerprints = dict[tuple[str, int, str], str]


def mark(day: int, revision: int = 1, calibration: str = "v1") -> Mark:
    return Mark(day, revision, revision, calibration)


def fingerprints(
    a: list[Mark], b: list[Mark] | None = None, network: Network = NETWORK_OF_TWO, **settings: Any
) -> Fingerprints:
    found = wanted(network, ProductSettings(**settings), {"a": a, "b": b or []}, None)
    return {one.key: one.fingerprint for one in found}


def changed(before: Fingerprints, after: Fingerprints) -> set[tuple[str, int, str]]:
    assert before.keys() == after.keys()
    return {key for key in before if before[key] != after[key]}


def test_days_and_years_are_those_of_the_utc_calendar() -> None:
    assert first_day(1970) == 0
    assert (year_of(NEW_YEAR - 1), year_of(NEW_YEAR)) == (2023, 2024)
    assert date(1970, 1, 1).toordinal() + NEW_YEAR == date(2024, 1, 1).toordinal()


def test_new_rows_change_all_of_their_year_and_the_network() -> None:
    before = fingerprints([mark(JUNE), mark(NEW_YEAR + 40)], [mark(JUNE)])
    after = fingerprints([mark(JUNE, 2), mark(NEW_YEAR + 40)], [mark(JUNE)])
    assert {key[:2] for key in changed(before, after)} == {("a", 2023), (NETWORK, 2023)}
    assert {key for key in before if key[:2] == ("a", 2023)} <= changed(before, after)


def test_another_calibration_changes_all_but_the_counts() -> None:
    before = fingerprints([mark(JUNE)])
    after = fingerprints([mark(JUNE, calibration="v2")])
    assert before.keys() - changed(before, after) == {("a", 2023, "concatenated")}


def test_rows_of_new_years_eve_change_what_the_first_minute_depends_on() -> None:
    before = fingerprints([mark(NEW_YEAR - 1), mark(NEW_YEAR)])
    after = fingerprints([mark(NEW_YEAR - 1, 2), mark(NEW_YEAR)])
    assert ("a", 2024, "sparse_npz") in changed(before, after)
    assert ("a", 2024, "treated") in changed(before, after)
    assert ("a", 2024, "concatenated") not in changed(before, after)


def test_the_header_changes_tables_and_the_step_changes_everything() -> None:
    before = fingerprints([mark(JUNE)])
    assert {key[2] for key in changed(before, fingerprints([mark(JUNE)], columns="named"))} == {
        "concatenated",
        "treated",
    }
    slower = Network((Gauge(id="a", name="A", folder="A", step_s=300), NETWORK_OF_TWO.gauges[1]))
    assert changed(before, fingerprints([mark(JUNE)], network=slower)) == before.keys()


def test_a_gauge_that_joins_changes_the_matrix_of_the_network() -> None:
    one = Network(NETWORK_OF_TWO.gauges[:1])
    before = fingerprints([mark(JUNE)], network=one)
    after = fingerprints([mark(JUNE)])
    assert {key[0] for key in changed(before, after)} == {NETWORK}


def test_only_the_formats_of_the_site_are_wanted() -> None:
    found = fingerprints([mark(JUNE)], formats=("npz",))
    assert set(found) == {("a", 2023, "sparse_npz"), (NETWORK, 2023, "sparse_npz")}


def test_files_are_named_by_the_gauges_folder_and_targets_by_the_site() -> None:
    assert label_of(NETWORK_OF_TWO.gauges[1]) == "net_B"
    settings = ProductSettings(source="plant", folder="by-year/{year}")
    found: list[Wanted] = wanted(NETWORK_OF_TWO, settings, {"a": [mark(JUNE)], "b": []}, "/out/")
    assert found[0].target == "plant:out/by-year/2023/A_concatenated_2023.csv"
    assert found[0].path == "rain/products/a/2023/A_concatenated_2023.csv"


def test_products_are_made_and_listed_on_both_databases(
    any_store: Store, store_rows: Callable[..., None], tmp_path: Path
) -> None:
    settings = load_settings("testsite", root=tmp_path / "workspace")
    gauges = "gauges: [{id: a, name: a, folder: a}, {id: b, name: b, folder: b}]"
    (settings.site_dir / "gauges.yml").write_text(gauges)
    (settings.site_dir / "calibrations.yml").write_text("calibrations: []")
    t_us = [to_us(datetime(2023, 6, 1, 0, minute, tzinfo=UTC)) for minute in range(3)]
    store_rows(any_store, "a", t_us, [0, 1, 2])
    calibrate(any_store, settings)
    assert make_products(any_store, settings).made == 10
    assert make_products(any_store, settings).made == 0
    found = list_products(any_store, "a", 2023, "concatenated")
    assert len(list_products(any_store)) == 10
    assert product_file(any_store, found[0]).read_text().count("\n") == 4
    product_file(any_store, found[0]).unlink()
    with pytest.raises(StoreError, match="is gone"):
        product_file(any_store, found[0])
