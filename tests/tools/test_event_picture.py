"""The README's picture of an event is drawn by the library's own plot."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PNG = b"\x89PNG"


def test_the_picture_is_drawn_where_the_readme_shows_it(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("p", repository / "tools" / "event_picture.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    shown = tool.PICTURE.relative_to(repository).as_posix()
    assert f"]({shown})" in (repository / "README.md").read_text(encoding="utf-8")
    assert tool.PICTURE.read_bytes().startswith(PNG)
    monkeypatch.setattr(tool, "PICTURE", tmp_path / "event.png")
    assert tool.main() == 0
    assert (tmp_path / "event.png").read_bytes().startswith(PNG)
