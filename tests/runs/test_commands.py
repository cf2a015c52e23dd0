"""The commands of jobs and runs, as somebody types them."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from workspace_lib.cli import main
from workspace_lib.clock import SYSTEM_CLOCK, iso
from workspace_lib.runs import ledger
from workspace_lib.runs.job_spec import JobSpec
from workspace_lib.runs.ledger_queries import list_schedulers
from workspace_lib.runs.specs import load_jobs
from workspace_lib.runs.states import Outcome
from workspace_lib.settings import Settings, load_settings
from workspace_lib.store.engines import Store, write

SLOT = "2026-11-20T12:00:00Z"


@pytest.fixture(autouse=True)
def _no_log_left() -> Iterator[None]:
    """Commands set the log up for their own process; the next test shall find none of it."""
    yield
    logger = logging.getLogger("workspace_lib")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def site(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A site with the hourly job ``sums``, whose notebook takes ``days``."""
    monkeypatch.setenv("WORKSPACE_ROOT", str(settings.root))
    monkeypatch.setenv("WORKSPACE_SITE", "testsite")
    source = "days: int = 3\n"
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}
    path = settings.notebooks_dir / "jobs" / "sums.ipynb"
    path.write_text(json.dumps({"cells": [cell]}))
    add_job(settings, "sums", "notebook: sums\nschedule: '0 8 * * 1'\n")
    return settings


def add_job(settings: Settings, name: str, text: str) -> None:
    (settings.site_dir / "jobs" / f"{name}.yml").write_text(text)


def finished(store: Store, outcome: Outcome, slot: str = SLOT, days_ago: float = 1) -> str:
    spec, now = JobSpec("sums", notebook="sums"), SYSTEM_CLOCK.now() - timedelta(days=days_ago)
    with write(store.control) as connection:
        run_id = ledger.create_run(connection, spec, slot, due=now, now=now)
    assert run_id is not None
    claim = ledger.claim_one(store, run_id, owner="t", now=now)
    assert claim is not None
    assert ledger.begin(store, run_id, 1, host="h", pid=1, now=now)
    assert ledger.finish(store, run_id, 1, outcome, now + timedelta(seconds=4))
    return run_id


