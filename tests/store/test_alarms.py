"""Alarms: one row while open, counted, cleared, acknowledged without being changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from workspace_lib.errors import ParameterError
from workspace_lib.store.alarms import (
    acknowledge,
    alarms,
    alarms_since,
    clear_alarm,
    open_alarms,
    raise_alarm,
)
from workspace_lib.store.engines import Store, write

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def test_raising_an_open_alarm_counts_it(any_store: Store) -> None:
    with write(any_store.control) as connection:
        first = raise_alarm(
            connection, "silent:bench1", wing="benches", severity="warning", message="a", now=NOW
        )
        again = raise_alarm(
            connection, "silent:bench1", wing="benches", severity="critical", message="b", now=LATER
        )
        (alarm,) = open_alarms(connection)
    assert first == again == alarm.id
    assert (alarm.count, alarm.raised, alarm.last_raised) == (2, NOW, LATER)
    assert (alarm.severity, alarm.message, alarm.cleared) == ("critical", "b", None)


def test_a_cleared_alarm_raised_again_is_a_new_one(any_store: Store) -> None:
    with write(any_store.control) as connection:
        first = raise_alarm(connection, "k", wing="rain", severity="info", message="m", now=NOW)
        assert clear_alarm(connection, "k", LATER)
        assert not clear_alarm(connection, "k", LATER)
        assert open_alarms(connection) == []
        second = raise_alarm(connection, "k", wing="rain", severity="info", message="m", now=LATER)
        assert second != first
        assert [a.id for a in alarms_since(connection, NOW)] == [first, second]
        assert [a.id for a in alarms_since(connection, LATER)] == [second]


def test_the_database_itself_refuses_two_open_alarms_of_one_key(any_store: Store) -> None:
    row = {
        "key": "k",
        "wing": "rain",
        "severity": "info",
        "message": "m",
        "raised": NOW,
        "last_raised": NOW,
        "count": 1,
    }
    with pytest.raises(IntegrityError), write(any_store.control) as connection:
        connection.execute(alarms.insert(), [row, row])


def test_acknowledgements_are_added_and_the_alarm_stays_open(any_store: Store) -> None:
    with write(any_store.control) as connection:
        alarm = raise_alarm(connection, "k", wing="rain", severity="info", message="m", now=NOW)
        acknowledge(connection, alarm, "anne", NOW)
        acknowledge(connection, alarm, "bruno", LATER, "cable changed")
        (found,) = open_alarms(connection)
    assert [(a.who, a.at, a.note) for a in found.acks] == [
        ("anne", NOW, None),
        ("bruno", LATER, "cable changed"),
    ]
    assert found.acknowledged


def test_the_worst_alarm_comes_first(any_store: Store) -> None:
    with write(any_store.control) as connection:
        for key, severity in (
            ("a", "info"),
            ("b", "critical"),
            ("c", "warning"),
            ("d", "critical"),
        ):
            raise_alarm(connection, key, wing="rain", severity=severity, message="m", now=NOW)
        raise_alarm(connection, "e", wing="benches", severity="info", message="m", now=LATER)
        assert [a.key for a in open_alarms(connection)] == ["b", "d", "c", "e", "a"]
        assert [a.key for a in open_alarms(connection, wing="benches")] == ["e"]


def test_an_unknown_severity_or_alarm_is_refused(store: Store) -> None:
    with write(store.control) as connection:
        with pytest.raises(ParameterError, match="Use one of info, warning, critical"):
            raise_alarm(connection, "k", wing="rain", severity="bad", message="m", now=NOW)
        with pytest.raises(ParameterError, match="no alarm 7"):
            acknowledge(connection, 7, "anne", NOW)
