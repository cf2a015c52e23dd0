"""Exclusive devices: one holder, known by name, gone in time, also when it is killed or hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from workspace_lib.clock import FakeClock
from workspace_lib.errors import DeviceBusy, DeviceError, DeviceTimeout, StoreError
from workspace_lib.settings import Settings
from workspace_lib.store import leases
from workspace_lib.store.engines import Store, read
from workspace_lib.transports import devices
from workspace_lib.transports.devices import Holder, open_exclusive

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
LINE = "line:COM1"


class Line:
    """A device that only notes when it is closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.closings = 0

    def close(self) -> None:
        self.closings += 1
        self.closed.set()


def holders(store: Store, now: datetime) -> list[leases.Lease]:
    with read(store.control) as connection:
        return leases.holders(connection, LINE, now)


def test_the_device_is_closed_and_given_back_in_the_end(any_store: Store) -> None:
    clock = FakeClock(START)
    with open_exclusive(any_store, LINE, Holder("r1"), Line, clock=clock) as line:
        assert [lease.holder for lease in holders(any_store, START)] == ["r1"]
        assert not line.closed.is_set()
    assert line.closings == 1
    assert holders(any_store, START) == []


def test_a_second_one_is_told_who_holds_it_since_when(store: Store) -> None:
    clock = FakeClock(START)
    with open_exclusive(store, LINE, Holder("run-7", 30), Line, clock=clock):
        clock.advance(5)
        with (
            pytest.raises(DeviceBusy, match=r"line:COM1.*run-7 since 2026-03-01T08:00:00Z"),
            open_exclusive(store, LINE, Holder("run-8"), Line, clock=clock),
        ):
            pytest.fail("two at once")
        with open_exclusive(store, "line:COM2", Holder("run-8"), Line, clock=clock):
            pass


def test_the_same_holder_cannot_open_it_twice(store: Store) -> None:
    with open_exclusive(store, LINE, Holder("r1"), Line):
        with (
            pytest.raises(DeviceBusy, match=rf"has it open: r1 \(process {os.getpid()}\) since"),
            open_exclusive(store, LINE, Holder("r1"), Line),
        ):
            pytest.fail("opened twice")
        assert len(holders(store, datetime.now(UTC))) == 1


def test_a_lease_the_holder_had_before_stays(store: Store) -> None:
    clock = FakeClock(START)
    leases.acquire(store.control, LINE, "r1", ttl_s=30, now=START)
    for _ in range(2):
        with open_exclusive(store, LINE, Holder("r1", 30), Line, clock=clock):
            pass
        assert [lease.holder for lease in holders(store, START)] == ["r1"]


def test_a_device_that_does_not_open_is_given_back(store: Store) -> None:
    def refuse() -> Line:
        raise DeviceTimeout("No answer.", where=LINE)

    with pytest.raises(DeviceTimeout), open_exclusive(store, LINE, Holder("r1"), refuse):
        pytest.fail("it opened")
    with open_exclusive(store, LINE, Holder("r2"), Line):
        pass


def test_the_callers_own_error_comes_out_and_the_device_is_closed(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), open_exclusive(store, LINE, Holder("r1"), Line) as line:
        raise ZeroDivisionError
    assert line.closings == 1
    assert holders(store, datetime.now(UTC)) == []


def test_the_lease_is_renewed_while_the_device_is_open(
    store: Store, wait_until: Callable[..., None]
) -> None:
    clock = FakeClock(START)
    with open_exclusive(store, LINE, Holder("r1", 0.4), Line, clock=clock) as line:
        for _ in range(5):
            clock.advance(0.2)
            wait_until(
                lambda: holders(store, clock.now())[0].expires > clock.now() + 0.3 * SECOND,
                "the lease is renewed",
            )
        assert not line.closed.is_set()


SECOND = datetime(2026, 1, 1, 0, 0, 1) - datetime(2026, 1, 1)


