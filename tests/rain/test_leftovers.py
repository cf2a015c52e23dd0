"""What killed runs have left beside the products goes after a day, and nothing else does."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.rain.leftovers import sweep_folders, sweep_server
from workspace_lib.transports.file_source import open_source

NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
CSV = "products/Hydropolis/2024/Hydropolis_treated_2024.csv"


@pytest.fixture
def site(served_site: Any) -> Any:
    served_site.deliver("Hydropolis", NEW_YEAR + timedelta(hours=1), 1, 2)
    served_site.capture()
    served_site.calibrate()
    served_site.products()
    return served_site


def put(site: Any, path: str, age: timedelta) -> str:
    site.tree.put(f"/{path}", b"half", (site.now - age).timestamp())
    return path


def new_rows(site: Any) -> None:
    site.deliver("Hydropolis", site.now - timedelta(hours=1), 3)
    site.capture()
    site.calibrate()


@pytest.mark.server
def test_an_unfinished_upload_is_removed_once_it_is_a_day_old(site: Any) -> None:
    part = put(site, f"{CSV}.12ab34cd.part", timedelta(minutes=5))
    new_rows(site)
    assert site.products().swept == 0
    assert part in site.files()
    site.now += timedelta(days=1)
    new_rows(site)
    assert site.products().swept == 1
    assert part not in site.files()
    assert CSV in site.files()


@pytest.mark.server
def test_what_is_not_to_become_one_of_our_files_stays(site: Any) -> None:
    old = timedelta(days=9)
    others = {
        put(site, "products/Hydropolis/2024/someone_elses.csv.12ab34cd.part", old),
        put(site, f"{CSV}.part", old),
        put(site, f"{CSV}.copy.part", old),
        put(site, "products/Hydropolis/2024/notes.txt", old),
    }
    new_rows(site)
    assert site.products().swept == 0
    assert others <= site.files().keys()


@pytest.mark.server
def test_a_folder_that_cannot_be_listed_fails_nothing(
    site: Any, caplog: pytest.LogCaptureFixture
) -> None:
    part = put(site, f"{CSV}.12ab34cd.part", timedelta(days=2))
    with (
        open_source(site.settings, "rain") as remote,
        caplog.at_level(logging.WARNING, "workspace_lib.rain.leftovers"),
    ):
        assert sweep_server(remote, ["nowhere/x.csv", CSV], site.now) == 1
    assert part not in site.files()
    assert "nowhere" in caplog.text


def test_a_file_that_was_never_finished_here_is_removed_once_it_is_a_day_old(
    tmp_path: Path,
) -> None:
    product = tmp_path / "x.csv"
    left, young, other = (
        tmp_path / name
        for name in (".x.csv.12ab34cd.part", ".x.csv.00ab34cd.part", ".y.csv.12ab34cd.part")
    )
    for path in (product, left, young, other):
        path.write_bytes(b"")
        age = 2 if path != young else 0.9
        then = (NEW_YEAR - timedelta(days=age)).timestamp()
        os.utime(path, (then, then))
    assert sweep_folders([product], NEW_YEAR) == 1
    assert sorted(tmp_path.iterdir()) == sorted([product, young, other])
