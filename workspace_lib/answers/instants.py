"""Instants as a request writes them: a date and a time with a zone, within what devices can say."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

#: Instants beyond these, between which all that is stored lies, are brought there.
EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
_WRITTEN = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}")


def _within(instant: datetime) -> datetime:
    return min(max(instant, EARLIEST), LATEST).astimezone(UTC)


def _written(value: object) -> object:
    """Take a date and a time; a bare number would be taken for seconds since 1970."""
    if isinstance(value, str) and not _WRITTEN.match(value):
        raise ValueError("write it like 2026-11-20T12:00:00Z")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_within)]
