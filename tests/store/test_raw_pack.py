"""Packing device-days: refs stay valid, and a kill between two steps loses nothing."""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select

from workspace_lib.errors import StoreError
from workspace_lib.files import sha256_bytes
from workspace_lib.store import raw, raw_pack
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.raw import RawItem, RawRow

DAY = date(2026, 3, 1)
MODULE = "workspace_lib.store.raw_pack"
PACK = "module.pack_day(store, 'rain', 'g1', date(2026, 3, 1))"


def keep(store: Store, contents: dict[str, bytes], day: date = DAY) -> dict[str, bytes]:
    """Put and register files; returns contents by ref."""
    refs = raw.put_many(
        store.outputs, "rain", [RawItem("g1", day, name, c) for name, c in contents.items()]
    )
    with write(store.data) as connection:
        raw.register(
            connection,
            [
                RawRow(ref, len(c), sha256_bytes(c))
                for ref, c in zip(refs, contents.values(), strict=True)
            ],
        )
    return dict(zip(refs, contents.values(), strict=True))


def day_files(number: int = 12) -> dict[str, bytes]:
    return {f"A0_{n:03d}.txt": b"tips %d\r\n" % n for n in range(number)}


def on_disk(store: Store) -> list[str]:
    root = store.outputs / "raw"
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def assert_complete(store: Store, kept: dict[str, bytes]) -> None:
    assert {ref: raw.get(store, ref) for ref in kept} == kept
    assert raw.get_many(store, list(kept)) == list(kept.values())


def test_a_day_becomes_one_plain_zip_and_refs_stay_valid(any_store: Store) -> None:
    kept = keep(any_store, day_files())
    path = raw_pack.pack_day(any_store, "rain", "g1", DAY)
    assert path is not None
    assert on_disk(any_store) == [path.removeprefix("raw/")]
    with zipfile.ZipFile(any_store.outputs / path) as archive:
        assert archive.testzip() is None
        assert {i.filename: archive.read(i) for i in archive.infolist()} == day_files()
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}
    assert_complete(any_store, kept)


def test_packing_again_changes_nothing(any_store: Store) -> None:
    kept = keep(any_store, day_files())
    path = raw_pack.pack_day(any_store, "rain", "g1", DAY)
    assert path is not None
    before = (any_store.outputs / path).stat().st_mtime_ns
    assert raw_pack.pack_day(any_store, "rain", "g1", DAY) == path
    assert (any_store.outputs / path).stat().st_mtime_ns == before
    assert_complete(any_store, kept)


def test_a_day_without_files_gives_no_zip(store: Store) -> None:
    assert raw_pack.pack_day(store, "rain", "g1", DAY) is None
    assert on_disk(store) == []


def test_late_files_join_the_days_zip(any_store: Store) -> None:
    kept = keep(any_store, day_files())
    raw_pack.pack_day(any_store, "rain", "g1", DAY)
    kept |= keep(any_store, {"late.txt": b"late", "A0_001.txt": b"another content"})
    path = raw_pack.pack_day(any_store, "rain", "g1", DAY)
    assert path is not None
    assert on_disk(any_store) == [path.removeprefix("raw/")]
    assert_complete(any_store, kept)
    with zipfile.ZipFile(any_store.outputs / path) as archive:
        names = archive.namelist()
    assert len(names) == len(set(names)) == 14


def test_bytes_that_come_again_after_packing_are_the_same_object(store: Store) -> None:
    kept = keep(store, day_files())
    raw_pack.pack_day(store, "rain", "g1", DAY)
    assert keep(store, day_files()) == kept
    raw_pack.pack_days(store, "rain", before=date(2026, 3, 2))
    assert len(on_disk(store)) == 1
    assert_complete(store, kept)


def test_a_pack_is_read_without_the_database(store: Store) -> None:
    kept = keep(store, day_files())
    raw_pack.pack_day(store, "rain", "g1", DAY)
    assert {ref: raw.get(store.outputs, ref) for ref in kept} == kept


