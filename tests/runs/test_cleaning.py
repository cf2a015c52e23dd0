"""Cleaning removes what is old and nothing that readers see."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from workspace_lib.runs import ledger
from workspace_lib.runs.cleaning import clean, is_due
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.states import Outcome
from workspace_lib.settings import Settings
from workspace_lib.store import leases
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.publications import artefacts_of_run, record, write_artefact

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=200)


def run_once(store: Store, slot: str, at: datetime, name: str | None = None) -> str:
    """Make a run with a folder that succeeded at an instant and published a value."""
    with write(store.control) as connection:
        spec = JobSpec("job", notebook="n")
        run_id = ledger.create_run(connection, spec, slot, due=at, now=at)
    assert run_id is not None
    assert ledger.claim_one(store, run_id, owner="t", now=at)
    assert ledger.begin(store, run_id, 1, host="h", pid=1, now=at)
    folder = store.outputs / "runs" / run_id / "1"
    folder.mkdir(parents=True)
    (folder / "output.ipynb").write_text("{}")
    if name is not None:
        artefact = write_artefact(
            store.outputs, name, 1, run_id=run_id, attempt=1, folder=folder / "artefacts", as_of=at
        )
        with write(store.control) as connection:
            record(connection, artefact, at)
    assert ledger.finish(store, run_id, 1, Outcome("succeeded"), at)
    return run_id


def test_folders_of_old_runs_go_and_published_and_young_ones_stay(
    any_store: Store, settings: Settings
) -> None:
    plain = run_once(any_store, "manual:1", LONG_AGO)
    replaced = run_once(any_store, "manual:2", LONG_AGO, "rain.sums")
    seen = run_once(any_store, "manual:3", LONG_AGO, "rain.sums")
    young = run_once(any_store, "manual:4", NOW - timedelta(days=1))
    report = clean(any_store, settings, NOW)
    assert report.folders == 2
    left = {path.name for path in (any_store.outputs / "runs").iterdir()}
    assert left == {seen, young}
    assert (any_store.outputs / "runs" / seen / "1" / "artefacts").is_dir()
    assert (any_store.outputs / "published" / "rain.sums.json").is_file()
    with read(any_store.control) as connection:
        assert artefacts_of_run(connection, replaced, 1) == []
        assert len(artefacts_of_run(connection, seen, 1)) == 1
    assert {run.id for run in ledger.list_runs(any_store)} == {plain, replaced, seen, young}


def test_a_run_that_goes_on_keeps_its_folder(store: Store, settings: Settings) -> None:
    run_id = run_once(store, "manual:1", LONG_AGO)
    with write(store.control) as connection:
        ledger.requeue(connection, run_id, now=NOW)
    assert clean(store, settings, NOW).folders == 0


def test_a_folder_that_no_run_belongs_to_goes_when_it_is_old(
    store: Store, settings: Settings
) -> None:
    for name, at in (("old", LONG_AGO), ("new", NOW)):
        folder = store.outputs / "runs" / name
        (folder / "1").mkdir(parents=True)
        os.utime(folder, (at.timestamp(), at.timestamp()))
    clean(store, settings, NOW)
    assert [path.name for path in (store.outputs / "runs").iterdir()] == ["new"]


def test_old_logs_and_dead_leases_go(store: Store, settings: Settings) -> None:
    log = settings.outputs_dir / "logs" / "runs" / "x-1.log"
    log.parent.mkdir(parents=True)
    log.write_text("x")
    os.utime(log, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))
    for holder, at in (("dead", LONG_AGO), ("alive", NOW)):
        leases.acquire(store.control, f"line:{holder}", holder, ttl_s=60, now=at)
    assert clean(store, settings, NOW).logs == 1
    assert not log.exists()
    with read(store.control) as connection:
        found = connection.execute(leases.leases.select()).all()
    assert [row.holder for row in found] == ["alive"]


def test_cleaning_is_due_once_an_hour_for_all_schedulers(store: Store, settings: Settings) -> None:
    assert is_due(store, NOW)
    clean(store, settings, NOW)
    done = datetime.fromtimestamp((store.outputs / "logs" / ".cleaned").stat().st_mtime, UTC)
    assert not is_due(store, done + timedelta(minutes=30))
    assert is_due(store, done + timedelta(hours=2))
