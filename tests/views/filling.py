"""A site as it looks after two days of work, written by the library's own functions.

Loaded by the conftest of the folders that need it; what people and devices may write is hostile.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import yaml
from sqlalchemy import insert

from workspace_lib.clock import iso, to_us
from workspace_lib.rain import frames, queries
from workspace_lib.rain.calibrating import calibrate
from workspace_lib.rain.calibration_files import load_calibrations
from workspace_lib.rain.calibration_views import calibrations_frame
from workspace_lib.rain.days import merge_rows, new_rows
from workspace_lib.rain.settings import Gauge, load_network
from workspace_lib.runs import ledger
from workspace_lib.runs.folders import RunFolders
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.specs import load_jobs
from workspace_lib.runs.states import Outcome
from workspace_lib.runs.tables import schedulers
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store, write
from workspace_lib.store.migrate import open_store
from workspace_lib.store.publications import record, write_artefact

HOSTILE = '<img src=x onerror="window.hacked=1">'
SILENT = "Mse <b>&</b>"
DAYS = 10
SLOT = timedelta(minutes=15)
SLOTS = 40


CALIBRATIONS = [
    {
        "gauge": gauge,
        "valid_from": "2020-01-01T00:00:00Z",
        "mm_per_tip": 0.2,
        "kind": "quadratic",
        "coefficients": {"a": 0.0008, "b": 1.0761, "c": 0},
        "x": "tips/min",
        "source": {"certificate": "C <i>12</i>", "date": date(2020, 1, 1)},
    }
    for gauge in ("hydropolis", "mse", "triolet")
]


@dataclass(frozen=True)
class Filled:
    """The site, and the instant up to which it was filled."""

    settings: Settings
    now: datetime
    last_run: str


def make_filled_site(root: Path, repository: Path, now: datetime, language: str = "en") -> Filled:
    """Make a site with the demo's jobs and the project's notebooks, and fill its store."""
    folder = root / "parameters" / "plant"
    (folder / "jobs").mkdir(parents=True)
    for name in ("jobs", "dashboards"):
        shutil.copytree(repository / "notebooks" / name, root / "notebooks" / name)
    for wing in ("rain", "recloser"):
        for path in (repository / "parameters" / "demo" / "jobs").glob(f"{wing}_*.yml"):
            shutil.copy(path, folder / "jobs")
    site: dict[str, Any] = {"title": "Plant <1>", "timezone": "Europe/Paris", "language": language}
    site |= {"sources": {"rain": {"host": "ftp.invalid"}}}
    thresholds = {"P24h": [5, 20], "P72h": [10, 60]}
    site |= {"wings": {"rain": {"thresholds_mm": thresholds}, "reclosers": {"company": "Plant"}}}
    (folder / "site.yml").write_text(yaml.safe_dump(site))
    gauges = [
        {"id": "hydropolis", "name": "Hydropolis", "folder": "H", "mm_per_tip": 0.2}
        | {"lat": 43.621, "lon": 3.860},
        {"id": "mse", "name": SILENT, "folder": "M", "mm_per_tip": 0.2}
        | {"lat": 43.636, "lon": 3.865},
        {"id": "triolet", "name": "Triolet", "folder": "T", "mm_per_tip": 0.2},
    ]
    (folder / "gauges.yml").write_text(yaml.safe_dump({"gauges": gauges}))
    (folder / "calibrations.yml").write_text(yaml.safe_dump({"calibrations": CALIBRATIONS}))
    settings = load_settings("plant", root=root)
    reclosers = _reclosers()
    reclosers.write_fleet(settings)
    with open_store(settings, create=True) as store:
        _rain(store, now)
        calibrate(store, settings, now=now)
        last = _runs(settings, store, now)
        reports = reclosers.fill_reclosers(settings, store, now)
        _recloser_runs(settings, store, now, reports)
        _scheduler(store, now)
    return Filled(settings, now, last)


def _reclosers() -> ModuleType:
    """Return the module that fills the wing of reclosers; test files cannot import each other."""
    path = Path(__file__).with_name("filling_reclosers.py")
    spec = importlib.util.spec_from_file_location("filling_reclosers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["filling_reclosers"] = module
    spec.loader.exec_module(module)
    return module


def _recloser_runs(
    settings: Settings, store: Store, now: datetime, reports: Mapping[str, object]
) -> None:
    """Write the last run of the fleet's capture and of the analysis, with what they published."""
    specs = load_jobs(settings).specs
    for job, name, minutes in (
        ("recloser_capture_lav", "reclosers.capture/LAV", 12.0),
        ("recloser_analysis", "reclosers.analysis", 10.0),
    ):

        def publish(
            settings: Settings, store: Store, run_id: str, due: datetime, name: str = name
        ) -> None:
            _record(settings, store, run_id, {name: reports[name]}, due, due, 6 * 3600)

        due = now - timedelta(minutes=minutes)
        assert _run(settings, store, specs[job], due, "ok", 31.0, publish)


def _rain(store: Store, now: datetime) -> None:
    """Write a row a minute, with two storms a week and a gauge silent for the last 90 minutes."""
    generator = np.random.default_rng(7)
    end = to_us(now - timedelta(minutes=6)) // 60_000_000
    minutes = np.arange(end - DAYS * 1440 - 10, end + 1)
    since_storm = (minutes - minutes[0]) % 3300
    for number, gauge in enumerate(("hydropolis", "mse", "triolet")):
        wet = (since_storm > 1500 + 7 * number) & (since_storm < 1620 + 20 * number)
        tips = np.where(wet, generator.poisson(0.8, len(minutes)), 0)
        keep = generator.random(len(minutes)) > 0.0005
        keep[4000 + 900 * number : 4300 + 900 * number] = False
        if gauge == "mse":
            keep[-90:] = False
        stamps = minutes[keep] * 60_000_000
        rows = new_rows(stamps, tips[keep], wind=0, battery_v=13.1, file_id=1)
        with write(store.data) as connection:
            merge_rows(connection, Gauge(id=gauge, name=gauge, folder=gauge), rows, now)


