"""Tokens: made on the command line, shown once, kept as a hash; never an open sign-up.

A token carries 256 random bits, so one round of SHA-256 protects it at rest: there is no dictionary
to try, and a slow password hash would only slow every request down.
"""

from __future__ import annotations

import hashlib
import re
import secrets as random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from sqlalchemy import insert, select, update

from workspace_lib.errors import ParameterError
from workspace_lib.store.engines import Store, read, write
from workspace_lib.web.tables import api_tokens

#: ``view`` opens dashboards only; ``read`` also data, runs and notebooks; ``write`` also adds
#: (annotations, samples, requests for runs); ``admin`` also sees and revokes tokens.
Scope = Literal["view", "read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "fw_"
_NAME = re.compile(r"[\w][\w .@-]{0,99}")
#: Last use is written at most this often, so that reading stays reading.
USE_STEP = timedelta(minutes=1)


@dataclass(frozen=True)
class Token:
    """One token as the store knows it: everything but the token itself."""

    id: int
    name: str
    scopes: frozenset[str]
    created: datetime
    expires: datetime | None
    last_used: datetime | None
    revoked: bool

    def allows(self, scope: Scope) -> bool:
        """Return whether the token may do what ``scope`` allows; each scope includes the lesser."""
        return any(SCOPES.index(own) >= SCOPES.index(scope) for own in SCOPES if own in self.scopes)


def create_token(
    store: Store, name: str, scope: Scope, *, now: datetime, days: int | None = None
) -> str:
    """Make a token and return it; this is the only time it can be seen.

    Raises
    ------
    ParameterError
        If the name is taken or cannot be one, or the scope is unknown.
    """
    if not _NAME.fullmatch(name):
        raise ParameterError(f"{name!r} cannot name a token.", fix="Use letters and digits.")
    if scope not in SCOPES:
        raise ParameterError(f"There is no scope {scope!r}.", fix=f"Known: {', '.join(SCOPES)}.")
    token = PREFIX + random.token_urlsafe(32)
    with write(store.control) as connection:
        taken = select(api_tokens.c.id).where(api_tokens.c.name == name)
        if connection.execute(taken).first():
            raise ParameterError(f"A token named {name!r} exists.", fix="Choose another name.")
        connection.execute(
            insert(api_tokens).values(
                name=name,
                hash=_hash(token),
                scopes=[scope],
                created=now,
                expires=now + timedelta(days=days) if days else None,
                revoked=False,
            )
        )
    return token


def find_token(store: Store, presented: str, *, now: datetime) -> Token | None:
    """Return the valid token that was presented, or None if unknown, revoked or expired."""
    if not presented.startswith(PREFIX):
        return None
    with read(store.control) as connection:
        row = connection.execute(
            select(api_tokens).where(api_tokens.c.hash == _hash(presented))
        ).first()
    if row is None:
        return None
    token = _token(row)
    if token.revoked or (token.expires is not None and token.expires <= now):
        return None
    if token.last_used is None or now - token.last_used >= USE_STEP:
        with write(store.control) as connection:
            connection.execute(
                update(api_tokens).where(api_tokens.c.id == token.id).values(last_used=now)
            )
    return token


def list_tokens(store: Store) -> list[Token]:
    """Return all tokens, oldest first."""
    with read(store.control) as connection:
        return [_token(row) for row in connection.execute(select(api_tokens).order_by("id"))]


def revoke_token(store: Store, name: str) -> bool:
    """Revoke the token ``name`` at once; returns whether there was one."""
    with write(store.control) as connection:
        result = connection.execute(
            update(api_tokens).where(api_tokens.c.name == name).values(revoked=True)
        )
        return result.rowcount > 0


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _token(row: object) -> Token:
    values = row._mapping  # type: ignore[attr-defined]
    return Token(
        id=values["id"],
        name=values["name"],
        scopes=frozenset(values["scopes"]),
        created=values["created"],
        expires=values["expires"],
        last_used=values["last_used"],
        revoked=values["revoked"],
    )
