"""Yearly products: made of what the store holds, sent to a real FTP server, and not twice."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.io
import yaml

from workspace_lib.errors import ConfigError, ParameterError, SourceError
from workspace_lib.rain import products as products_module
from workspace_lib.rain.matrices import read_matrix
from workspace_lib.rain.matrix_files import encode, load_matrix
from workspace_lib.rain.product_ledger import NETWORK, list_products, product_file
from workspace_lib.rain.settings import load_network
from workspace_lib.rain.yearly_readers import parse_yearly

pytestmark = pytest.mark.server

NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
HEADER = "Station,Timestamp,Rain,Wind,Battery,Year"
OF_A_GAUGE = {
    "{g}_concatenated_{y}.csv",
    "{g}_treated_{y}.csv",
    "{g}_sparse_{y}.h5",
    "{g}_sparse_{y}.mtx",
    "{g}_sparse_tips_{y}.mtx",
    "{g}_sparse_{y}.npz",
}


@pytest.fixture
def site(served_site: Any) -> Any:
    """Rain of two gauges around New Year, captured and calibrated."""
    served_site.deliver("Hydropolis", NEW_YEAR - timedelta(minutes=3), 1, 2, 3, 4, 5)
    served_site.deliver("Polytech", NEW_YEAR + timedelta(hours=6), 0, 0, 7)
    served_site.capture()
    served_site.calibrate()
    return served_site


def csv(content: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(content))


def test_every_year_gets_the_files_of_each_gauge_and_of_the_network(site: Any) -> None:
    report = site.products()
    expected = {
        f"{gauge}/{year}/{name.format(g=gauge, y=year)}"
        for gauge, year in (("Hydropolis", 2023), ("Hydropolis", 2024), ("Polytech", 2024))
        for name in OF_A_GAUGE
    } | {
        f"network/{year}/{name.format(g='network', y=year)}"
        for year in (2023, 2024)
        for name in OF_A_GAUGE
        if name.endswith((".h5", ".mtx", ".npz"))
    }
    assert set(site.files("products")) == expected
    assert report.complete
    assert (report.made, report.sent, report.years) == (len(expected), len(expected), (2023, 2024))


def test_what_is_sent_is_what_lies_in_the_outputs(site: Any) -> None:
    site.products()
    found = site.files("products")
    for product in list_products(site.store):
        path = (product.target or "").removeprefix("rain:products/")
        assert product_file(site.store, product).read_bytes() == found[path]
        assert not Path(product.path).is_absolute()


def test_the_concatenated_file_has_the_header_and_counts_that_consumers_know(site: Any) -> None:
    site.products()
    content = site.files("products")["Hydropolis/2023/Hydropolis_concatenated_2023.csv"]
    first = int((NEW_YEAR - timedelta(minutes=3)).timestamp())
    assert content.decode().splitlines() == [
        HEADER,
        f"Hydropolis,{first},1,0,12.226,2023",
        f"Hydropolis,{first + 60},2,0,12.226,2023",
        f"Hydropolis,{first + 120},3,0,12.226,2023",
    ]


def test_the_row_of_midnight_is_in_the_file_of_the_new_year(site: Any) -> None:
    site.products()
    content = site.files("products")["Hydropolis/2024/Hydropolis_concatenated_2024.csv"]
    found = csv(content)
    assert found["Rain"].tolist() == [4, 5]
    assert found["Timestamp"].iloc[0] == NEW_YEAR.timestamp()


def test_the_treated_file_holds_calibrated_millimetres(site: Any) -> None:
    site.products()
    found = csv(site.files("products")["Hydropolis/2023/Hydropolis_treated_2023.csv"])
    counts = np.array([1, 2, 3])
    assert list(found.columns) == HEADER.split(",")
    expected = 0.2 * (0.0008 * counts**2 + 1.0761 * counts)
    assert found["Rain"].to_numpy() == pytest.approx(expected, abs=1e-9)
    nominal = csv(site.files("products")["Polytech/2024/Polytech_treated_2024.csv"])
    assert nominal["Rain"].to_numpy() == pytest.approx([0, 0, 1.4])


def test_our_own_yearly_files_are_read_back_by_our_reader(site: Any) -> None:
    site.products()
    files = site.files("products")
    name = "Hydropolis_concatenated_2023.csv"
    parsed = parse_yearly(files[f"Hydropolis/2023/{name}"], name)
    assert (parsed.unit, parsed.rows["tips"].tolist(), parsed.bad) == ("tips", [1, 2, 3], 0)
    name = "Hydropolis_treated_2023.csv"
    parsed = parse_yearly(files[f"Hydropolis/2023/{name}"], name)
    assert (parsed.unit, len(parsed.rows), parsed.bad) == ("mm", 3, 0)


def test_the_header_of_real_files_is_ours(site: Any, real_data: Path) -> None:
    site.products()
    files = site.files("products")
    for kind in ("concatenated", "treated"):
        real = (real_data / f"rain/hsm/Hydropolis_{kind}_2004.csv").read_text().splitlines()
        ours = files[f"Hydropolis/2023/Hydropolis_{kind}_2023.csv"].decode().splitlines()
        assert ours[0] == real[0]
        assert len(ours[1].split(",")) == len(real[1].split(","))


def test_columns_can_say_themselves_what_is_in_them(site: Any) -> None:
    site.configure(products={"columns": "named"})
    site.products()
    files = site.files("products")
    first = files["Hydropolis/2023/Hydropolis_concatenated_2023.csv"].splitlines()[0]
    assert first == b"gauge,timestamp_s,tips,wind,battery_v,year"
    first = files["Hydropolis/2023/Hydropolis_treated_2023.csv"].splitlines()[0]
    assert first == b"gauge,timestamp_s,rain_mm,wind,battery_v,year"


def test_the_matrix_of_the_network_has_all_gauges_and_both_values(
    site: Any, tmp_path: Path
) -> None:
    site.products()
    path = tmp_path / "network.npz"
    path.write_bytes(site.files("products")["network/2024/network_sparse_2024.npz"])
    matrix = load_matrix(path)
    assert matrix.gauges == ("hydropolis", "polytech")
    assert matrix.tips.toarray().sum(axis=1).tolist() == [9, 7]
    assert matrix.tips[0, 0] == 4
    assert matrix.rain_mm.nnz == matrix.tips.nnz == 3
    assert matrix.calibrated
    assert matrix.covered("polytech").sum() == 3
    mtx = site.files("products")["Polytech/2024/Polytech_sparse_2024.mtx"]
    assert scipy.io.mmread(io.BytesIO(mtx), spmatrix=False).sum() == pytest.approx(1.4)


def test_unchanged_products_are_neither_made_nor_sent_again(site: Any) -> None:
    site.products()
    before = {product.key: product for product in list_products(site.store)}
    report = site.products(now=site.now + timedelta(hours=1))
    assert (report.made, report.sent, report.unchanged) == (0, 0, len(before))
    assert {product.key: product for product in list_products(site.store)} == before


def test_late_files_touch_their_own_year_only(site: Any) -> None:
    site.products()
    site.deliver("Polytech", datetime(2022, 5, 1, tzinfo=UTC), 3)
    site.capture()
    site.calibrate()
    report = site.products()
    assert report.years == (2022,)
    assert "Polytech/2022/Polytech_concatenated_2022.csv" in site.files("products")


def test_a_late_last_row_of_december_corrects_the_first_depth_of_january(served_site: Any) -> None:
    """Also if products are made between its capture and its calibration."""
    treated = "Hydropolis/2024/Hydropolis_treated_2024.csv"
    served_site.deliver("Hydropolis", NEW_YEAR, 5)
    served_site.capture()
    served_site.calibrate()
    served_site.products()
    first = csv(served_site.files("products")[treated])["Rain"].iloc[0]
    assert first == pytest.approx(0.2 * (0.0008 * 5**2 + 1.0761 * 5))
    served_site.deliver("Hydropolis", NEW_YEAR - timedelta(seconds=40), 0)
    served_site.capture()
    served_site.products()
    served_site.calibrate()
    assert served_site.products().years == (2023, 2024)
    first = csv(served_site.files("products")[treated])["Rain"].iloc[0]
    assert first == pytest.approx(0.2 * (0.0008 * 7.5**2 + 1.0761 * 7.5) * 40 / 60)


def test_another_step_makes_depths_and_products_again(served_site: Any) -> None:
    """Also if products are made between the change and the next calibration."""
    treated = "Hydropolis/2024/Hydropolis_treated_2024.csv"
    served_site.deliver("Hydropolis", NEW_YEAR, 6)
    served_site.capture()
    served_site.calibrate()
    served_site.products()
    path = served_site.settings.site_dir / "gauges.yml"
    gauges = yaml.safe_load(path.read_text())
    gauges["gauges"][0]["step_s"] = 120
    path.write_text(yaml.safe_dump(gauges))
    served_site.products()
    served_site.calibrate()
    served_site.products()
    first = csv(served_site.files("products")[treated])["Rain"].iloc[0]
    assert first == pytest.approx(0.2 * (0.0008 * 3**2 + 1.0761 * 3) * 2)


def test_a_new_calibration_makes_depths_again_and_leaves_counts(site: Any) -> None:
    site.products()
    path = site.settings.site_dir / "calibrations.yml"
    path.write_text(path.read_text().replace("1.0761", "1.5"))
    site.calibrate()
    report = site.products()
    made = {
        product.kind
        for product in list_products(site.store, "hydropolis")
        if product.written == site.now
    }
    assert report.made == 18
    assert "treated" in made
    found = csv(site.files("products")["Hydropolis/2024/Hydropolis_treated_2024.csv"])
    assert found["Rain"].iloc[0] == pytest.approx(0.2 * (0.0008 * 16 + 1.5 * 4))


def test_rebuild_makes_and_sends_everything_again_with_the_same_bytes(site: Any) -> None:
    site.products()
    before = site.files("products")
    report = site.products(rebuild=True)
    assert report.made == report.sent == len(before)
    assert site.files("products") == before


def test_a_rebuild_that_did_not_get_to_the_end_is_gone_on_with(site: Any) -> None:
    site.products()
    report = site.products(rebuild=True, minutes=-1)
    assert (report.made, report.left) == (0, 26)
    report = site.products()
    assert (report.made, report.sent) == (26, 26)


def test_a_year_and_a_gauge_can_be_chosen(site: Any) -> None:
    report = site.products(gauges="hydropolis", years="2023")
    assert {(one.gauge, one.year) for one in list_products(site.store)} == {
        ("hydropolis", 2023),
        (NETWORK, 2023),
    }
    assert report.complete
    with pytest.raises(ParameterError, match="no years"):
        site.products(years="last")


def test_a_file_that_was_lost_from_the_outputs_is_made_again(site: Any) -> None:
    site.products()
    lost = list_products(site.store, "hydropolis", 2023, "treated")[0]
    (site.store.outputs / lost.path).unlink()
    report = site.products()
    assert (report.made, report.sent) == (1, 0)
    assert product_file(site.store, lost).read_bytes()


def test_without_a_server_the_products_are_made_and_stay_here(site: Any) -> None:
    site.configure(products={"source": None})
    report = site.products()
    assert report.complete
    assert (report.sent, site.files("products")) == (0, {})
    assert report.made == 26


def test_what_was_made_without_a_server_is_sent_once_there_is_one(site: Any) -> None:
    site.configure(products={"source": None})
    site.products()
    site.configure()
    report = site.products()
    assert (report.sent, len(site.files("products"))) == (26, 26)


def test_another_folder_gets_everything_anew(site: Any) -> None:
    site.products()
    site.configure(products={"folder": "yearly/{year}"})
    report = site.products()
    assert report.sent == 26
    assert "yearly/2023/Hydropolis_treated_2023.csv" in site.files("products")


def test_a_server_without_an_upload_folder_is_a_mistake_of_the_site(site: Any) -> None:
    site.configure(upload_folder=None)
    with pytest.raises(ConfigError, match="takes no uploads"):
        site.products()


def test_a_folder_with_an_unknown_word_is_a_mistake_of_the_site(site: Any) -> None:
    site.configure(products={"folder": "{month}"})
    with pytest.raises(ConfigError, match=r"only \{gauge\} and \{year\}"):
        site.products()


def test_products_are_not_taken_for_raw_files(site: Any) -> None:
    site.products()
    site.capture()
    site.calibrate()
    assert site.products().made == 0


def test_what_could_not_be_sent_is_sent_by_the_next_run(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = products_module.open_source

    def breaks(*arguments: Any, **options: Any) -> Any:
        source = opened(*arguments, **options)
        upload = source.upload

        def refuse(path: str, content: Any) -> None:
            if path.endswith(".h5"):
                raise SourceError("The server is full.")
            upload(path, content)

        source.upload = refuse
        return source

    with monkeypatch.context() as patch:
        patch.setattr(products_module, "open_source", breaks)
        report = site.products()
    assert not report.complete
    assert (len(report.failed), report.waiting) == (5, 5)
    assert "5 files could not be made or sent" in report.trouble
    report = site.products()
    assert (report.made, report.sent, report.complete) == (0, 5, True)


def test_a_server_that_is_away_keeps_nothing_from_being_made(site: Any) -> None:
    site.server.stop()
    with pytest.raises(SourceError):
        site.products()
    assert len(list_products(site.store)) == 26
    assert all(product.uploaded is None for product in list_products(site.store))


def test_rows_that_nobody_has_calibrated_yet_are_made_and_pointed_out(site: Any) -> None:
    site.deliver("Polytech", NEW_YEAR + timedelta(hours=7), 3)
    site.capture()
    report = site.products()
    assert report.days_without_depth == {"polytech": 1}
    assert "days without calibrated depths: polytech 1" in report.trouble
    content = site.files("products")["Polytech/2024/Polytech_treated_2024.csv"].decode()
    assert ",,0,12.226,2024" in content
    site.calibrate()
    assert site.products().made > 0
    assert (
        ",,0,12.226,2024"
        not in site.files("products")["Polytech/2024/Polytech_treated_2024.csv"].decode()
    )


def test_a_store_without_rows_has_no_products(served_site: Any) -> None:
    report = served_site.products()
    assert (report.made, report.sent, report.complete) == (0, 0, True)
    assert report.to_dict()["clearing"]["allowed"] is False


def test_two_gauges_may_not_write_the_same_files(
    served_site: Any, make_site: Callable[..., Any]
) -> None:
    path = served_site.settings.site_dir / "gauges.yml"
    path.write_text("gauges: [{id: a, name: A, folder: x/y}, {id: b, name: B, folder: x_y}]")
    with pytest.raises(ConfigError, match="files of the same name"):
        served_site.products()


def test_a_run_that_is_over_leaves_the_rest_to_the_next_one(site: Any) -> None:
    report = site.products(minutes=-1)
    assert (report.made, report.left, report.complete) == (0, 26, False)
    assert "26 files are left to be made" in report.trouble
    assert site.products(upload=False).made == 26
    report = site.products(minutes=-1)
    assert (report.left, report.sent, report.waiting) == (0, 0, 26)
    assert site.products().sent == 26


def test_analysts_make_the_matrix_of_a_year_from_the_store(site: Any, tmp_path: Path) -> None:
    site.products()
    gauges = load_network(site.settings).gauges
    matrix = read_matrix(site.store, gauges, 2024)
    path = tmp_path / "x.npz"
    path.write_bytes(site.files("products")["network/2024/network_sparse_2024.npz"])
    assert encode(matrix, ".npz") == path.read_bytes()
    one = read_matrix(site.store, gauges[1:], 2024)
    assert encode(one, ".npz") == encode(load_matrix(path).row("polytech"), ".npz")


def test_real_raw_files_become_yearly_files(served_site: Any, real_data: Path) -> None:
    lines = []
    for path in sorted((real_data / "rain/hsm").glob("Hydropol_*.txt")):
        served_site.tree.put(f"/Hydropolis/{path.name}", path.read_bytes(), 1.0)
        lines += path.read_text().splitlines()
    served_site.capture()
    served_site.calibrate()
    served_site.products()
    sent = served_site.files("products")
    found = csv(sent["Hydropolis/2023/Hydropolis_concatenated_2023.csv"])
    expected = [[float(text) for text in line.split(",")[1:]] for line in lines]
    assert found[["Timestamp", "Rain", "Wind", "Battery"]].to_numpy().tolist() == expected
    assert set(found["Station"]) == {"Hydropolis"}


def test_a_real_yearly_file_of_old_goes_through_the_chain_and_comes_out_the_same(
    served_site: Any, real_data: Path
) -> None:
    served_site.configure(folder="/")
    folder = served_site.settings.site_dir
    gauges = yaml.safe_load((folder / "gauges.yml").read_text())
    gauges["gauges"].append({"id": "mse", "name": "Mse", "folder": "Mse", "mm_per_tip": 0.2})
    (folder / "gauges.yml").write_text(yaml.safe_dump(gauges))
    wings = {"rain": served_site.settings.wings["rain"] | {"history_folders": ["history"]}}
    served_site.settings = served_site.settings.model_copy(update={"wings": wings})
    old = (real_data / "rain/hsm/Mse_concatenated_2024_first30.csv").read_bytes()
    served_site.tree.put("/history/Mse_concatenated_2024.csv", old, 1.0)
    served_site.capture()
    served_site.calibrate()
    assert served_site.products().complete
    found = csv(served_site.files("products")["Mse/2024/Mse_concatenated_2024.csv"])
    columns = ["Timestamp", "Rain", "Wind", "Battery", "Year"]
    assert found[columns].to_numpy().tolist() == csv(old)[columns].to_numpy().tolist()
    matrix = read_matrix(served_site.store, load_network(served_site.settings).gauges, 2024)
    assert matrix.covered("mse")[:31].tolist() == [*[True] * 30, False]
    assert matrix.tips.nnz == 0
