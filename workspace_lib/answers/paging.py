"""Long lists in pages by keyset: a page's cursor names the last row seen, so nothing shifts."""

from __future__ import annotations

import base64
import binascii
import json
from http import HTTPStatus
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from workspace_lib.answers.problems import Refusal

Item = TypeVar("Item")
Limit = Annotated[int, Query(ge=1, le=500, description="Rows of a page.")]
Cursor = Annotated[str | None, Query(max_length=500, description="`next` of the page before.")]


class Page(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item] = Field(description="The rows of this page.")
    next: str | None = Field(None, description="Cursor of the next page; null on the last.")


def encode_cursor(*key: str | int) -> str:
    """Return the opaque cursor of the row with this key."""
    text = json.dumps(key, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type[str] | type[int]) -> tuple[str | int, ...]:
    """Return the key that a cursor names.

    Raises
    ------
    Refusal
        404 if the cursor was not made by `encode_cursor` for a key of these kinds.
    """
    refused = Refusal(
        HTTPStatus.NOT_FOUND, "The cursor is not one of this list; start without one."
    )
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise refused from error
    if not isinstance(key, list) or len(key) != len(kinds):
        raise refused
    if any(type(part) is not kind for part, kind in zip(key, kinds, strict=True)):
        raise refused
    if any(isinstance(part, int) and not -(2**63) <= part < 2**63 for part in key):
        raise refused
    return tuple(key)
