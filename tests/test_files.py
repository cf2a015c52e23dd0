"""Files are written whole or not at all, moved without loss, and never outside their root."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workspace_lib import files
from workspace_lib.errors import ParameterError, StoreError


def test_writing_replaces_the_old_content_and_leaves_no_part(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "value.json"
    files.atomic_write(target, b"old")
    files.atomic_write(target, b"new")
    assert target.read_bytes() == b"new"
    assert [path.name for path in target.parent.iterdir()] == ["value.json"]


def test_a_failed_write_keeps_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "value.json"
    files.atomic_write(target, b"old")

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        files.atomic_write(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["value.json"]


def test_moving_takes_the_bytes_along(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b" / "a"
    source.write_bytes(b"bytes")
    files.move_verified(source, target)
    assert target.read_bytes() == b"bytes"
    assert not source.exists()


def test_moving_never_overwrites(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"mine")
    target.write_bytes(b"theirs")
    with pytest.raises(StoreError, match="exists already"):
        files.move_verified(source, target)
    assert source.read_bytes() == b"mine"
    assert target.read_bytes() == b"theirs"


def test_a_copy_that_differs_keeps_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"whole")
    monkeypatch.setattr(
        files.shutil, "copy2", lambda _, to: Path(to).write_bytes(b"torn") and str(to)
    )
    with pytest.raises(StoreError, match="differs"):
        files.move_verified(source, target)
    assert source.read_bytes() == b"whole"
    assert not target.exists()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Rue  Brives\t2", "Rue-Brives-2"),
        ("a/b:c", "a_b_c"),
        ("con", "_con"),
        ("LPT1.txt", "_LPT1.txt"),
        ("..", "_"),
        ("", "_"),
        ("été", "été"),
    ],
)
def test_names_become_legal(text: str, name: str) -> None:
    assert files.safe_name(text) == name


@given(st.text(max_size=40))
def test_a_safe_name_is_one_component_that_stays_the_same(text: str) -> None:
    name = files.safe_name(text)
    assert name not in {"", ".", ".."}
    assert not {"/", "\\"} & set(name)
    assert files.safe_name(name) == name


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../b"])
def test_a_path_out_of_the_root_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ParameterError, match="leads out"):
        files.under_root(tmp_path, path)


def test_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    with pytest.raises(ParameterError, match="leads out"):
        files.under_root(tmp_path / "root", "link/elsewhere")
