"""The list of a relay: read anew only where something can have changed."""

from __future__ import annotations

from typing import Any

import pytest

from workspace_lib.reclosers.relay_commands import Command
from workspace_lib.reclosers.relay_history import History
from workspace_lib.reclosers.simulator import Fault, RelaySpec, make_events


def spec(count: int = 5, **more: Any) -> RelaySpec:
    return RelaySpec("351R", events=make_events("351R", count), **more)


def lists_asked(relay: Any) -> list[str]:
    return [one for one in relay.simulator.truth().commands if one[:3] in ("CHI", "HIS")]


@pytest.mark.parametrize("has_chi", [True, False], ids=["CHI", "HIS"])
def test_one_row_tells_that_no_number_has_changed(reach: Any, has_chi: bool) -> None:
    relay = reach(spec(has_chi=has_chi))
    with relay.session() as session:
        history = History(session, 3)
        entries = history.read()
        before = lists_asked(relay)
        assert history.find(entries[2].key, again=False) == entries[2]
        assert lists_asked(relay) == before  # nothing was asked in between
        assert history.find(entries[3].key, again=False) == entries[3]
        verb = "CHI" if has_chi else "HIS"
        assert lists_asked(relay)[len(before) :] == [f"{verb} 1"]
        assert history.version == 1


def test_a_new_event_is_noticed_by_the_first_row_and_all_is_read(reach: Any) -> None:
    relay = reach(spec())
    with relay.session() as session:
        history = History(session, 3)
        oldest = history.read()[-1]
        history.asked()
        relay.simulator.happen()
        found = history.find(oldest.key, again=False)
        assert found is not None
        assert (found.key, found.number) == (oldest.key, 6)
        assert lists_asked(relay) == ["CHI", "CHI 1", "CHI"]
        assert history.version == 2


def test_a_relay_that_sends_all_rows_all_the_same_is_asked_no_more_for_it(reach: Any) -> None:
    relay = reach(spec(takes_count=False))
    with relay.session() as session:
        history = History(session, 3)
        oldest = history.read()[-1]
        history.asked()
        relay.simulator.happen()
        found = history.find(oldest.key, again=False)
        assert found is not None
        assert found.number == 6
        assert lists_asked(relay) == ["CHI", "CHI 1"]
        history.asked()
        assert history.unchanged()
        history.asked()
        relay.simulator.happen()
        assert not history.unchanged()


def test_a_relay_that_refuses_a_number_of_rows_is_asked_for_all(
    reach: Any, monkeypatch: Any
) -> None:
    relay = reach(spec())
    machine = relay.simulator.relay
    honest = machine._answer

    def refusing(verb: str, words: Any) -> None:
        if verb == "CHI" and words:
            machine._say("\r\nInvalid Parameter\r\n")
        else:
            honest(verb, words)

    monkeypatch.setattr(machine, "_answer", refusing)
    with relay.session() as session:
        history = History(session, 3)
        entries = history.read()
        for entry in entries[:3]:
            session.ask(Command("ID"))
            history.asked()
            assert history.find(entry.key, again=False) == entry
        assert lists_asked(relay) == ["CHI", "CHI 1", "CHI", "CHI", "CHI"]


def test_a_row_that_came_damaged_has_all_read(reach: Any) -> None:
    relay = reach(spec(faults=[Fault("noise", "CHI", at=150, size=1, nth=1)]))
    with relay.session() as session:
        history = History(session, 3)
        entries = history.read()
        history.asked()
        assert history.find(entries[1].key, again=False) == entries[1]
        assert lists_asked(relay) == ["CHI", "CHI 1", "CHI"]


def test_an_event_that_is_not_listed_any_more_is_not_found(reach: Any) -> None:
    relay = reach(spec())
    with relay.session() as session:
        history = History(session, 3)
        entries = history.read()
        del relay.simulator.spec.events[2:]
        assert history.find(entries[4].key, again=True) is None
        del relay.simulator.spec.events[:]
        assert history.find(entries[0].key, again=True) is None
        assert history.entries == []
