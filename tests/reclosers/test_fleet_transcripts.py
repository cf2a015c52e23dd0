"""Transcripts of visits, and reports, are kept for some weeks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from workspace_lib import secrets
from workspace_lib.reclosers.fleet_transcripts import (
    clean_reports,
    clean_transcripts,
    keep_transcript,
    read_transcript,
    transcripts_of,
)
from workspace_lib.reclosers.settings import Recloser

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
RECLOSER = Recloser(id="LAV-1", ced="LAV", url="COM1")


def test_a_transcript_is_kept_compressed_and_read_again(tmp_path: Path) -> None:
    text = "     0.001 > ACC\\r\n" * 1000
    path = keep_transcript(tmp_path, RECLOSER, text, NOW)
    assert path == "logs/reclosers/LAV-1/20260504T120000000000Z.txt.gz"
    assert read_transcript(tmp_path, path) == text
    assert (tmp_path / path).stat().st_size < 1000


def test_secrets_that_are_known_are_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_known", set())
    monkeypatch.setattr(secrets, "_values", set())
    secrets.remember("OTTER-77")
    path = keep_transcript(tmp_path, RECLOSER, "< OTTER-77\n", NOW)
    assert read_transcript(tmp_path, path) == "< ***\n"


def test_what_cannot_be_written_is_no_reason_to_lose_a_visit(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("no folder")
    assert keep_transcript(tmp_path, RECLOSER, "text", NOW) == ""


def test_old_ones_go_and_others_stay(tmp_path: Path) -> None:
    for days in (0, 29, 31, 400):
        keep_transcript(tmp_path, RECLOSER, "text", NOW - timedelta(days=days))
    other = transcripts_of(tmp_path, RECLOSER) / "note.txt"
    other.write_text("by hand")
    assert clean_transcripts(tmp_path, RECLOSER, 30, NOW) == 2
    assert len(list(other.parent.iterdir())) == 3
    assert other.exists()


def test_old_reports_go_and_others_stay(tmp_path: Path) -> None:
    names = ("report_20260503T000000Z.txt", "report_20260401T000000Z.csv", "report_of_mine.txt")
    for name in names:
        (tmp_path / name).write_text("text")
    assert clean_reports(tmp_path, 30, NOW) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((names[0], names[2]))
