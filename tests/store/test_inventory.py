"""The inventory: what a listing makes of files, their versions, states and replays."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from workspace_lib.errors import StoreError
from workspace_lib.files import sha256_bytes
from workspace_lib.store import inventory, raw
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.inventory import Fetched, FileRow, Listed, Observation

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OLD = NOW - timedelta(hours=2)
FRESH = NOW - timedelta(seconds=30)


def observe(
    store: Store, *listed: Listed, now: datetime = NOW, stable_after_s: float = 600, **options: str
) -> Observation:
    return inventory.observe(
        store.data, "plant", listed, now=now, stable_after_s=stable_after_s, **options
    )


def fetch(store: Store, path: str, content: bytes, modified: datetime | None = OLD) -> int:
    ref = raw.put(store.outputs, "plant", "g1", date(2026, 3, 1), path, content)
    with write(store.data) as connection:
        return inventory.register_fetched(
            connection,
            "plant",
            [Fetched(path, len(content), sha256_bytes(content), ref, modified)],
            NOW,
        )


def files(store: Store) -> list[FileRow]:
    with read(store.data) as connection:
        return inventory.list_files(connection, "plant")


def states(store: Store) -> dict[str, str]:
    return {f"{row.path} {row.version}": row.state for row in files(store)}


def parse_all(store: Store) -> None:
    with write(store.data) as connection:
        rows = inventory.pending(connection, "plant", limit=1000)
        inventory.mark_parsed(connection, [row.id for row in rows], NOW)


def test_an_old_file_is_taken_at_once(any_store: Store) -> None:
    seen = observe(any_store, Listed("/a.txt", 10, OLD))
    assert [row.path for row in seen.to_fetch] == ["/a.txt"]
    assert (seen.new, seen.known, seen.waiting, seen.vanished) == (1, 0, 0, 0)


def test_a_fresh_file_waits_for_a_second_equal_listing(any_store: Store) -> None:
    first = observe(any_store, Listed("/a.txt", 10, FRESH))
    assert first.to_fetch == []
    assert first.waiting == 1
    second = observe(any_store, Listed("/a.txt", 10, FRESH))
    assert [(row.path, row.state) for row in second.to_fetch] == [("/a.txt", "stable")]


def test_a_growing_file_keeps_waiting_and_stays_one_version(any_store: Store) -> None:
    for size in (10, 20, 30):
        assert observe(any_store, Listed("/a.txt", size, FRESH)).to_fetch == []
    [row] = files(any_store)
    assert (row.version, row.size, row.state) == (1, 30, "seen")


def test_a_stable_file_that_grows_before_it_was_fetched_waits_again(any_store: Store) -> None:
    observe(any_store, Listed("/a.txt", 10, FRESH))
    observe(any_store, Listed("/a.txt", 10, FRESH))
    assert observe(any_store, Listed("/a.txt", 11, FRESH)).to_fetch == []
    assert states(any_store) == {"/a.txt 1": "seen"}


def test_a_file_without_a_time_waits_for_the_second_listing(any_store: Store) -> None:
    assert observe(any_store, Listed("/a.txt", 10)).waiting == 1
    assert len(observe(any_store, Listed("/a.txt", 10)).to_fetch) == 1


def test_zero_seconds_take_every_file(any_store: Store) -> None:
    assert len(observe(any_store, Listed("/a.txt", 10), stable_after_s=0).to_fetch) == 1


def test_what_was_not_fetched_is_offered_again_and_the_limit_holds(any_store: Store) -> None:
    listing = [Listed(f"/{n}.txt", 10, OLD) for n in range(5)]
    for _ in range(2):
        seen = inventory.observe(
            any_store.data, "plant", listing, now=NOW, stable_after_s=600, limit=3
        )
        assert [row.path for row in seen.to_fetch] == ["/0.txt", "/1.txt", "/2.txt"]


def test_fetched_files_are_known_and_nothing_changes(any_store: Store) -> None:
    observe(any_store, Listed("/a.txt", 4, OLD))
    assert fetch(any_store, "/a.txt", b"rain") == 1
    before = files(any_store)
    seen = observe(any_store, Listed("/a.txt", 4, OLD), now=NOW + timedelta(days=1))
    assert (seen.to_fetch, seen.known, seen.new) == ([], 1, 0)
    assert files(any_store) == before


@pytest.mark.parametrize(
    "changed", [Listed("/a.txt", 5, OLD), Listed("/a.txt", 4, OLD + timedelta(minutes=7))]
)
def test_a_changed_file_is_a_new_version(any_store: Store, changed: Listed) -> None:
    observe(any_store, Listed("/a.txt", 4, OLD))
    fetch(any_store, "/a.txt", b"rain")
    parse_all(any_store)
    seen = observe(any_store, changed)
    assert [(row.path, row.version) for row in seen.to_fetch] == [("/a.txt", 2)]
    assert states(any_store) == {"/a.txt 1": "parsed", "/a.txt 2": "stable"}


def test_a_touched_file_with_equal_bytes_is_not_parsed_twice(any_store: Store) -> None:
    observe(any_store, Listed("/a.txt", 4, OLD))
    fetch(any_store, "/a.txt", b"rain")
    parse_all(any_store)
    later = OLD + timedelta(minutes=7)
    observe(any_store, Listed("/a.txt", 4, later))
    assert fetch(any_store, "/a.txt", b"rain", later) == 0
    assert states(any_store) == {"/a.txt 1": "parsed", "/a.txt 2": "parsed"}


@pytest.mark.parametrize("coarse", [OLD.replace(second=0), OLD.replace(hour=0, minute=0, second=0)])
def test_a_listing_with_coarser_times_shows_the_same_file(
    any_store: Store, coarse: datetime
) -> None:
    exact = OLD.replace(second=17)
    observe(any_store, Listed("/a.txt", 4, exact))
    fetch(any_store, "/a.txt", b"rain", exact)
    assert observe(any_store, Listed("/a.txt", 4, coarse)).known == 1


def test_vanished_files_are_counted_and_kept(any_store: Store) -> None:
    observe(any_store, Listed("/a.txt", 4, OLD), Listed("/b/c.txt", 4, OLD))
    fetch(any_store, "/a.txt", b"rain")
    before = files(any_store)
    seen = observe(any_store)
    assert (seen.vanished, seen.to_fetch) == (2, [])
    assert files(any_store) == before


def test_a_listing_of_one_folder_misses_nothing_elsewhere(any_store: Store) -> None:
    observe(any_store, Listed("/a.txt", 4, OLD), Listed("/b/c.txt", 4, OLD))
    seen = observe(any_store, Listed("/b/c.txt", 4, OLD), scope="/b/")
    assert seen.vanished == 0
    assert [row.path for row in seen.to_fetch] == ["/b/c.txt"]


def test_the_device_of_a_path_is_kept(any_store: Store) -> None:
    inventory.observe(
        any_store.data,
        "plant",
        [Listed("/g7/a.txt", 4, OLD)],
        now=NOW,
        stable_after_s=0,
        device_of=lambda path: path.split("/")[1],
    )
    fetch(any_store, "/g7/a.txt", b"rain")
    assert [row.device for row in files(any_store)] == ["g7"]


def test_two_sources_do_not_mix(any_store: Store) -> None:
    observe(any_store, Listed("/a.txt", 4, OLD))
    seen = inventory.observe(any_store.data, "other", [], now=NOW, stable_after_s=0)
    assert seen.vanished == 0


def test_registering_twice_changes_nothing(any_store: Store) -> None:
    observe(any_store, Listed("/a.txt", 4, OLD))
    assert fetch(any_store, "/a.txt", b"rain") == 1
    before = files(any_store)
    assert fetch(any_store, "/a.txt", b"rain") == 0
    assert files(any_store) == before


def test_a_file_that_no_listing_showed_can_be_registered(any_store: Store) -> None:
    fetch(any_store, "/event_12.cev", b"event")
    assert states(any_store) == {"/event_12.cev 1": "fetched"}
    fetch(any_store, "/event_12.cev", b"other bytes")
    assert states(any_store) == {"/event_12.cev 1": "fetched", "/event_12.cev 2": "fetched"}


def test_pending_files_come_in_order_and_in_slices(any_store: Store) -> None:
    for name in ("/c", "/a", "/b"):
        fetch(any_store, name, name.encode())
    with read(any_store.data) as connection:
        first = inventory.pending(connection, "plant", limit=2)
        rest = inventory.pending(connection, "plant", limit=2, after_id=first[-1].id)
        only = inventory.pending(connection, "plant", limit=9, prefix="/a")
    assert [row.path for row in first + rest] == ["/c", "/a", "/b"]
    assert [row.path for row in only] == ["/a"]


def test_a_parsed_file_is_no_longer_pending(any_store: Store) -> None:
    fetch(any_store, "/a", b"a")
    parse_all(any_store)
    parse_all(any_store)
    with read(any_store.data) as connection:
        assert inventory.pending(connection, "plant", limit=9) == []


def test_many_files_are_marked_in_one_call(any_store: Store) -> None:
    with write(any_store.data) as connection:
        inventory.register_fetched(
            connection, "plant", [Fetched(f"/{n}", 1, f"{n:064x}", None) for n in range(1203)], NOW
        )
    with write(any_store.data) as connection:
        rows = inventory.pending(connection, "plant", limit=5000)
        inventory.mark_parsed(connection, [row.id for row in rows], NOW)
        assert inventory.count_states(connection) == {"plant": {"parsed": 1203}}


def test_a_file_that_was_not_fetched_cannot_become_parsed(any_store: Store) -> None:
    observe(any_store, Listed("/a.txt", 4, FRESH))
    [row] = files(any_store)
    with (
        pytest.raises(StoreError, match="is seen and cannot become parsed"),
        write(any_store.data) as connection,
    ):
        inventory.mark_parsed(connection, [row.id], NOW)
    assert states(any_store) == {"/a.txt 1": "seen"}


def test_a_quarantined_file_keeps_its_reason_until_it_is_cleared(any_store: Store) -> None:
    fetch(any_store, "/a", b"a")
    fetch(any_store, "/b", b"b")
    with write(any_store.data) as connection:
        inventory.quarantine(connection, files(any_store)[0].id, "line 3: no number", NOW)
    assert [(row.state, row.message) for row in files(any_store)] == [
        ("quarantined", "line 3: no number"),
        ("fetched", None),
    ]
    parse_all(any_store)
    with write(any_store.data) as connection:
        assert inventory.clear_quarantine(connection, "plant", now=NOW) == 1
    assert [(row.state, row.message) for row in files(any_store)] == [
        ("fetched", None),
        ("parsed", None),
    ]


def test_replay_makes_the_files_of_a_folder_pending_again(any_store: Store) -> None:
    for path in ("/g1/a", "/g1/b", "/g10/a"):
        fetch(any_store, path, path.encode())
    parse_all(any_store)
    with write(any_store.data) as connection:
        assert inventory.replay(connection, "plant", prefix="/g1/", now=NOW) == 2
    assert states(any_store) == {
        "/g1/a 1": "fetched",
        "/g1/b 1": "fetched",
        "/g10/a 1": "parsed",
    }


def test_replay_by_prefix_takes_only_the_newest_version(any_store: Store) -> None:
    fetch(any_store, "/a", b"one")
    fetch(any_store, "/a", b"two")
    parse_all(any_store)
    with write(any_store.data) as connection:
        assert inventory.replay(connection, "plant", prefix="/a", now=NOW) == 1
    assert states(any_store) == {"/a 1": "parsed", "/a 2": "fetched"}
    old = files(any_store)[0].id
    with write(any_store.data) as connection:
        assert inventory.replay(connection, "plant", ids=[old], now=NOW) == 1


def test_a_file_we_deleted_is_not_missed_and_can_be_replayed(any_store: Store) -> None:
    observe(any_store, Listed("/a", 1, OLD))
    fetch(any_store, "/a", b"a")
    parse_all(any_store)
    with write(any_store.data) as connection:
        inventory.mark_deleted(connection, [files(any_store)[0].id], NOW)
    assert observe(any_store).vanished == 0
    with write(any_store.data) as connection:
        assert inventory.replay(connection, "plant", now=NOW) == 1
        [row] = inventory.pending(connection, "plant", limit=9)
    assert row.raw_ref is not None
    assert raw.get(any_store, row.raw_ref) == b"a"


def test_a_deleted_file_that_comes_back_is_a_new_version(any_store: Store) -> None:
    observe(any_store, Listed("/a", 1, OLD))
    fetch(any_store, "/a", b"a")
    parse_all(any_store)
    with write(any_store.data) as connection:
        inventory.mark_deleted(connection, [files(any_store)[0].id], NOW)
    assert [row.version for row in observe(any_store, Listed("/a", 1, OLD)).to_fetch] == [2]


def test_a_listing_larger_than_a_transaction_is_observed_and_then_known(store: Store) -> None:
    listing = [
        Listed(f"/g1/A0_{n:06d}.txt", 170, NOW - timedelta(minutes=5 * n + 60))
        for n in range(21_000)
    ]
    first = inventory.observe(store.data, "plant", listing, now=NOW, stable_after_s=600, limit=100)
    assert (first.new, len(first.to_fetch)) == (21_000, 100)
    with write(store.data) as connection:
        inventory.register_fetched(
            connection, "plant", [Fetched(item.path, 170, "0" * 64, None) for item in listing], NOW
        )
    second = inventory.observe(store.data, "plant", listing, now=NOW, stable_after_s=600)
    assert (second.known, second.new, second.to_fetch) == (21_000, 0, [])