def test_an_older_database_still_finds_what_was_packed_since(store: Store) -> None:
    kept = keep(store, day_files())
    with read(store.data) as connection:
        before = connection.execute(select(raw.raw_objects)).mappings().all()
    raw_pack.pack_day(store, "rain", "g1", DAY)
    with write(store.data) as connection:
        connection.execute(delete(raw.raw_objects))
        connection.execute(insert(raw.raw_objects), [dict(row) for row in before])
    assert_complete(store, kept)


def test_reading_a_member_reads_only_that_member(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = keep(store, day_files())
    raw_pack.pack_day(store, "rain", "g1", DAY)

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("the ZIP's directory was read")

    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    assert_complete(store, kept)


def test_a_damaged_file_stops_the_packing_and_nothing_is_lost(any_store: Store) -> None:
    kept = keep(any_store, day_files())
    bad = next(iter(kept))
    (any_store.outputs / raw.parse_ref(bad).path).write_bytes(b"damaged")
    before = on_disk(any_store)
    with pytest.raises(StoreError, match="not those that were stored"):
        raw_pack.pack_day(any_store, "rain", "g1", DAY)
    assert on_disk(any_store) == before


def test_a_namesake_that_is_not_packed_stays(store: Store) -> None:
    keep(store, {"a": b"one"})
    raw_pack.pack_day(store, "rain", "g1", DAY)
    other = raw.put(store.outputs, "rain", "g1", DAY, "a", b"two, not registered yet")
    raw_pack.pack_day(store, "rain", "g1", DAY)
    assert raw.get(store, other) == b"two, not registered yet"


def test_only_closed_days_are_packed(any_store: Store) -> None:
    old = keep(any_store, day_files(), date(2026, 2, 27))
    new = keep(any_store, day_files(), DAY)
    [path] = raw_pack.pack_days(any_store, "rain", before=DAY)
    assert path.startswith("raw/rain/g1/2026/02-27.")
    assert len(on_disk(any_store)) == 1 + len(new)
    assert_complete(any_store, old | new)


def test_a_damaged_day_does_not_keep_the_others_loose(store: Store) -> None:
    bad = keep(store, {"a": b"one"}, date(2026, 2, 26))
    good = keep(store, day_files(), date(2026, 2, 27))
    (store.outputs / raw.parse_ref(next(iter(bad))).path).write_bytes(b"damaged")
    with pytest.raises(StoreError, match="not those that were stored"):
        raw_pack.pack_days(store, "rain", before=DAY)
    assert_complete(store, good)
    assert len(on_disk(store)) == 2


STEPS = pytest.mark.parametrize(
    ("step", "count"),
    [("written", 1), ("renamed", 1), ("moved", 1), ("committed", 1), ("removed one", 5)],
)


def assert_mended(store: Store, kept: dict[str, bytes]) -> None:
    """Nothing is lost after the kill, and packing again leaves one ZIP and nothing else."""
    assert_complete(store, kept)
    # What a dead process left half-written is removed once it is an hour old.
    hour_ago = time.time() - 7200
    for path in (store.outputs / "raw").rglob("*"):
        if path.is_file():
            os.utime(path, (hour_ago, hour_ago))
    raw_pack.pack_days(store, "rain", before=date(2026, 3, 2))
    assert_complete(store, kept)
    assert [Path(name).suffix for name in on_disk(store)] == [".zip"]


@STEPS
def test_a_kill_between_two_steps_loses_nothing(
    any_store: Store, killed_at: Callable[..., bool], step: str, count: int
) -> None:
    kept = keep(any_store, day_files())
    assert killed_at(any_store, MODULE, step, PACK, count)
    assert_mended(any_store, kept)


@STEPS
def test_a_kill_while_packing_late_files_loses_nothing(
    store: Store, killed_at: Callable[..., bool], step: str, count: int
) -> None:
    kept = keep(store, day_files())
    raw_pack.pack_day(store, "rain", "g1", DAY)
    kept |= keep(store, {f"late_{n}.txt": b"late %d" % n for n in range(6)})
    assert killed_at(store, MODULE, step, PACK, count)
    assert_mended(store, kept)
