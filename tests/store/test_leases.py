"""Leases: never more units than there are, never renewed once run out, never two holders."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.leases import acquire, held, holders, release, renew

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def names(store: Store, resource: str, now: datetime) -> list[str]:
    with read(store.control) as connection:
        return [lease.holder for lease in holders(connection, resource, now)]


def test_a_device_has_one_holder(any_store: Store) -> None:
    engine = any_store.control
    assert acquire(engine, "line:COM1", "r1", ttl_s=30, now=NOW)
    assert not acquire(engine, "line:COM1", "r2", ttl_s=30, now=after(29.9))
    assert acquire(engine, "line:COM2", "r2", ttl_s=30, now=NOW)
    assert names(any_store, "line:COM1", after(29.9)) == ["r1"]


def test_a_source_is_shared_up_to_its_capacity(any_store: Store) -> None:
    engine = any_store.control

    def take(holder: str, units: int = 1) -> bool:
        return acquire(engine, "ftp:plant", holder, units=units, capacity=3, ttl_s=30, now=NOW)

    assert take("r1", 2)
    assert not take("r2", 2)
    assert take("r2", 1)
    assert not take("r3", 1)
    release(engine, "r1", "ftp:plant")
    assert take("r3", 2)


def test_more_units_than_there_are_is_an_error_not_an_endless_wait(store: Store) -> None:
    with pytest.raises(ParameterError, match="3 of ftp:plant were asked for; it has 2"):
        acquire(store.control, "ftp:plant", "r1", units=3, capacity=2, ttl_s=30, now=NOW)


def test_a_holder_that_asks_again_keeps_its_lease_and_its_beginning(any_store: Store) -> None:
    engine = any_store.control
    acquire(engine, "line:COM1", "r1", ttl_s=30, now=NOW)
    assert acquire(engine, "line:COM1", "r1", ttl_s=30, now=after(10))
    with read(engine) as connection:
        (lease,) = holders(connection, "line:COM1", after(35))
    assert (lease.acquired, lease.expires) == (NOW, after(40))


def test_a_lease_that_ran_out_can_be_taken_and_never_be_renewed(any_store: Store) -> None:
    engine = any_store.control
    acquire(engine, "line:COM1", "r1", ttl_s=30, now=NOW)
    assert renew(engine, "r1", ttl_s=30, now=after(29))
    assert acquire(engine, "line:COM1", "r2", ttl_s=30, now=after(59))
    assert not renew(engine, "r1", ttl_s=30, now=after(60))
    assert names(any_store, "line:COM1", after(60)) == ["r2"]


def test_a_lease_that_ran_out_is_not_renewed_even_if_nobody_took_it(any_store: Store) -> None:
    acquire(any_store.control, "line:COM1", "r1", ttl_s=30, now=NOW)
    assert not renew(any_store.control, "r1", ttl_s=30, now=after(30))
    assert acquire(any_store.control, "line:COM1", "r1", ttl_s=30, now=after(31))
    assert renew(any_store.control, "r1", ttl_s=30, now=after(32))


def test_a_holder_that_lost_one_of_its_leases_is_told(any_store: Store) -> None:
    engine = any_store.control
    acquire(engine, "line:COM1", "r1", ttl_s=10, now=NOW)
    acquire(engine, "line:COM2", "r1", ttl_s=60, now=NOW)
    acquire(engine, "line:COM1", "r2", ttl_s=60, now=after(20))
    release(engine, "r2")
    assert not renew(engine, "r1", ttl_s=60, now=after(21))


def test_renewing_moves_all_leases_of_the_holder_and_no_other(any_store: Store) -> None:
    engine = any_store.control
    for resource, holder in (("a", "r1"), ("b", "r1"), ("c", "r2")):
        acquire(engine, resource, holder, ttl_s=30, now=NOW)
    assert renew(engine, "r1", ttl_s=30, now=after(20))
    with read(engine) as connection:
        assert [lease.resource for lease in held(connection, after(40))] == ["a", "b"]
        assert held(connection, after(40), holder="r2") == []


def test_nobody_renews_what_he_does_not_hold(store: Store) -> None:
    assert not renew(store.control, "r1", ttl_s=30, now=NOW)


def test_releasing_everything_gives_back_everything(any_store: Store) -> None:
    for resource in ("a", "b"):
        acquire(any_store.control, resource, "r1", ttl_s=30, now=NOW)
    release(any_store.control, "r1")
    assert names(any_store, "a", NOW) == names(any_store, "b", NOW) == []


def test_many_at_once_never_get_more_than_there_is(any_store: Store) -> None:
    got: list[str] = []
    start = threading.Barrier(8)

    def take(holder: str) -> None:
        start.wait(timeout=60)
        if acquire(any_store.control, "ftp:plant", holder, capacity=3, ttl_s=600, now=NOW):
            got.append(holder)

    threads = [threading.Thread(target=take, args=(f"r{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(got) == 3
    assert sorted(names(any_store, "ftp:plant", NOW)) == sorted(got)


def test_a_lost_lease_is_forgotten_after_a_day(store: Store) -> None:
    acquire(store.control, "a", "r1", ttl_s=1, now=NOW)
    acquire(store.control, "a", "r2", ttl_s=1, now=after(2))
    acquire(store.control, "a", "r3", ttl_s=1, now=after(200_000))
    with write(store.control) as connection:
        rows = connection.exec_driver_sql("SELECT holder FROM leases").scalars().all()
    assert rows == ["r3"]
