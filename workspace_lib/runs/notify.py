"""Telling people what fails, what works again, and which publications went stale: each once.

What was told stands in the store, so that neither a restart nor a second scheduler tells it again.
What still fails is repeated after `notify.repeat_after`; what could not be delivered is tried
again. Nothing here ever keeps the scheduler from its work.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from sqlalchemy import Connection, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from workspace_lib import secrets
from workspace_lib.errors import WorkspaceError
from workspace_lib.runs.durations import parse_duration
from workspace_lib.runs.tables import notices, runs
from workspace_lib.settings import Settings
from workspace_lib.store.alarms import open_alarms
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.publications import list_published
from workspace_lib.store.upsert import upsert

Kind = Literal["failure", "recovery"]

#: Runs that ended so long ago are looked at again: another scheduler's clock may be behind [s].
OVERLAP_S = 60.0
#: The first look goes back so far [s].
FIRST_LOOK_S = 86_400.0
#: What could not be delivered is tried again after this [s].
TRY_AGAIN_S = 60.0
_DELIVERY_TIMEOUT_S = 20.0
_WATERMARK = "watermark"
_JUDGED = ("succeeded", "failed", "timed_out", "lost")

_TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "failure": "{site}: trouble ({count})",
        "recovery": "{site}: works again ({count})",
        "job": "The job {job} {state}: {why} (run {run})",
        "failed": "failed",
        "timed_out": "ran too long",
        "lost": "was lost",
        "stale": "{name} is stale: as of {as_of}",
        "since": "since {since}",
        "again": "again well: {text}",
    },
    "fr": {
        "failure": "{site} : incident ({count})",
        "recovery": "{site} : retour à la normale ({count})",
        "job": "La tâche {job} {state} : {why} (exécution {run})",
        "failed": "a échoué",
        "timed_out": "a duré trop longtemps",
        "lost": "a été perdue",
        "stale": "{name} n'est plus à jour : données du {as_of}",
        "since": "depuis {since}",
        "again": "rétabli : {text}",
    },
}

log = logging.getLogger("workspace_lib.runs.notify")
_delivering = threading.Lock()


@dataclass(frozen=True)
class Message:
    """One message to people."""

    kind: Kind
    title: str
    body: str


class Notifier(Protocol):
    """Brings messages to people."""

    def tell(self, message: Message) -> bool:
        """Deliver one message; returns whether everybody got it. Never raises."""
        ...


class AppriseNotifier:
    """Delivers to the apprise addresses of the site's settings; secrets in them are filled in."""

    def __init__(self, settings: Settings) -> None:
        self._addresses = settings.notify.addresses

    def tell(self, message: Message) -> bool:
        """Deliver one message to all addresses."""
        import apprise

        # Its own log would show addresses, and it goes past ours.
        logging.getLogger("apprise").setLevel(logging.CRITICAL)
        good = (
            apprise.NotifyType.SUCCESS if message.kind == "recovery" else apprise.NotifyType.FAILURE
        )
        delivered = True
        for address in self._addresses:
            scheme = address.partition(":")[0]
            try:
                one = apprise.Apprise()
                if not one.add(secrets.fill(address)):
                    log.error("The address %s://… of notify.addresses is wrong.", scheme)
                    delivered = False
                    continue
                told = one.notify(
                    body=message.body,
                    title=message.title,
                    notify_type=good,
                    timeout=_DELIVERY_TIMEOUT_S,
                )
            except (WorkspaceError, OSError, ValueError, TypeError) as error:
                log.error("%s://… cannot be told: %s", scheme, secrets.redact(str(error)))
                delivered = False
                continue
            if not told:
                log.warning("%s://… could not be told: %s", scheme, message.title)
                delivered = False
        return delivered


@dataclass(frozen=True)
class _Trouble:
    kind: str
    text: str
    since: datetime


def notify_changes(
    store: Store, settings: Settings, now: datetime, *, notifier: Notifier | None = None
) -> list[Message]:
    """Find out what has changed for people to know, and have it told.

    Without a ``notifier`` the settings' addresses are told from a thread of their own, because a
    mail server may take its time; with one this returns when it has been told.

    Returns
    -------
    list of Message
        What is told now.
    """
    if notifier is None and not settings.notify.addresses:
        return []
    repeat_s = parse_duration(settings.notify.repeat_after)
    with read(store.control) as connection:
        troubles = _alarms(connection)
    troubles |= _stale(store, settings, now)
    with write(store.control) as connection:
        failed, mended = _ended_runs(connection, settings, now)
        bad = _open(connection, troubles | failed, now, repeat_s)
        good = _close(connection, troubles, mended, now)
    messages = []
    if bad:
        messages.append(_message("failure", bad, settings))
    if good:
        messages.append(_message("recovery", good, settings))
    if messages:
        keys = [key for key, _ in bad]
        if notifier is not None:
            _deliver(store, notifier, messages, keys, now)
        else:
            arguments = (store, AppriseNotifier(settings), messages, keys, now)
            threading.Thread(target=_deliver, args=arguments).start()
    return messages


