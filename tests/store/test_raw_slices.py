"""Growing files: contiguous slices, no gap, no silent rewrite, one file at the end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from workspace_lib.errors import StoreError
from workspace_lib.files import sha256_bytes
from workspace_lib.store import raw, raw_pack, raw_slices
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.raw_slices import Growing

DAY = date(2026, 3, 1)


def append(store: Store, offset: int, content: bytes, name: str = "LOG.txt") -> Growing:
    with write(store.data) as connection:
        return raw_slices.append_slice(
            connection, store.outputs, "plant", "m1", DAY, name, offset, content
        )


def find(store: Store) -> Growing | None:
    with read(store.data) as connection:
        return raw_slices.find_growing(connection, "plant", "m1", DAY, "LOG.txt")


def grown(store: Store) -> Growing:
    append(store, 0, b"one\n")
    append(store, 4, b"two\n")
    return append(store, 8, b"three\n")


def test_slices_give_the_file_so_far(any_store: Store) -> None:
    assert find(any_store) is None
    known = grown(any_store)
    assert (known.size, known.closed) == (14, False)
    assert find(any_store) == known
    assert raw.get(any_store, known.ref) == b"one\ntwo\nthree\n"


def test_each_slice_is_an_object_of_its_own(any_store: Store) -> None:
    known = grown(any_store)
    with read(any_store.data) as connection:
        pieces = raw_slices.slices(connection, known.ref)
    assert [(piece.start, piece.size) for piece in pieces] == [(0, 4), (4, 4), (8, 6)]
    contents = [b"one\n", b"two\n", b"three\n"]
    assert raw.get_many(any_store, [piece.ref for piece in pieces]) == contents


def test_a_gap_is_refused(any_store: Store) -> None:
    append(any_store, 0, b"one\n")
    with pytest.raises(StoreError, match="bytes 4 to 9 of"):
        append(any_store, 9, b"three\n")
    assert raw.get(any_store, find(any_store).ref) == b"one\n"  # type: ignore[union-attr]


def test_a_file_must_begin_at_its_first_byte(any_store: Store) -> None:
    with pytest.raises(StoreError, match="bytes 0 to 4"):
        append(any_store, 4, b"two\n")
    assert find(any_store) is None


def test_an_overlap_of_equal_bytes_is_kept_once(any_store: Store) -> None:
    grown(any_store)
    assert append(any_store, 2, b"e\ntwo\nthree\nfour\n").size == 19
    assert append(any_store, 0, b"one\n").size == 19
    known = find(any_store)
    assert known is not None
    assert raw.get(any_store, known.ref) == b"one\ntwo\nthree\nfour\n"


def test_rewritten_bytes_are_refused(any_store: Store) -> None:
    known = grown(any_store)
    with pytest.raises(StoreError, match="rewritten"):
        append(any_store, 0, b"one\nTWO\nthree\nfour\n")
    assert raw.get(any_store, known.ref) == b"one\ntwo\nthree\n"


def test_a_slice_whose_transaction_failed_does_not_count(any_store: Store) -> None:
    append(any_store, 0, b"one\n")
    with any_store.data.connect() as connection:
        raw_slices.append_slice(
            connection, any_store.outputs, "plant", "m1", DAY, "LOG.txt", 4, b"two\n"
        )
        connection.rollback()
    assert append(any_store, 4, b"two\n").size == 8


def test_joining_makes_one_file_and_all_refs_stay_valid(any_store: Store) -> None:
    known = grown(any_store)
    with read(any_store.data) as connection:
        pieces = raw_slices.slices(connection, known.ref)
    joined = raw_slices.join(any_store, known.ref)
    assert (joined.ref, joined.size) == (known.ref, 14)
    assert joined.sha256 == sha256_bytes(b"one\ntwo\nthree\n")
    assert [p.name for p in (any_store.outputs / "raw").rglob("*") if p.is_file()] == ["LOG.txt"]
    assert raw.get(any_store, known.ref) == b"one\ntwo\nthree\n"
    assert [raw.get(any_store, p.ref) for p in pieces] == [b"one\n", b"two\n", b"three\n"]
    assert raw.verify(any_store, known.ref)
    assert raw_slices.join(any_store, known.ref) == joined


def test_damage_of_a_joined_file_is_noticed(store: Store) -> None:
    known = grown(store)
    raw_slices.join(store, known.ref)
    [path] = [p for p in (store.outputs / "raw").rglob("*") if p.is_file()]
    path.write_bytes(b"one\ntwo\nTHREE\n")
    with pytest.raises(StoreError, match="not those that were stored"):
        raw.get(store, known.ref)


def test_a_closed_file_grows_no_more_but_its_name_may_begin_anew(any_store: Store) -> None:
    first = grown(any_store)
    raw_slices.join(any_store, first.ref)
    with pytest.raises(StoreError, match="closed"):
        append(any_store, 14, b"four\n")
    second = append(any_store, 0, b"ONE\n")
    assert second.ref != first.ref
    raw_slices.join(any_store, second.ref)
    assert raw.get(any_store, first.ref) == b"one\ntwo\nthree\n"
    assert raw.get(any_store, second.ref) == b"ONE\n"


def test_packing_leaves_growing_files_alone(any_store: Store) -> None:
    known = grown(any_store)
    assert raw_pack.pack_day(any_store, "plant", "m1", DAY) is None
    assert raw.get(any_store, known.ref) == b"one\ntwo\nthree\n"


def test_two_files_grow_side_by_side(any_store: Store) -> None:
    grown(any_store)
    other = append(any_store, 0, b"other\n", name="LOG.txt.old")
    assert raw.get(any_store, other.ref) == b"other\n"
    known = find(any_store)
    assert known is not None
    assert known.size == 14


def test_only_growing_files_are_joined(store: Store) -> None:
    ref = raw.put(store.outputs, "plant", "m1", DAY, "a", b"x")
    with pytest.raises(StoreError, match="no growing file"):
        raw_slices.join(store, ref)


@pytest.mark.parametrize("step", ["written", "committed"])
def test_a_kill_while_joining_loses_nothing(
    any_store: Store, killed_at: Callable[..., bool], step: str
) -> None:
    known = grown(any_store)
    body = f"module.join(store, {known.ref!r})"
    assert killed_at(any_store, "workspace_lib.store.raw_slices", step, body)
    assert raw.get(any_store, known.ref) == b"one\ntwo\nthree\n"
    raw_slices.join(any_store, known.ref)
    assert raw.get(any_store, known.ref) == b"one\ntwo\nthree\n"
    assert [p.name for p in (any_store.outputs / "raw").rglob("*") if p.is_file()] == ["LOG.txt"]
