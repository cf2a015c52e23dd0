"""The folder of published files follows the pointers, and nothing but them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from workspace_lib.store.engines import Store, write
from workspace_lib.store.publications import (
    load_published,
    publish_run,
    record,
    withdraw,
    write_artefact,
)
from workspace_lib.store.published_files import lay_out

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
Publish = Callable[..., None]


@pytest.fixture
def publish(store: Store) -> Publish:
    """Publish values by name as one run."""

    def do(run_id: str, **things: Any) -> None:
        folder = store.outputs / "runs" / run_id / "1" / "artefacts"
        with write(store.control) as connection:
            for name, thing in things.items():
                name = name.replace("__", ".").replace("_of_", "/")
                made = write_artefact(
                    store.outputs, name, thing, run_id=run_id, attempt=1, folder=folder, as_of=NOW
                )
                record(connection, made, NOW)
            publish_run(connection, run_id, 1, NOW)

    return do


def names(store: Store) -> list[str]:
    root = store.outputs / "published"
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(name for name in found if not name.startswith("."))


def test_people_find_the_files_by_their_names(store: Store, publish: Publish) -> None:
    publish("a", rain__sums=pd.DataFrame({"x": [1.0]}), rain__line_of_east={"km": 3})
    assert sorted(lay_out(store)) == ["rain.line/east", "rain.sums"]
    assert names(store) == [
        "rain.line/east.json",
        "rain.line/east.manifest.json",
        "rain.sums.manifest.json",
        "rain.sums.parquet",
    ]
    root = store.outputs / "published"
    assert pd.read_parquet(root / "rain.sums.parquet")["x"].tolist() == [1.0]
    assert json.loads((root / "rain.sums.manifest.json").read_text())["run_id"] == "a"
    assert lay_out(store) == []


def test_a_newer_run_takes_the_place_also_in_another_form(store: Store, publish: Publish) -> None:
    publish("a", rain__sums=pd.DataFrame({"x": [1.0]}), rain__other=1)
    lay_out(store)
    publish("b", rain__sums={"x": 2})
    assert lay_out(store, run_id="b") == ["rain.sums"]
    assert names(store) == [
        "rain.other.json",
        "rain.other.manifest.json",
        "rain.sums.json",
        "rain.sums.manifest.json",
    ]
    content = (store.outputs / "published" / "rain.sums.json").read_text()
    assert json.loads(content) == {"x": 2}


def test_what_is_withdrawn_goes_and_what_is_not_ours_stays(store: Store, publish: Publish) -> None:
    publish("a", rain__sums=1, rain__other=2)
    lay_out(store)
    (store.outputs / "published" / "notes.txt").write_text("of somebody")
    with write(store.control) as connection:
        withdraw(connection, "rain.sums", NOW)
    assert lay_out(store) == ["rain.sums"]
    assert names(store) == ["notes.txt", "rain.other.json", "rain.other.manifest.json"]


def test_a_copy_that_somebody_changed_harms_no_reader(store: Store, publish: Publish) -> None:
    publish("a", rain__sums={"x": 1})
    lay_out(store)
    (store.outputs / "published" / "rain.sums.json").write_text("spoilt")
    assert load_published(store, "rain.sums").data == {"x": 1}


def test_a_file_that_is_gone_does_not_keep_the_others(
    store: Store, publish: Publish, caplog: pytest.LogCaptureFixture
) -> None:
    publish("a", rain__a=1, rain__b=2)
    Path(load_published(store, "rain.a").path).unlink()
    with caplog.at_level(logging.WARNING):
        assert lay_out(store) == ["rain.b"]
    assert "rain.a cannot be laid out" in caplog.text
    assert names(store) == ["rain.b.json", "rain.b.manifest.json"]