@pytest.fixture
def silent_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store that no longer answers when a lease is to be renewed."""
    go_on = threading.Event()

    def hang(*arguments: object, **options: object) -> bool:
        go_on.wait(120)
        raise StoreError("The store is locked.")

    monkeypatch.setattr(devices.leases, "renew", hang)
    yield store
    go_on.set()


def test_the_watchdog_closes_the_device_before_the_lease_ends(silent_store: Store) -> None:
    clock = FakeClock(START)
    with pytest.raises(DeviceError, match=r"The lease of r1 was lost.*could not be renewed"):  # noqa: PT012, SIM117
        with open_exclusive(silent_store, LINE, Holder("r1", 40), Line, clock=clock) as line:
            clock.advance(29)
            assert not line.closed.wait(1.5)
            clock.advance(2)
            assert line.closed.wait(60)
            assert [lease.holder for lease in holders(silent_store, clock.now())] == ["r1"]
    assert line.closings == 1


def test_the_watchdog_also_acts_on_a_clock_that_was_set_forward(silent_store: Store) -> None:
    clock = FakeClock(START)
    with pytest.raises(DeviceError), open_exclusive(  # noqa: PT012
        silent_store, LINE, Holder("r1", 40), Line, clock=clock
    ) as line:  # fmt: skip
        clock.step(datetime(2026, 3, 1, 9, tzinfo=UTC))
        assert line.closed.wait(60)


def test_a_lease_taken_by_another_closes_the_device_at_once(store: Store) -> None:
    clock = FakeClock(START)
    with pytest.raises(DeviceError, match="somebody else has it"), open_exclusive(  # noqa: PT012
        store, LINE, Holder("r1", 0.4), Line, clock=clock
    ) as line:  # fmt: skip
        leases.release(store.control, "r1")
        leases.acquire(store.control, LINE, "r2", ttl_s=30, now=START)
        assert line.closed.wait(60)
    assert [lease.holder for lease in holders(store, START)] == ["r2"]


def test_an_error_of_a_device_closed_under_the_caller_names_the_lost_lease(store: Store) -> None:
    clock = FakeClock(START)
    with pytest.raises(DeviceError, match="lease of r1 was lost") as told:  # noqa: PT012, SIM117
        with open_exclusive(store, LINE, Holder("r1", 0.4), Line, clock=clock) as line:
            leases.release(store.control, "r1")
            assert line.closed.wait(60)
            raise OSError("bad file descriptor")
    assert isinstance(told.value.__cause__, OSError)


def test_a_lease_lost_while_opening_closes_the_device(
    store: Store, wait_until: Callable[..., None]
) -> None:
    clock = FakeClock(START)
    line = Line()

    def slow() -> Line:
        leases.release(store.control, "r1")
        wait_until(
            lambda: not any(t.name == f"{LINE}:renew" for t in threading.enumerate()),
            "nobody renews any more",
        )
        return line

    with (
        pytest.raises(DeviceError, match="lease of r1 was lost"),
        open_exclusive(store, LINE, Holder("r1", 0.4), slow, clock=clock),
    ):
        pytest.fail("a lost device was handed out")
    assert line.closings == 1


HOLD = """
import sys
from pathlib import Path
from workspace_lib.settings import load_settings
from workspace_lib.store.migrate import open_store
from workspace_lib.transports.devices import Holder, open_exclusive

class Line:
    def close(self):
        print("closed", flush=True)

settings = load_settings(sys.argv[1], root=sys.argv[2])
with open_store(settings) as store:
    with open_exclusive(store, "line:COM1", Holder("other-run", float(sys.argv[3])), Line):
        print("open", flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def hold(store: Store, settings: Settings) -> Iterator[Callable[[float], subprocess.Popen[str]]]:
    """Hold the line in another process until it reads a line or is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(ttl_s: float) -> subprocess.Popen[str]:
        arguments = [settings.site_name, str(settings.root), str(ttl_s)]
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(getattr(signal, "SIGCONT", signal.SIGTERM))
            process.kill()
        process.communicate()


def test_another_process_waits_for_the_first(
    store: Store, hold: Callable[[float], subprocess.Popen[str]]
) -> None:
    process = hold(60)
    with pytest.raises(DeviceBusy, match="other-run"), open_exclusive(
        store, LINE, Holder("r1"), Line
    ):  # fmt: skip
        pytest.fail("two at once")
    told, _ = process.communicate("go\n", timeout=60)
    assert told == "closed\n"
    with open_exclusive(store, LINE, Holder("r1"), Line):
        pass


def test_a_killed_holder_frees_the_device_when_its_lease_ends(
    store: Store, hold: Callable[[float], subprocess.Popen[str]]
) -> None:
    process = hold(60)
    process.kill()
    process.wait(60)
    with pytest.raises(DeviceBusy, match="It is held by other-run"), open_exclusive(
        store, LINE, Holder("r1"), Line
    ):  # fmt: skip
        pytest.fail("the lease was not respected")
    later = FakeClock(holders(store, datetime.now(UTC))[0].expires)
    with open_exclusive(store, LINE, Holder("r1"), Line, clock=later) as line:
        assert not line.closed.is_set()


@pytest.mark.skipif(sys.platform == "win32", reason="stopping a process is POSIX")
def test_a_frozen_holder_keeps_the_device_by_its_lock_also_after_its_lease(
    store: Store, hold: Callable[[float], subprocess.Popen[str]]
) -> None:
    process = hold(60)
    process.send_signal(signal.SIGSTOP)
    later = FakeClock(datetime.now(UTC))
    later.advance(3600)
    assert holders(store, later.now()) == []
    with pytest.raises(
        DeviceBusy, match=rf"Another process .*: other-run \(process {process.pid}\)"
    ), open_exclusive(store, LINE, Holder("r1"), Line, clock=later):  # fmt: skip
        pytest.fail("two at once")
    assert holders(store, later.now()) == []
