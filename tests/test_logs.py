"""Logs are one line per message, in UTC, without secrets, and old ones go."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from workspace_lib import logs, secrets
from workspace_lib.settings import Settings


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    logger = logging.getLogger(logs.LOGGER)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = True


def files_of(settings: Settings) -> list[Path]:
    found = (settings.outputs_dir / "logs").glob("workspace.log*")
    return [path for path in found if path.suffix != ".lock"]


def test_a_message_goes_to_the_sites_file_with_time_and_level(settings: Settings) -> None:
    logs.set_up_logging(settings, console=False)
    logging.getLogger("workspace_lib.rain").warning("Gauge %s is silent", "Mse")
    text = (settings.outputs_dir / "logs" / "workspace.log").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z - WARNING - Gauge Mse is silent\n", text)


def test_a_resolved_secret_never_reaches_the_file_even_in_a_traceback(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_known", {"canary-4711"})
    logs.set_up_logging(settings, console=False)
    try:
        raise ValueError("log-in with canary-4711 failed")
    except ValueError:
        logging.getLogger("workspace_lib").exception("No connection")
    text = (settings.outputs_dir / "logs" / "workspace.log").read_text()
    assert "canary-4711" not in text
    assert "log-in with *** failed" in text


def test_the_file_is_rotated_at_its_size(make_site) -> None:
    settings = make_site({"logging": {"max_megabytes": 0.001, "keep_files": 2}})
    logs.set_up_logging(settings, console=False)
    for number in range(100):
        logging.getLogger("workspace_lib").info("message %03d %s", number, "x" * 50)
    names = sorted(path.name for path in files_of(settings))
    assert names == ["workspace.log", "workspace.log.1", "workspace.log.2"]


def test_several_processes_share_the_file_and_each_rotates_it_once(tmp_path: Path) -> None:
    # Two handlers know as little of each other as two processes do.
    path = tmp_path / "workspace.log"
    writers = [
        logs.SharedFileHandler(path, maxBytes=1_000, backupCount=40, encoding="utf-8", delay=True)
        for _ in range(3)
    ]
    for number in range(300):
        record = logging.makeLogRecord({"msg": f"message {number:03d} {'x' * 50}"})
        writers[number % 3].emit(record)
    for writer in writers:
        writer.close()
    files = [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    lines = [line for path in files for line in path.read_text().splitlines()]
    assert len(lines) == len(set(lines)) == 300
    assert len(files) == 20


def test_a_log_that_was_moved_away_is_begun_anew(settings: Settings) -> None:
    logs.set_up_logging(settings, console=False)
    path = settings.outputs_dir / "logs" / "workspace.log"
    logger = logging.getLogger("workspace_lib")
    logger.warning("before")
    path.rename(path.with_name("aside"))
    logger.warning("after")
    assert path.read_text().endswith("after\n")


def test_logs_of_old_runs_are_removed_and_young_ones_stay(settings: Settings) -> None:
    folder = settings.outputs_dir / "logs" / "runs"
    old, young = folder / "old.log", folder / "young.log"
    for path in (old, young):
        logs.add_run_log(path).close()
        path.touch()
    os.utime(old, (0, 0))
    assert logs.clean_logs(settings) == [old]
    assert young.exists()
