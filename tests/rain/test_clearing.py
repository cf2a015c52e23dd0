"""Raw files leave the server only when nothing depends on them: their rows are in the store, and
every year they touch is made, calibrated, sent and proved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from workspace_lib.errors import ConfigError, SourceError
from workspace_lib.rain import products as products_module
from workspace_lib.rain.product_ledger import list_products
from workspace_lib.rain.tables import rain_conflicts, rain_days, rain_depths, rain_products
from workspace_lib.store.engines import read, write
from workspace_lib.store.source_files import source_files
from workspace_lib.transports.ftp_trash import TrashReport

pytestmark = pytest.mark.server

NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
CLEARS = {"allow_delete": True, "trash_folder": "trash"}


@pytest.fixture
def site(served_site: Any) -> Any:
    """A site that may be cleared, with files of two gauges, one of them across New Year."""
    served_site.configure(**CLEARS)
    served_site.deliver("Hydropolis", NEW_YEAR - timedelta(minutes=3), 1, 2, 3, 4, 5)
    served_site.deliver("Hydropolis", NEW_YEAR + timedelta(minutes=2), 0, 1, 0, 0, 0)
    served_site.deliver("Polytech", NEW_YEAR + timedelta(hours=6), 0, 0, 7)
    served_site.capture()
    served_site.calibrate()
    return served_site


def why_kept(report: TrashReport) -> set[str]:
    return {reason for _, reason in report.kept}


def test_a_site_with_clearing_on_ends_with_an_empty_raw_folder_and_complete_products(
    site: Any,
) -> None:
    raw_files = site.raw_files()
    assert len(raw_files) == 3
    made = site.products()
    report = site.clear()
    assert made.complete
    assert (report.allowed, report.moved, report.kept) == (True, 3, [])
    assert site.raw_files() == set()
    assert set(site.files("trash")) == {f"2024-01-10/{path}" for path in raw_files}
    assert len(site.files("products")) == 26


def test_without_the_sites_word_nothing_is_cleared(site: Any) -> None:
    site.configure()
    site.products()
    assert site.clear() == TrashReport("rain")
    assert len(site.raw_files()) == 3


def test_clearing_without_a_server_for_the_products_is_a_mistake_of_the_site(site: Any) -> None:
    site.configure(products={"source": None}, **CLEARS)
    site.products()
    with pytest.raises(ConfigError, match="sent nowhere"):
        site.clear()


def test_files_stay_until_products_are_made(site: Any) -> None:
    report = site.clear()
    assert report.moved == 0
    assert {reason.split(" is ")[1] for reason in why_kept(report)} == {
        "not made of all its rows yet"
    }


def test_files_stay_until_products_are_sent(site: Any) -> None:
    site.products(upload=False)
    report = site.clear()
    assert report.moved == 0
    assert {reason.split(" is ")[1] for reason in why_kept(report)} == {"not sent yet"}


def test_files_stay_until_their_rows_are_calibrated(site: Any) -> None:
    with write(site.store.data) as connection:
        connection.execute(delete(rain_depths).where(rain_depths.c.gauge == "polytech"))
    site.products()
    report = site.clear()
    assert report.moved == 2
    assert why_kept(report) == {"days of 2024 are not calibrated yet"}
    assert {path.split("/")[0] for path in site.raw_files()} == {"Polytech"}


def test_a_file_across_new_year_stays_until_both_years_are_done(site: Any) -> None:
    site.products(years="2024")
    report = site.clear()
    assert report.moved == 2
    assert [path for path, _ in report.kept] == ["Hydropolis/Hydropol_311223_235700.txt"]
    site.products(years="2023")
    assert site.clear().moved == 1


def test_one_product_that_could_not_be_sent_keeps_all_files_of_its_year(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = products_module.open_source

    def breaks(*arguments: Any, **options: Any) -> Any:
        source = opened(*arguments, **options)
        upload = source.upload

        def refuse(path: str, content: Any) -> None:
            if path.endswith("network_sparse_2023.npz"):
                raise SourceError("The server is full.")
            upload(path, content)

        source.upload = refuse
        return source

    with monkeypatch.context() as patch:
        patch.setattr(products_module, "open_source", breaks)
        assert len(site.products().failed) == 1
    report = site.clear()
    assert report.moved == 2
    assert why_kept(report) == {"network_sparse_2023.npz is not sent yet"}


def test_a_file_that_came_after_the_products_stays(site: Any) -> None:
    site.products()
    late = site.deliver("Polytech", NEW_YEAR + timedelta(hours=7), 1)
    site.capture()
    report = site.clear()
    assert late in dict(report.kept)
    assert late in site.raw_files()


def test_a_row_that_is_not_in_the_store_keeps_its_file(site: Any) -> None:
    with write(site.store.data) as connection:
        day = select(rain_days.c.rows).where(rain_days.c.gauge == "polytech")
        connection.execute(
            update(rain_days)
            .where(rain_days.c.gauge == "hydropolis", rain_days.c.day == 19_723)
            .values(rows=connection.scalar(day))
        )
    site.products()
    report = site.clear()
    assert why_kept(report) == {
        "2 of its rows are not in the store",
        "5 of its rows are not in the store",
    }
    assert report.moved == 1


def test_a_row_that_contradicted_another_is_accounted_for(site: Any) -> None:
    other = f"/{site.deliver('Polytech', NEW_YEAR + timedelta(hours=6), 0, 0, 7, battery=13)}"
    site.tree.rename(other, other.replace("_060000", "_060001"))
    site.deliver("Polytech", NEW_YEAR + timedelta(hours=6), 0, 0, 7)
    site.capture()
    site.calibrate()
    site.products()
    with read(site.store.data) as connection:
        assert connection.execute(select(rain_conflicts)).all()
    report = site.clear()
    assert (report.kept, site.raw_files()) == ([], set())


def test_a_row_of_a_clock_that_was_reset_is_accounted_for(site: Any) -> None:
    site.deliver("Polytech", datetime(2004, 1, 1, tzinfo=UTC), 1)
    path = "/Polytech/Polytech_010124_100000.txt"
    good = int((NEW_YEAR + timedelta(hours=10)).timestamp())
    site.tree.put(path, f"P, {good}, 1, 0, 12.1\nP, 1072915260, 0, 0, 12.1\n".encode(), 1.0)
    site.capture()
    site.calibrate()
    site.products()
    report = site.clear()
    assert (report.moved, report.kept) == (5, [])


def test_a_file_in_quarantine_stays(site: Any) -> None:
    site.tree.put("/Polytech/Polytech_010124_110000.txt", b"", 1.0)
    site.capture()
    site.products()
    assert site.clear().moved == 3
    assert site.raw_files() == {"Polytech/Polytech_010124_110000.txt"}


def test_a_file_whose_bytes_the_archive_does_not_give_stays(site: Any) -> None:
    site.products()
    files = source_files.c
    with write(site.store.data) as connection:
        lost = update(source_files).where(files.path.like("Polytech/%"))
        connection.execute(lost.values(raw_ref="rain/polytech/2024-01-01/lost.txt:0"))
    report = site.clear()
    assert report.moved == 2
    assert why_kept(report) == {"the raw archive does not give its rows"}


def test_clearing_twice_changes_nothing(site: Any) -> None:
    site.products()
    site.clear()
    before = site.files()
    again = site.clear()
    assert (again.moved, again.kept, site.files()) == (0, [], before)


def test_what_was_cleared_stays_in_store_and_products_when_all_is_rebuilt(site: Any) -> None:
    site.products()
    site.clear()
    before = site.files("products")
    site.capture()
    site.calibrate()
    site.products(rebuild=True)
    assert site.files("products") == before
    assert all(product.uploaded for product in list_products(site.store))


def test_a_product_that_went_out_of_date_keeps_new_files_only(site: Any) -> None:
    site.products()
    with write(site.store.data) as connection:
        connection.execute(
            update(rain_products)
            .where(rain_products.c.year == 2023)
            .values(fingerprint="of other rows")
        )
    report = site.clear()
    assert report.moved == 2
    assert [path for path, _ in report.kept] == ["Hydropolis/Hydropol_311223_235700.txt"]


def test_one_run_moves_no_more_than_a_slice(site: Any) -> None:
    site.configure(slice_files=2, **CLEARS)
    site.products()
    assert [site.clear().moved, site.clear().moved] == [2, 1]
    assert site.raw_files() == set()