def _runs(settings: Settings, store: Store, now: datetime) -> str:
    """Write the runs of ten hours: most went well, some failed, some slots were missed."""
    specs = load_jobs(settings).specs
    last = ""
    first = now - SLOT * SLOTS
    for number in range(SLOTS + 1):
        due = first + number * SLOT
        fate = {7: "failed", 8: "missed", 9: "missed", 21: "lost", 30: "partial"}.get(number, "ok")
        capture = _run(settings, store, specs["rain_capture"], due, fate, 12.0 + number % 5)
        if capture and fate in ("ok", "partial"):
            final = number == SLOTS
            publish = _publish if final else None
            after = due + timedelta(seconds=20)
            made = _run(settings, store, specs["rain_sums"], after, "ok", 6.5, publish, slot=due)
            last = made or last
    return last


def _run(
    settings: Settings,
    store: Store,
    spec: JobSpec,
    due: datetime,
    fate: str,
    took_s: float,
    publish: Callable[[Settings, Store, str, datetime], None] | None = None,
    slot: datetime | None = None,
) -> str | None:
    text = iso(slot or due)
    with write(store.control) as connection:
        if fate == "missed":
            ledger.create_run(
                connection, spec, text, due=due, now=due, state="skipped", cause="missed_slot"
            )
            return None
        run_id = ledger.create_run(connection, spec, text, due=due, now=due)
    assert run_id is not None
    claim = ledger.claim_one(store, run_id, owner="scheduler@plant:1", now=due)
    assert claim is not None
    assert ledger.begin(store, run_id, claim.attempt, host="plant", pid=1, now=due)
    end = due + timedelta(seconds=took_s)
    if publish is not None:
        publish(settings, store, run_id, due)
    metrics = {"duration_s": took_s, "files": 9, "rows": 45, "bytes": 1600}
    outcome = {
        "ok": Outcome("succeeded", metrics=metrics),
        "partial": Outcome("succeeded", partial=True, metrics=metrics),
        "failed": Outcome("failed", "notebook_error", f"ValueError: {HOSTILE}", metrics=metrics),
        "lost": Outcome("lost", "runner_lost", metrics={}),
    }[fate]
    if fate == "failed":
        notebook = RunFolders(settings.outputs_dir, run_id, claim.attempt).notebook
        notebook.parent.mkdir(parents=True)
        cell = {"cell_type": "markdown", "id": "a", "metadata": {}, "source": HOSTILE}
        book = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        notebook.write_text(json.dumps(book))
    assert ledger.finish(store, run_id, claim.attempt, outcome, end)
    return run_id


def _publish(settings: Settings, store: Store, run_id: str, now: datetime) -> None:
    gauges = load_network(settings).gauges
    until = queries.as_of(store, gauges)
    since = until - timedelta(days=DAYS)
    series = queries.calibrated(store, gauges, since, until)
    in_force = load_calibrations(settings)
    found = {
        "rain.sums": frames.sums(series, until),
        "rain.totals": frames.totals(series, since, until),
        "rain.gauges": frames.gauges(store, gauges, until),
        "rain.calibrations": calibrations_frame(gauges, in_force, until),
        "rain.monthly": frames.monthly(series, since, until, settings.zone),
        "rain.cumulative": frames.cumulative(series, since, until, settings.zone),
        "rain.completeness": frames.completeness(store, gauges, DAYS, until, settings.zone),
    }
    _record(settings, store, run_id, found, until, now, 1800)


def _record(
    settings: Settings,
    store: Store,
    run_id: str,
    found: Mapping[str, Any],
    as_of: datetime,
    now: datetime,
    fresh_for_s: float,
) -> None:
    folder = RunFolders(settings.outputs_dir, run_id, 1).folder / "artefacts"
    for name, value in found.items():
        artefact = write_artefact(
            store.outputs, name, value, run_id=run_id, attempt=1, folder=folder, as_of=as_of
        )
        with write(store.control) as connection:
            record(connection, artefact, now, fresh_for_s=fresh_for_s)


def _scheduler(store: Store, now: datetime) -> None:
    with write(store.control) as connection:
        connection.execute(
            insert(schedulers).values(
                id="scheduler@plant:1", host="plant", pid=1, started_at=now - timedelta(hours=10),
                seen_at=now - timedelta(seconds=1),
            )
        )  # fmt: skip


@dataclass(frozen=True)
class Server:
    """A running server of dashboards."""

    address: str
    token: str
    process: subprocess.Popen[bytes]


@contextmanager
def serving(settings: Settings, folder: Path, **environment: str) -> Iterator[Server]:
    """Serve a site's dashboards in a process of its own, on a free port."""
    announced = folder / f"server-{uuid.uuid4().hex[:8]}.json"
    words = ["-m", "workspace_lib.views.live", "--site", str(settings.site_dir)]
    process = subprocess.Popen(
        [sys.executable, *words, "--port", "0", "--announce", str(announced)],
        stdin=subprocess.PIPE,
        env={**os.environ, "WORKSPACE_ROOT": str(settings.root), **environment},
    )
    token = uuid.uuid4().hex
    try:
        assert process.stdin is not None
        process.stdin.write(f"{token}\n".encode())
        process.stdin.close()
        deadline = time.monotonic() + 90
        while not announced.exists():
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.05)
        found = json.loads(announced.read_text())
        yield Server(found["address"], token, process)
    finally:
        process.terminate()
        try:
            process.wait(60)
        finally:
            process.kill()