def test_jobs_lists_the_next_five_slots(site: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    add_job(site, "chained", "notebook: sums\non: sums\n")
    add_job(site, "often", "notebook: sums\nevery: 90s\n")
    assert main(["jobs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (sums,) = [line for line in lines if line.startswith("sums")]
    assert "0 8 * * 1" in sums
    assert "Europe/Paris" in sums
    assert sums.count("08:00") == 5
    (chained,) = [line for line in lines if line.startswith("chained")]
    assert "on sums" in chained
    assert chained.count("08:00") == 5
    assert any("every 90s" in line and line.endswith("UTC") for line in lines)


def test_jobs_as_json(site: Settings, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    finished(store, Outcome("succeeded"))
    assert main(["jobs", "--json"]) == 0
    (job,) = json.loads(capsys.readouterr().out)
    assert (job["job"], job["last_state"], job["last_slot"]) == ("sums", "succeeded", SLOT)
    assert len(job["next_slots"]) == 5
    assert (job["success_rate"], job["median_duration_s"]) == (1.0, 4.0)


def test_jobs_check_names_every_problem(site: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "check"]) == 0
    add_job(site, "one", "notebook: sums\nevery: 1s\ntimezone: Mars\n")
    add_job(site, "two", "notebok: sums\n")
    assert main(["jobs", "check"]) == 1
    out = capsys.readouterr().out
    assert "parameters/testsite/jobs/one.yml:2: every" in out
    assert "parameters/testsite/jobs/one.yml:3: timezone" in out
    assert "parameters/testsite/jobs/two.yml:1: unknown key 'notebok'" in out


def test_run_of_a_slot_that_has_succeeded_says_so(
    site: Settings, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = finished(store, Outcome("succeeded"))
    assert main(["run", "sums", "--slot", SLOT]) == 0
    out = capsys.readouterr().out
    assert "has succeeded already" in out
    assert run_id in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "sum"], "Did you mean 'sums'"),
        (["run", "sums", "--set", "days=x"], "days must be int"),
        (["run", "sums", "--slot", "noon"], "'noon' is not a time"),
        (["runs", "show", "nothing"], "There is no run"),
        (["cancel", "nothing"], "There is no run"),
        (["backfill", "sums", "--from", "never"], "'never' is not a time"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    site: Settings,
    store: Store,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert main(arguments) == 1
    assert words in capsys.readouterr().err


def test_runs_lists_runs_and_how_each_job_does(
    site: Settings, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(store, Outcome("succeeded", metrics={"files": 12}))
    finished(store, Outcome("failed", "kernel_died", "It died.", partial=True), "event:x")
    assert main(["runs"]) == 0
    out = capsys.readouterr().out
    assert "failed, partial" in out
    assert "12 files" in out
    assert "50%" in out
    assert "The last 30 days:" in out
    assert main(["runs", "--json", "--state", "failed"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [run["cause"] for run in found["runs"]] == ["kernel_died"]
    assert found["jobs"]["sums"]["success_rate"] == 0.5
    assert found["jobs"]["sums"]["median_duration_s"] == 4.0


def test_success_is_that_of_the_last_days(
    site: Settings, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    finished(store, Outcome("failed", "kernel_died"), "event:old", days_ago=40)
    finished(store, Outcome("succeeded"))
    for arguments, rate in ((["runs"], 1.0), (["runs", "--days", "50"], 0.5)):
        assert main([*arguments, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["jobs"]["sums"]["success_rate"] == rate
    assert main(["jobs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["success_rate"] == 1.0


def test_runs_show_takes_the_beginning_of_an_id(
    site: Settings, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = Outcome("failed", "kernel_died", "It died.", metrics={"cpu_s": 1.25})
    run_id = finished(store, outcome)
    log = site.outputs_dir / "logs" / "runs" / f"{run_id}-1.log"
    log.parent.mkdir(parents=True)
    log.write_text("x")
    assert main(["runs", "show", run_id[:-3]]) == 0
    out = capsys.readouterr().out
    assert "Attempt 1: failed, kernel_died" in out
    assert "It died." in out
    assert str(log) in out
    assert main(["runs", "show", run_id, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["attempts"][0]["cpu_s"] == 1.25


def test_backfill_counts_what_it_makes_due(
    site: Settings, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    first = SYSTEM_CLOCK.now() - timedelta(days=21)
    assert main(["backfill", "sums", "--from", iso(first)]) == 0
    assert "3 slots: 3 new runs" in capsys.readouterr().out
    assert main(["backfill", "sums", "--from", iso(first)]) == 0
    assert "3 slots: 0 new runs, 0 to be repeated, 3 left" in capsys.readouterr().out


def test_cancel_ends_a_run_that_waits(
    site: Settings, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    now = SYSTEM_CLOCK.now()
    with write(store.control) as connection:
        run_id = ledger.create_run(
            connection, JobSpec("sums", notebook="sums"), "event:x", due=now, now=now
        )
    assert run_id is not None
    assert main(["cancel", run_id]) == 0
    run = ledger.get_run(store, run_id)
    assert run is not None
    assert run.state == "cancelled"
    assert main(["cancel", run_id]) == 0
    assert "nothing was changed" in capsys.readouterr().out


def test_a_new_site_is_right_from_the_start(
    site: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["site", "new", "plant"]) == 0
    assert main(["--site", "plant", "jobs", "check"]) == 0
    made = load_settings("plant", root=site.root)
    assert made.production
    (spec,) = load_jobs(made).specs.values()
    assert not spec.enabled
    text = (made.site_dir / "site.yml").read_text()
    assert "secret://" in text
    capsys.readouterr()
    assert main(["site", "new", "plant"]) == 1
    assert "something already" in capsys.readouterr().err


def test_what_a_new_site_suggests_is_right_too(site: Settings, tmp_path: Path) -> None:
    main(["site", "new", str(tmp_path / "elsewhere")])
    folder = tmp_path / "elsewhere"
    text = (folder / "site.yml").read_text()
    suggested = "\n".join(line.removeprefix("# ") for line in text.splitlines())
    keep = [line for line in suggested.splitlines() if ":" in line or line.lstrip()[:1] == "-"]
    keys = ("title", "timezone", "language", "production", "sources", "devices", "notify", "store")
    kept, inside = [], False
    for line in keep:
        inside = line.split(":")[0] in keys or (inside and line.startswith(" "))
        if inside:
            kept.append(line)
    (folder / "site.yml").write_text("\n".join(kept))
    settings = load_settings(folder, root=site.root)
    assert settings.source("plant").host == "ftp.example.com"
    assert settings.devices == {"line:COM1": "/dev/ttyS0"}
    assert len(settings.notify.addresses) == 1


@pytest.mark.parametrize("name", ["a b", "1st", ""])
def test_a_name_that_is_none_is_refused(
    site: Settings, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["site", "new", name]) == 1


@pytest.mark.kernel
@pytest.mark.slow
def test_a_run_without_scheduler_from_the_command_line(
    site: Settings, store: Store, write_notebook: Callable[..., Path]
) -> None:
    write_notebook(site, "sums", "assert days != 13", parameters="days: int = 3  # how many\n")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workspace_lib.cli", "run", "sums", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=150)

    done = run("--slot", SLOT, "--set", "days=13")
    assert done.returncode == 1, done.stderr
    assert "notebook_error" in done.stdout
    done = run("--slot", SLOT, "--set", "days=5")
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout
    done = run("--slot", SLOT)
    assert done.returncode == 0
    assert "already" in done.stdout
    (found,) = ledger.list_runs(store)
    assert (found.attempt, found.parameters) == (2, {"days": 5})


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_the_scheduler_ends_cleanly_when_told(
    site: Settings, store: Store, wait_until: Callable[..., None]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "workspace_lib.cli", "schedule"], stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: list_schedulers(store), "the scheduler is seen")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    (seen,) = list_schedulers(store)
    assert seen.stopped_at is not None


@pytest.mark.slow
def test_tick_does_one_step(
    site: Settings, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    assert main(["tick"]) == 0, capsys.readouterr()
    assert "0 made due, 0 started" in capsys.readouterr().out
    assert main(["tick"]) == 0
    (seen,) = list_schedulers(store)
    assert seen.stopped_at is not None