def _deliver(
    store: Store,
    notifier: Notifier,
    messages: Sequence[Message],
    keys: Sequence[str],
    now: datetime,
) -> None:
    with _delivering:
        told = [notifier.tell(message) for message in messages]
        if told[0] or messages[0].kind == "recovery":
            return
        # Somebody did not get it: it is told again, later.
        try:
            with write(store.control) as connection:
                connection.execute(
                    update(notices)
                    .where(notices.c.key.in_(keys), notices.c.state == "open")
                    .values(state="undelivered", told_at=now)
                )
        except SQLAlchemyError as error:
            log.error("It could not be noted that a message was not delivered: %s", error)


def _alarms(connection: Connection) -> dict[str, _Trouble]:
    """Alarms of the machinery itself: services, job files, the scheduler's parts."""
    return {
        f"alarm:{alarm.key}": _Trouble("alarm", alarm.message, alarm.raised)
        for alarm in open_alarms(connection, wing="runs")
    }


def _stale(store: Store, settings: Settings, now: datetime) -> dict[str, _Trouble]:
    texts = _TEXTS[settings.language]
    found = {}
    for item in list_published(store, now=now):
        if item.stale and item.fresh_for_s is not None:
            text = texts["stale"].format(name=item.name, as_of=_local(item.as_of, settings))
            since = item.as_of + timedelta(seconds=item.fresh_for_s)
            found[f"stale:{item.name}"] = _Trouble("stale", text, since)
    return found


def _ended_runs(
    connection: Connection, settings: Settings, now: datetime
) -> tuple[dict[str, _Trouble], set[str]]:
    """Return the jobs whose newest ended run failed, and the keys of those whose succeeded."""
    mark = connection.execute(select(notices).where(notices.c.key == _WATERMARK)).first()
    start = now - timedelta(seconds=FIRST_LOOK_S) if mark is None else mark.since
    place = func.row_number().over(
        partition_by=runs.c.job, order_by=(runs.c.ended_at.desc(), runs.c.id.desc())
    )
    ended = (
        select(runs.c.id, runs.c.job, runs.c.state, runs.c.cause, runs.c.message, runs.c.ended_at)
        .add_columns(place.label("place"))
        .where(
            runs.c.ended_at >= start - timedelta(seconds=OVERLAP_S),
            runs.c.state.in_(_JUDGED),
            runs.c.kind == "notebook",
        )
        .subquery()
    )
    texts = _TEXTS[settings.language]
    failed, mended = {}, set()
    for row in connection.execute(select(ended).where(ended.c.place == 1)):
        key = f"job:{row.job}"
        if row.state == "succeeded":
            mended.add(key)
        else:
            why = row.message or row.cause or ""
            text = texts["job"].format(job=row.job, state=texts[row.state], why=why, run=row.id)
            failed[key] = _Trouble("job", text, row.ended_at)
    values = {"key": _WATERMARK, "kind": _WATERMARK, "state": "closed", "since": now}
    upsert(connection, notices, values, key=("key",))
    return failed, mended


def _open(
    connection: Connection, troubles: Mapping[str, _Trouble], now: datetime, repeat_s: float
) -> list[tuple[str, _Trouble]]:
    """Write down what is wrong, and return what is to be told now: new, or to be repeated."""
    known = {row.key: row for row in connection.execute(select(notices))}
    repeated = {
        key: _Trouble(row.kind, row.message, row.since)
        for key, row in known.items()
        if row.kind == "job" and row.state != "closed" and key not in troubles
    }
    due = []
    for key, trouble in sorted({**repeated, **troubles}.items()):
        row = known.get(key)
        since = trouble.since
        if row is not None and row.state != "closed":
            wait_s = TRY_AGAIN_S if row.state == "undelivered" else repeat_s
            since = min(row.since, trouble.since)
            if row.told_at is not None and (now - row.told_at).total_seconds() < wait_s:
                continue
        values = {
            "key": key,
            "kind": trouble.kind,
            "state": "open",
            "message": trouble.text,
            "since": since,
            "told_at": now,
        }
        upsert(connection, notices, values, key=("key",))
        due.append((key, _Trouble(trouble.kind, trouble.text, since)))
    return due


def _close(
    connection: Connection, troubles: Mapping[str, _Trouble], mended: set[str], now: datetime
) -> list[tuple[str, _Trouble]]:
    """Close what is well again, and return what of it people had been told of."""
    closed = []
    rows = connection.execute(select(notices).where(notices.c.state.in_(("open", "undelivered"))))
    for row in rows.all():
        over = row.key in mended if row.kind == "job" else row.key not in troubles
        if not over:
            continue
        connection.execute(
            update(notices).where(notices.c.key == row.key).values(state="closed", told_at=None)
        )
        if row.state == "open":
            closed.append((row.key, _Trouble(row.kind, row.message or row.key, row.since)))
    return closed


def _message(kind: Kind, items: Sequence[tuple[str, _Trouble]], settings: Settings) -> Message:
    texts = _TEXTS[settings.language]
    site = settings.title or settings.site_name
    lines = []
    for _, trouble in items:
        text = trouble.text if kind == "failure" else texts["again"].format(text=trouble.text)
        lines.append(f"{text} ({texts['since'].format(since=_local(trouble.since, settings))})")
    title = texts[kind].format(site=site, count=len(items))
    return Message(kind, secrets.redact(title), secrets.redact("\n".join(lines)))


def _local(moment: datetime, settings: Settings) -> str:
    return moment.astimezone(settings.zone).strftime("%Y-%m-%d %H:%M")
