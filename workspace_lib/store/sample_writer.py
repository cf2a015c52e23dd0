"""A writer of samples for senders that wait: one transaction per fifth of a second, then the ack.

A commit per message would cost a disk flush each; a commit per minute would lose a minute. The
writer collects what comes in for at most ``batch_s`` seconds, commits it with the cursors that
belong to it, and only then calls back, so that what was acknowledged survives a power cut.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError

from workspace_lib.errors import StoreError
from workspace_lib.store.cursors import set_cursor
from workspace_lib.store.engines import write
from workspace_lib.store.sample_rows import Appended, Row, Stream, insert_packed, pack_rows

LOG = logging.getLogger(__name__)
_ROWS_PER_WRITE = 20_000
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class _Entry:
    stream: Stream
    packed: list[tuple[int, int, bytes]]
    cursor: tuple[str, Any] | None
    on_commit: Callable[[], None] | None
    since: float


class Writer:
    """Collects rows of any streams and commits them from a thread of its own.

    Parameters
    ----------
    engine : Engine
        The data database (``store.data``).
    batch_s : float
        Longest time a row waits for its commit [s].
    capacity : int
        Most rows that wait while the database does not take them.
    """

    def __init__(self, engine: Engine, *, batch_s: float = 0.2, capacity: int = 200_000) -> None:
        self._engine = engine
        self._batch_s = batch_s
        self._capacity = capacity
        self._changed = threading.Condition()
        self._entries: list[_Entry] = []
        self._rows = 0
        self._flushing = 0
        self._closing = False
        self._trouble: str | None = None
        self._failure: BaseException | None = None
        self._totals = Appended(0, 0)
        self._thread = threading.Thread(target=self._work, name="sample-writer", daemon=True)
        self._thread.start()

    @property
    def totals(self) -> Appended:
        """Rows committed so far, and duplicates among them that were there already."""
        with self._changed:
            return self._totals

    @property
    def waiting(self) -> int:
        """Rows that are not committed yet."""
        with self._changed:
            return self._rows

    @property
    def trouble(self) -> str | None:
        """Why the last commit failed and is tried again, None when all is well."""
        with self._changed:
            return self._trouble

    def append(
        self,
        stream: Stream,
        rows: Iterable[Row],
        *,
        cursor: tuple[str, Any] | None = None,
        on_commit: Callable[[], None] | None = None,
    ) -> None:
        """Hand over rows; returns at once.

        Parameters
        ----------
        stream : Stream
            Where the rows belong.
        rows : iterable of Row
            The rows; duplicates are absorbed.
        cursor : (name, value), optional
            Moves in the same transaction.
        on_commit : callable, optional
            Called from the writer's thread once the rows are committed: acknowledge here.

        Raises
        ------
        ParameterError
            If a row does not fit the stream.
        StoreError
            If the writer is closed, has failed, or holds as many rows as it may: the sender must
            keep what it could not hand over.
        """
        packed = pack_rows(stream, rows)
        with self._changed:
            self._check()
            if self._closing:
                raise StoreError("The writer of samples is closed.")
            if self._rows and self._rows + len(packed) > self._capacity:
                raise StoreError(
                    f"{self._rows} samples wait and the database does not take them"
                    f"{': ' + self._trouble if self._trouble else ''}.",
                    fix="Keep them at the sender and try again.",
                )
            self._entries.append(_Entry(stream, packed, cursor, on_commit, time.monotonic()))
            self._rows += len(packed)
            self._changed.notify_all()

    def flush(self, timeout_s: float = 30.0) -> None:
        """Commit all that waits now, and return when it is done.

        Raises
        ------
        StoreError
            If that takes longer than ``timeout_s`` [s], or the writer has failed.
        """
        with self._changed:
            self._flushing += 1
            self._changed.notify_all()
            try:
                done = self._changed.wait_for(
                    lambda: not self._entries or self._failure is not None, timeout_s
                )
            finally:
                self._flushing -= 1
            self._check()
            if not done:
                raise StoreError(
                    f"{self._rows} samples could not be committed within {timeout_s:g} s"
                    f"{': ' + self._trouble if self._trouble else ''}.",
                    fix="They were not acknowledged; the sender still has them.",
                )

    def close(self, timeout_s: float = 30.0) -> None:
        """Commit what waits and end the thread; raises as `flush` does."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        try:
            self.flush(timeout_s)
        finally:
            with self._changed:
                # What could not be committed was not acknowledged either.
                self._entries = []
                self._rows = 0
                self._changed.notify_all()
            self._thread.join(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self) -> None:
        if self._failure is not None:
            raise StoreError(
                f"The writer of samples has failed: {self._failure}.",
                fix="What was not acknowledged is still at the sender; start it again.",
            ) from self._failure

    def _work(self) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            batch = self._next_batch()
            if batch is None:
                return
            try:
                totals = self._commit(batch)
            except (StoreError, OperationalError, InterfaceError) as error:
                # Locked, full or gone: the rows stay and are tried again.
                trouble = str(error if isinstance(error, StoreError) else error.orig).rstrip(".")
                with self._changed:
                    if self._trouble is None:
                        LOG.warning("Samples cannot be committed, trying again: %s.", trouble)
                    self._trouble = trouble
                    self._changed.wait_for(lambda: self._closing and not self._entries, wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                continue
            except Exception as error:
                LOG.exception("The writer of samples has failed.")
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return
            wait_s = _FIRST_WAIT_S
            # Acknowledge before `flush` returns, so that its caller finds everything done.
            self._acknowledge(batch)
            self._forget(batch, totals)

    def _next_batch(self) -> list[_Entry] | None:
        """Wait until something is due and return it, None when the writer is closed."""
        with self._changed:
            while True:
                if self._entries:
                    age = time.monotonic() - self._entries[0].since
                    due = self._flushing or self._closing or self._rows >= _ROWS_PER_WRITE
                    if due or age >= self._batch_s:
                        return self._cut()
                    self._changed.wait(self._batch_s - age)
                elif self._closing:
                    return None
                else:
                    self._changed.wait()

    def _cut(self) -> list[_Entry]:
        rows = 0
        for number, entry in enumerate(self._entries):
            rows += len(entry.packed)
            if rows >= _ROWS_PER_WRITE:
                return self._entries[: number + 1]
        return list(self._entries)

    def _commit(self, batch: list[_Entry]) -> Appended:
        by_stream: dict[int, tuple[Stream, list[tuple[int, int, bytes]]]] = {}
        cursors: dict[str, Any] = {}
        for entry in batch:
            by_stream.setdefault(entry.stream.id, (entry.stream, []))[1].extend(entry.packed)
            if entry.cursor is not None:
                cursors[entry.cursor[0]] = entry.cursor[1]
        inserted = duplicates = 0
        with write(self._engine) as connection:
            for stream, packed in by_stream.values():
                done = insert_packed(connection, stream, packed)
                inserted += done.inserted
                duplicates += done.duplicates
            for name, value in cursors.items():
                set_cursor(connection, name, value)
        return Appended(inserted, duplicates)

    def _forget(self, batch: list[_Entry], done: Appended) -> None:
        with self._changed:
            if self._trouble is not None:
                LOG.info("Samples are committed again.")
                self._trouble = None
            # `close` may have given up on them meanwhile.
            if self._entries:
                self._entries = self._entries[len(batch) :]
                self._rows -= sum(len(entry.packed) for entry in batch)
            self._totals = Appended(
                self._totals.inserted + done.inserted, self._totals.duplicates + done.duplicates
            )
            self._changed.notify_all()

    @staticmethod
    def _acknowledge(batch: list[_Entry]) -> None:
        for entry in batch:
            if entry.on_commit is None:
                continue
            try:
                entry.on_commit()
            except Exception:
                LOG.exception("An acknowledgement failed; the sender will send again.")
