"""Tokens are shown once, kept as hashes, and end when revoked or expired."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from workspace_lib.errors import ParameterError
from workspace_lib.store.engines import Store, read
from workspace_lib.web.tables import api_tokens
from workspace_lib.web.tokens import SCOPES, create_token, find_token, list_tokens, revoke_token

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_new_token_is_found_with_its_scope(any_store: Store) -> None:
    token = find_token(any_store, create_token(any_store, "app", "read", now=NOW), now=NOW)
    assert token is not None
    assert (token.name, token.scopes) == ("app", {"read"})


def test_the_store_holds_no_part_of_the_token(store: Store) -> None:
    secret = create_token(store, "app", "read", now=NOW)
    with read(store.control) as connection:
        row = str(connection.execute(select(api_tokens)).one())
    assert secret not in row
    assert secret[3:20] not in row


@pytest.mark.parametrize("presented", ["", "fw_", "fw_wrong", "other", "fw_\x00", "é" * 50])
def test_what_is_no_token_is_not_found(store: Store, presented: str) -> None:
    create_token(store, "app", "read", now=NOW)
    assert find_token(store, presented, now=NOW) is None


def test_a_revoked_token_ends_at_once(store: Store) -> None:
    secret = create_token(store, "app", "read", now=NOW)
    assert revoke_token(store, "app")
    assert find_token(store, secret, now=NOW) is None
    assert not revoke_token(store, "absent")


def test_an_expired_token_ends_on_its_instant(store: Store) -> None:
    secret = create_token(store, "app", "read", now=NOW, days=1)
    assert find_token(store, secret, now=NOW + timedelta(hours=23)) is not None
    assert find_token(store, secret, now=NOW + timedelta(days=1)) is None


def test_each_scope_includes_the_lesser_ones_and_none_greater(store: Store) -> None:
    for rank, scope in enumerate(SCOPES):
        token = find_token(store, create_token(store, scope, scope, now=NOW), now=NOW)
        assert token is not None
        allowed = [other for other in SCOPES if token.allows(other)]
        assert allowed == list(SCOPES[: rank + 1])


@pytest.mark.parametrize(("name", "scope"), [("", "read"), ("a\nb", "read"), ("ok", "root")])
def test_a_wrong_name_or_scope_is_refused(store: Store, name: str, scope: str) -> None:
    with pytest.raises(ParameterError):
        create_token(store, name, scope, now=NOW)  # type: ignore[arg-type]


def test_a_name_is_given_once(store: Store) -> None:
    create_token(store, "app", "read", now=NOW)
    with pytest.raises(ParameterError, match="exists"):
        create_token(store, "app", "admin", now=NOW)


def test_last_use_is_remembered_by_the_minute(store: Store) -> None:
    secret = create_token(store, "app", "read", now=NOW)
    for seconds in (0, 30, 90):
        find_token(store, secret, now=NOW + timedelta(seconds=seconds))
    assert list_tokens(store)[0].last_used == NOW + timedelta(seconds=90)
