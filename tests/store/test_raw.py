"""The raw archive: bytes come back as they were put, and damage is noticed."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path

import pytest

from workspace_lib.errors import StoreError
from workspace_lib.files import sha256_bytes
from workspace_lib.store import raw
from workspace_lib.store.engines import Store, write
from workspace_lib.store.raw import RawItem, RawRow

DAY = date(2026, 3, 1)


def items(number: int) -> list[RawItem]:
    return [RawItem("g1", DAY, f"A0_{n:04d}.txt", b"tips %d" % n) for n in range(number)]


def register(store: Store, refs: list[str], contents: list[bytes]) -> None:
    with write(store.data) as connection:
        raw.register(
            connection,
            [RawRow(r, len(c), sha256_bytes(c)) for r, c in zip(refs, contents, strict=True)],
        )


def put(store: Store, name: str, content: bytes) -> str:
    ref = raw.put(store.outputs, "rain", "g1", DAY, name, content)
    register(store, [ref], [content])
    return ref


def test_files_come_back_as_they_were_put(any_store: Store) -> None:
    batch = items(40)
    refs = raw.put_many(any_store.outputs, "rain", batch)
    register(any_store, refs, [item.content for item in batch])
    assert [raw.get(any_store, ref) for ref in refs] == [item.content for item in batch]
    assert raw.get_many(any_store, refs[::-1]) == [item.content for item in batch[::-1]]


def test_a_file_lies_in_the_folder_of_its_device_and_day(store: Store) -> None:
    raw.put(store.outputs, "rain", "g1", DAY, "A0_1.txt", b"x")
    raw.put(store.outputs, "rain", "g1", None, "A0_2.txt", b"x")
    assert (store.outputs / "raw/rain/g1/2026/03-01/A0_1.txt").read_bytes() == b"x"
    assert (store.outputs / "raw/rain/g1/undated/A0_2.txt").read_bytes() == b"x"


def test_a_large_file_is_taken_from_its_path(store: Store) -> None:
    given = store.outputs / "incoming.part"
    given.write_bytes(b"large")
    (ref,) = raw.put_many(store.outputs, "rain", [RawItem("g1", DAY, "big.log", given)])
    given.unlink()
    assert raw.get(store, ref) == b"large"
    assert raw.put(store.outputs, "rain", "g1", DAY, "big.log", b"large") == ref


def test_an_object_can_be_read_before_it_is_registered_and_without_the_store(store: Store) -> None:
    ref = raw.put(store.outputs, "rain", "g1", DAY, "a", b"x")
    assert raw.get(store, ref) == b"x"
    assert raw.get(store.outputs, ref) == b"x"


def test_equal_bytes_of_one_name_are_one_object(store: Store) -> None:
    one, two, three = raw.put_many(
        store.outputs,
        "rain",
        [
            RawItem("g1", DAY, "a", b"x"),
            RawItem("g1", DAY, "a", b"x"),
            RawItem("g2", DAY, "a", b"x"),
        ],
    )
    assert one == two != three
    assert raw.put(store.outputs, "rain", "g1", DAY, "a", b"x") == one
    assert [p.name for p in (store.outputs / "raw/rain/g1/2026/03-01").iterdir()] == ["a"]


def test_two_contents_of_one_name_are_two_objects(store: Store) -> None:
    refs = [raw.put(store.outputs, "rain", "g1", DAY, "a", content) for content in (b"x", b"y")]
    assert [raw.get(store, ref) for ref in refs] == [b"x", b"y"]
    assert raw.put(store.outputs, "rain", "g1", DAY, "a", b"y") == refs[1]


def test_names_that_are_illegal_or_too_long_are_kept_apart(store: Store) -> None:
    names = ["../../up", "a b", "a\tb", "con", "n" * 300, "n" * 299 + "m", "é/ß:*"]
    refs = raw.put_many(
        store.outputs, "rain", [RawItem("g 1/..", DAY, name, name.encode()) for name in names]
    )
    assert [raw.get(store, ref) for ref in refs] == [name.encode() for name in names]
    inside = (store.outputs / "raw").resolve()
    assert all(
        path.resolve().is_relative_to(inside)
        for path in store.outputs.rglob("*")
        if path.is_file() and path.suffix != ".db" and "db-" not in path.name
    )


def test_no_unfinished_file_stays_behind(store: Store) -> None:
    raw.put_many(store.outputs, "rain", items(30))
    assert not list(store.outputs.rglob("*.part"))


def test_a_full_disk_is_named_and_leaves_no_unfinished_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Path.write_bytes

    def fail_late(self: Path, data: bytes) -> int:
        if data == b"tips 7":
            raise OSError(28, "No space left on device")
        return written(self, data)

    monkeypatch.setattr(Path, "write_bytes", fail_late)
    with pytest.raises(StoreError, match="No space left"):
        raw.put_many(store.outputs, "rain", items(10))
    assert not [path for path in (store.outputs / "raw").rglob("*") if path.is_file()]


def test_writers_of_one_name_at_once_lose_nothing(store: Store) -> None:
    contents = [b"version %d" % n for n in range(8)]
    refs: dict[bytes, str] = {}
    start = threading.Barrier(len(contents))

    def work(content: bytes) -> None:
        start.wait()
        refs[content] = raw.put(store.outputs, "rain", "g1", DAY, "a", content)

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {content: raw.get(store, refs[content]) for content in contents} == {
        content: content for content in contents
    }


def test_changed_bytes_are_noticed(any_store: Store) -> None:
    ref = put(any_store, "a", b"tips 3")
    assert raw.verify(any_store, ref)
    (any_store.outputs / raw.parse_ref(ref).path).write_bytes(b"tips 4")
    for call in (raw.get, raw.verify):
        with pytest.raises(StoreError, match="not those that were stored"):
            call(any_store, ref)
    with pytest.raises(StoreError, match="not those that were stored"):
        raw.get_many(any_store, [ref])


def test_a_missing_file_is_named(any_store: Store) -> None:
    ref = put(any_store, "a", b"tips 3")
    (any_store.outputs / raw.parse_ref(ref).path).unlink()
    with pytest.raises(StoreError, match="missing"):
        raw.get_many(any_store, [ref])


def test_only_registered_objects_can_be_verified(store: Store) -> None:
    ref = raw.put(store.outputs, "rain", "g1", DAY, "a", b"x")
    with pytest.raises(StoreError, match="not registered"):
        raw.verify(store, ref)


@pytest.mark.parametrize("text", ["", "a", "a/b/c/d", "a/b/c:1", "a/b//d:1"])
def test_what_is_no_ref_is_refused(store: Store, text: str) -> None:
    with pytest.raises(StoreError, match="no ref"):
        raw.get(store, text)


def test_registering_twice_keeps_the_place(any_store: Store) -> None:
    ref = put(any_store, "a", b"x")
    register(any_store, [ref], [b"x"])
    assert raw.get(any_store, ref) == b"x"
