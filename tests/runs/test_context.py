"""The run a notebook sees: a draft by hand, the runner's run when scheduled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import workspace_lib
from workspace_lib import logs, secrets
from workspace_lib.errors import ConfigError, PublishError
from workspace_lib.runs import context, state
from workspace_lib.runs.context import InputMissing, RunContext, clean_drafts
from workspace_lib.settings import Settings
from workspace_lib.store import publications
from workspace_lib.store.engines import Store, read, write

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _fresh_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the run of this process before and after each test."""
    monkeypatch.setattr(context, "_current", None)
    monkeypatch.setattr(publications, "_drafts", {})
    monkeypatch.setattr(secrets, "_known", set())
    monkeypatch.setattr(secrets, "_providers", [])
    state.kernel_state.cache_clear()
    before = list(logs.logging.getLogger(logs.LOGGER).handlers)
    yield
    state.kernel_state.cache_clear()
    for handler in list(logs.logging.getLogger(logs.LOGGER).handlers):
        if handler not in before:
            logs.logging.getLogger(logs.LOGGER).removeHandler(handler)
            handler.close()


@pytest.fixture
def by_hand(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> RunContext:
    """The run of a notebook that somebody runs in the workspace."""
    monkeypatch.chdir(settings.root / "notebooks")
    monkeypatch.setenv("WORKSPACE_SITE", settings.site_name)
    return workspace_lib.current_run()


@pytest.fixture
def scheduled(
    settings: Settings, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> RunContext:
    """The run of a notebook that the runner has started."""
    folder = settings.outputs_dir / "runs" / "r1" / "1"
    folder.mkdir(parents=True)
    about = {
        "run_id": "r1",
        "attempt": 1,
        "job": "rain_sums",
        "slot": "2026-03-01T12:00:00Z",
        "slot_at": "2026-03-01T12:00:00Z",
        "parameters": {"gauges": ["a"]},
        "folder": str(folder),
        "log": str(tmp_path / "run.log"),
        "fresh_for_s": 60.0,
        "holder": "r1:1",
    }
    (tmp_path / "run.json").write_text(json.dumps(about))
    monkeypatch.setenv("WORKSPACE_ROOT", str(settings.root))
    monkeypatch.setenv("WORKSPACE_SITE", str(settings.site_dir))
    monkeypatch.setenv(context.RUN_FILE_VARIABLE, str(tmp_path / "run.json"))
    monkeypatch.setenv(state.STATE_VARIABLE, str(folder / "state.json"))
    return workspace_lib.current_run()


def test_by_hand_it_is_a_draft_that_only_this_session_loads(
    by_hand: RunContext, settings: Settings, store: Store
) -> None:
    assert (by_hand.is_draft, by_hand.slot, by_hand.attempt) == (True, None, 0)
    by_hand.publish("rain.sums", {"total": 1}, unit="mm")
    draft = workspace_lib.load_published("rain.sums")
    assert (draft.data, draft.is_draft) == ({"total": 1}, True)
    assert by_hand.folder.parent == settings.outputs_dir / "drafts"
    assert draft.path.is_relative_to(by_hand.folder)
    with read(store.control) as connection:
        assert publications.artefacts_of_run(connection, by_hand.run_id, 0) == []

    elsewhere = subprocess.run(
        [sys.executable, "-c", "import workspace_lib; workspace_lib.load_published('rain.sums')"],
        cwd=settings.root / "notebooks",
        env={**os.environ, "WORKSPACE_SITE": settings.site_name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "never published" in elsewhere.stderr


def test_the_same_run_is_returned_again(by_hand: RunContext) -> None:
    assert workspace_lib.current_run() is by_hand


def test_scheduled_it_knows_its_slot_parameters_and_holder(scheduled: RunContext) -> None:
    assert not scheduled.is_draft
    assert scheduled.slot == NOW
    assert scheduled.parameters == {"gauges": ["a"]}
    assert scheduled.holder.id == "r1:1"
    assert scheduled.job == "rain_sums"


def test_scheduled_publications_are_recorded_but_not_published_yet(
    scheduled: RunContext, store: Store
) -> None:
    scheduled.publish("rain.sums", {"total": 1})
    with read(store.control) as connection:
        assert [a.name for a in publications.artefacts_of_run(connection, "r1", 1)] == ["rain.sums"]
    with pytest.raises(InputMissing, match="never published"):
        workspace_lib.load_published("rain.sums")
    with write(store.control) as connection:
        publications.publish_run(connection, "r1", 1, NOW)
    assert workspace_lib.load_published("rain.sums").fresh_for_s == 60.0


def test_what_is_loaded_and_named_stands_in_the_manifest_of_what_is_published(
    scheduled: RunContext, store: Store, tmp_path: Path
) -> None:
    scheduled.publish("rain.tips", 5)
    with write(store.control) as connection:
        publications.publish_run(connection, "r1", 1, NOW)
    workspace_lib.load_published("rain.tips")
    (tmp_path / "calibration.csv").write_text("a;1\n")
    scheduled.source(tmp_path / "calibration.csv")
    scheduled.source("ftp:plant/a.dat", sha256="0" * 64)
    made = scheduled.publish("rain.sums", 6)
    names = [entry["name"] for entry in made.manifest["inputs"]]
    assert names == ["rain.tips", str(tmp_path / "calibration.csv"), "ftp:plant/a.dat"]
    assert all(len(entry["sha256"]) == 64 for entry in made.manifest["inputs"])


def told(run: RunContext) -> dict[str, object]:
    state.kernel_state().flush()
    return state.read_state(run.folder / "state.json")


def test_progress_counts_and_partial_reach_the_runner(scheduled: RunContext) -> None:
    assert list(scheduled.progress("abcd", "fetching")) == ["a", "b", "c", "d"]
    scheduled.count(files=2, rows=10)
    scheduled.count(files=1, bytes=7, last_good=NOW)
    scheduled.set_partial("one gauge is silent", last_good=NOW)
    found = told(scheduled)
    assert found["progress"] == {"fraction": 1.0, "text": "fetching"}
    assert found["counts"] == {"files": 3, "rows": 10, "bytes": 7}
    assert found["counted_at"] == "2026-03-01T12:00:00Z"
    assert found["partial"] == {
        "reason": "one gauge is silent",
        "last_good": "2026-03-01T12:00:00Z",
    }


def test_a_secret_is_neither_told_nor_logged_nor_published(
    scheduled: RunContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANT", "hunter2!")
    value = scheduled.secret("secret://PLANT")
    assert value == "hunter2!"
    scheduled.progress(0.5, f"logging in with {value}")
    scheduled.log.info("logging in with %s", value)
    assert "hunter2" not in json.dumps(told(scheduled))
    assert "logging in with ***" in (tmp_path / "run.log").read_text()
    with pytest.raises(ConfigError):
        scheduled.secret("hunter2!")


@pytest.mark.parametrize(
    "leak",
    [
        "ftp://u:hunter2!@h",
        {"login": {"hunter2!": 1}},
        [1, ("a", "hunter2!")],
        pd.DataFrame({"a": [1, 2], "b": ["x", "my hunter2!"]}),
        pa.table({"b": ["x", "my hunter2!"]}),
    ],
    ids=["text", "key", "list", "pandas", "arrow"],
)
def test_a_secret_in_what_is_published_is_refused(
    scheduled: RunContext, monkeypatch: pytest.MonkeyPatch, leak: object
) -> None:
    monkeypatch.setenv("PLANT", "hunter2!")
    scheduled.secret("secret://PLANT")
    with pytest.raises(PublishError, match="secret"):
        scheduled.publish("rain.leak", leak)
    scheduled.publish("rain.fine", pd.DataFrame({"a": [1], "b": ["x"]}))


def test_a_dashboard_reads_without_a_run(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKSPACE_ROOT", str(settings.root))
    monkeypatch.setenv("WORKSPACE_SITE", settings.site_name)
    with pytest.raises(PublishError, match="never published"):
        workspace_lib.load_published("rain.sums")
    assert context._current is None
    assert not (settings.outputs_dir / "drafts").exists()


def test_drafts_of_old_sessions_are_removed(settings: Settings) -> None:
    for name, days in (("old", 8), ("new", 6)):
        folder = settings.outputs_dir / "drafts" / name
        folder.mkdir(parents=True)
        (folder / "a.json").write_text("1")
        moment = time.time() - days * 86_400
        for path in (folder / "a.json", folder):
            os.utime(path, (moment, moment))
    assert [path.name for path in clean_drafts(settings)] == ["old"]
    assert (settings.outputs_dir / "drafts" / "new").exists()


def test_a_run_that_is_over_says_so(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(context.RUN_FILE_VARIABLE, str(tmp_path / "gone.json"))
    with pytest.raises(ConfigError, match="over"):
        workspace_lib.current_run()


def test_a_service_runs_for_a_slice_inside_a_notebook(scheduled: RunContext) -> None:
    rounds = []

    def serve(stop: threading.Event, heartbeat: Callable[[str], None], *, name: str) -> None:
        while not stop.wait(0.01):
            rounds.append(name)
            heartbeat(f"{name}: round {len(rounds)}")

    scheduled.serve(serve, 0.2, name="bench")
    assert rounds
    assert told(scheduled)["progress"] == {
        "fraction": None,
        "text": f"bench: round {len(rounds)}",
    }


def test_progress_of_numbers_is_kept_between_nothing_and_all(
    scheduled: RunContext, make_site: Callable[..., Settings]
) -> None:
    scheduled.progress(1.7, "nearly")
    assert told(scheduled)["progress"] == {"fraction": 1.0, "text": "nearly"}
