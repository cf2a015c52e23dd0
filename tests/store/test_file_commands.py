"""``workspace files`` and ``workspace replay`` as an operator types them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from workspace_lib.errors import ParameterError
from workspace_lib.settings import Settings
from workspace_lib.store import file_commands, inventory
from workspace_lib.store.engines import Store, read, write
from workspace_lib.store.inventory import Fetched

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def command(
    store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run one command line against a store with three files, one of them in quarantine."""
    monkeypatch.setenv("WORKSPACE_ROOT", str(settings.root))
    with write(store.data) as connection:
        fetched = [Fetched(f"/g1/{name}", 5, "0" * 64, "a/b/c/d:0") for name in ("a", "b", "c")]
        inventory.register_fetched(connection, "rain", fetched, NOW)
        first, second, _ = inventory.pending(connection, "rain", limit=9)
        inventory.mark_parsed(connection, [first.id], NOW)
        inventory.quarantine(connection, second.id, "line 3: no number", NOW)

    def run(*words: str) -> int:
        parser = argparse.ArgumentParser()
        parser.add_argument("--site", default="testsite")
        file_commands.register(parser.add_subparsers())
        arguments = parser.parse_args(words)
        return int(arguments.handler(arguments))

    return run


def test_files_are_counted_by_state(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("files") == 0
    assert capsys.readouterr().out == "rain: 1 fetched, 1 parsed, 1 quarantined\n"
    command("files", "--json")
    assert json.loads(capsys.readouterr().out)["rain"]["parsed"] == 1


def test_quarantined_files_are_shown_with_their_reason(
    command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("files", "--state", "quarantined") == 0
    assert capsys.readouterr().out == "quarantined rain /g1/b, 5 bytes: line 3: no number\n"
    command("files", "--state", "quarantined", "--json")
    [row] = json.loads(capsys.readouterr().out)
    assert (row["path"], row["first_seen"]) == ("/g1/b", "2026-03-01T12:00:00Z")


def test_an_unknown_state_names_the_known_ones(command: Callable[..., int]) -> None:
    with pytest.raises(ParameterError, match="quarantined"):
        command("files", "--state", "lost")


@pytest.mark.parametrize(
    ("words", "pending"),
    [((), {"/g1/a", "/g1/b", "/g1/c"}), (("--quarantined",), {"/g1/b", "/g1/c"})],
)
def test_replay_makes_files_pending(
    command: Callable[..., int], store: Store, words: tuple[str, ...], pending: set[str]
) -> None:
    assert command("replay", "rain", "/g1/", *words) == 0
    with read(store.data) as connection:
        assert {row.path for row in inventory.pending(connection, "rain", limit=9)} == pending


def test_a_replay_of_nothing_fails(command: Callable[..., int]) -> None:
    assert command("replay", "rain", "/nowhere/") == 1
