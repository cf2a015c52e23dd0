"""The full check finds what is wrong, says it in sentences, and changes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from workspace_lib.rain.check_report import CheckReport
from workspace_lib.rain.checking import check
from workspace_lib.rain.product_ledger import list_products
from workspace_lib.rain.tables import rain_depths
from workspace_lib.store.engines import write

pytestmark = pytest.mark.server

DAY = datetime(2024, 1, 10, tzinfo=UTC)
H_TREATED = "products/Hydropolis/2024/Hydropolis_treated_2024.csv"


@pytest.fixture
def site(served_site: Any) -> Any:
    """A site in order: whole days of two calibrated gauges, all made and sent."""
    path = served_site.settings.site_dir / "calibrations.yml"
    one = path.read_text()
    path.write_text(one + one.split("\n", 1)[1].replace("hydropolis", "polytech"))
    for gauge in ("Hydropolis", "Polytech"):
        served_site.deliver(gauge, DAY - timedelta(days=1), *[0] * 2000, 3, 1)
    served_site.now = DAY + timedelta(hours=9, minutes=30)
    served_site.capture()
    served_site.calibrate()
    served_site.products()
    served_site.now += timedelta(hours=3)
    return served_site


def checked(site: Any, **options: Any) -> CheckReport:
    return check(
        site.store, site.settings, **{"now": site.now, "days": 1, "tolerated": 0.2, **options}
    )


def test_a_site_in_order_is_sound(site: Any) -> None:
    report = checked(site)
    assert report.sentences == ()
    assert (report.sound, report.state) == (True, "good")
    assert report.summary == "Nothing is lost or damaged, and there is nothing to look after."
    assert (report.listed, report.known) == (2, 2)
    assert report.products == report.products_on_server == report.hashes_read == 16


def test_the_report_can_be_published(site: Any) -> None:
    site.tree.remove("/" + H_TREATED)
    content = json.loads(json.dumps(checked(site).to_dict()))
    assert (content["sound"], content["state"]) == (False, "bad")
    assert content["summary"] == "Something is lost, damaged or out of reach: 1 finding."
    assert content["trouble"] == content["sentences"][0]


def test_a_file_that_nobody_noticed_is_found(site: Any) -> None:
    path = site.deliver("Polytech", DAY - timedelta(days=3), 1)
    assert f"Files on the server that were never noticed: 1 ({path})." in checked(site).sentences


def test_a_file_that_has_just_come_is_on_its_way(site: Any) -> None:
    site.deliver("Polytech", site.now - timedelta(minutes=20), 1)
    assert checked(site).sound


def test_a_file_that_grew_after_it_was_read_is_found(site: Any) -> None:
    path = next(iter(site.raw_files()))
    site.tree.put(f"/{path}", b"longer " + site.tree.get(f"/{path}").content, 0.0)
    assert (
        f"Files with another size than when they were read: 1 ({path})." in checked(site).sentences
    )


def test_files_that_are_gone_are_told_and_are_no_fault(site: Any) -> None:
    path = sorted(site.raw_files())[0]
    site.tree.remove(f"/{path}")
    report = checked(site)
    assert report.sound
    assert "Files no longer on the server" in report.sentences[0]


def test_files_in_quarantine_are_told(site: Any) -> None:
    site.tree.put("/Polytech/Polytech_090124_235900.txt", b"", 0.0)
    site.capture()
    report = checked(site)
    assert report.sound
    assert "Files in quarantine" in report.sentences[0]


def test_files_that_wait_to_be_read_since_long_are_found(site: Any) -> None:
    site.deliver("Polytech", DAY - timedelta(days=3), 1)
    site.configure(stable_after_s=10**9)
    site.capture()
    site.now += timedelta(hours=3)
    assert "Files that have been waiting to be read for hours: 1" in checked(site).sentences[0]


def test_a_product_that_is_gone_from_the_server_is_found(site: Any) -> None:
    site.tree.remove("/" + H_TREATED)
    report = checked(site)
    assert report.sentences == (
        "Yearly files gone from the server: 1 (Hydropolis_treated_2024.csv).",
    )


@pytest.mark.parametrize(("hashes", "sound"), [(True, False), (False, True)])
def test_a_product_that_was_changed_on_the_server_is_found_by_its_hash(
    site: Any, hashes: bool, sound: bool
) -> None:
    content = site.tree.get("/" + H_TREATED).content
    site.tree.put("/" + H_TREATED, content.replace(b"2024", b"2O24"))
    report = checked(site, hashes=hashes)
    assert report.sound is sound
    assert sound or "not on the server as they were sent" in report.sentences[0]


def test_a_product_cut_short_on_the_server_is_found_by_its_size(site: Any) -> None:
    site.tree.put("/" + H_TREATED, site.tree.get("/" + H_TREATED).content[:-5])
    assert "not on the server as they were sent" in checked(site, hashes=False).sentences[0]


def test_a_product_that_was_changed_here_is_found(site: Any) -> None:
    product = list_products(site.store, "polytech", 2024, "concatenated")[0]
    (site.store.outputs / product.path).write_bytes(b"spoilt")
    assert checked(site).sentences == (
        "Yearly files gone from the outputs, or changed there: 1 (Polytech_concatenated_2024.csv).",
    )


def test_products_that_lack_rows_are_found_after_a_while(site: Any) -> None:
    site.deliver("Polytech", DAY - timedelta(days=2), *[1] * 10)
    site.capture()
    site.calibrate()
    sentences = checked(site).sentences
    assert any(
        "Yearly files that lack the newest rows or calibrations: 10" in sentence
        for sentence in sentences
    )


def test_products_that_were_never_made_are_found(site: Any) -> None:
    site.deliver("Polytech", DAY - timedelta(days=500), 1)
    site.capture()
    site.calibrate()
    assert "Yearly files that were never made: 10" in checked(site).sentences[0]


def test_products_that_were_not_sent_are_found(site: Any) -> None:
    site.products(rebuild=True, upload=False, now=site.now - timedelta(hours=3))
    assert "Yearly files that were made and not sent: 16" in checked(site).sentences[0]


def test_days_without_depths_are_found(site: Any) -> None:
    with write(site.store.data) as connection:
        connection.execute(delete(rain_depths).where(rain_depths.c.gauge == "polytech"))
    sentences = checked(site).sentences
    assert "Polytech: days with rows not calibrated yet: 2 (2024-01-09, 2024-01-10)." in sentences


def test_days_without_a_calibration_in_force_are_found(site: Any) -> None:
    path = site.settings.site_dir / "calibrations.yml"
    path.write_text(path.read_text().replace("2004-01-01T00:00:00Z", "2024-01-10T00:00:00Z"))
    site.calibrate()
    site.products()
    report = checked(site)
    assert report.sound
    assert report.sentences[1] == "Polytech: days with nominal depths: 2 (2024-01-09, 2024-01-10)."
    rain = site.settings.wings["rain"] | {"uncalibrated": "refuse"}
    site.settings = site.settings.model_copy(update={"wings": {"rain": rain}})
    site.calibrate()
    site.products()
    report = checked(site)
    assert report.state == "attention"
    assert report.sentences[1].startswith("Polytech: days without a calibration: 2")


def test_missing_time_is_told_with_its_longest_gap(site: Any) -> None:
    assert checked(site, tolerated=0.1).sentences[0] == (
        "Hydropolis: no data for 13% of the last day; the longest gap lasted 3.1 h, from "
        "2024-01-10 09:21 to 2024-01-10 12:30 UTC."
    )


def test_gaps_are_to_be_looked_after_and_make_nothing_unsound(site: Any) -> None:
    report = checked(site, tolerated=0.1)
    assert (report.state, report.sound) == ("attention", True)
    assert report.summary == "Nothing is lost or damaged; 2 findings to look after."
    site.tree.remove("/" + H_TREATED)
    report = checked(site, tolerated=0.1)
    assert (report.state, report.sound) == ("bad", False)
    assert report.summary.endswith("1 finding, and 2 findings to look after.")


def test_a_gauge_without_rows_is_found(site: Any) -> None:
    path = site.settings.site_dir / "gauges.yml"
    path.write_text(path.read_text() + "- {id: triolet, name: Triolet, folder: Triolet}\n")
    assert "Triolet: no data at all." in checked(site).sentences


def test_a_server_that_is_away_is_a_finding_and_the_rest_is_checked(site: Any) -> None:
    site.server.stop()
    with write(site.store.data) as connection:
        connection.execute(delete(rain_depths).where(rain_depths.c.gauge == "polytech"))
    sentences = checked(site).sentences
    assert sentences[0].startswith("The source rain was not listed: ")
    assert any("Yearly files on rain not compared" in sentence for sentence in sentences)
    assert any("not calibrated yet" in sentence for sentence in sentences)


def test_what_interrupted_uploads_left_is_told(site: Any) -> None:
    site.tree.put("/products/network/2024/x.npz.1234abcd.part", b"half", 0.0)
    report = checked(site)
    assert report.sound
    assert "Unfinished uploads that can be removed: 1" in report.sentences[0]


def test_a_check_changes_nothing(site: Any) -> None:
    before, products = site.files(), list_products(site.store)
    checked(site)
    assert (site.files(), list_products(site.store)) == (before, products)
