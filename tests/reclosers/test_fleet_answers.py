"""Answers to further commands, kept as files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from workspace_lib.errors import StoreError
from workspace_lib.reclosers.archive import Archive
from workspace_lib.reclosers.fleet_answers import keep_answers
from workspace_lib.reclosers.settings import Recloser

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
RECLOSER = Recloser(id="LAV-1", ced="LAV", url="COM1")
HEAD = b"FEEDER 12    Date: 05/04/26    Time: 12:00:00.000\r\n"


def keep(root: Path, content: bytes, hours: int = 0, command: str = "EVE C") -> list[str]:
    kept = keep_answers(Archive(root), RECLOSER, {command: content}, NOW + timedelta(hours=hours))
    return [path.relative_to(root).as_posix() for path in kept]


def test_an_answer_is_kept_as_it_came(tmp_path: Path) -> None:
    [path] = keep(tmp_path, HEAD + b"\xe9\x00")
    assert path == "LAV/LAV-1/answers/20260504T120000Z_EVE-C.txt"
    assert (tmp_path / path).read_bytes() == HEAD + b"\xe9\x00"


def test_only_what_differs_from_the_last_of_its_command_is_kept(tmp_path: Path) -> None:
    assert len(keep(tmp_path, HEAD + b"one")) == 1
    later = HEAD.replace(b"12:00", b"13:07")
    assert keep(tmp_path, later + b"one", hours=1) == []
    assert len(keep(tmp_path, later + b"one", hours=1, command="EVE")) == 1
    assert len(keep(tmp_path, HEAD + b"two", hours=2)) == 1
    assert len(keep(tmp_path, HEAD + b"one", hours=3)) == 1


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "LAV").write_text("no folder")
    with pytest.raises(StoreError, match="cannot be kept"):
        keep(tmp_path, b"x")
