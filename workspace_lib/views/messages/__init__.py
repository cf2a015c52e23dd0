"""All messages of dashboards by language, a module per board; `texts` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from workspace_lib.views.messages import common, pages, rain, recloser_pages, reclosers, runs

Language = Literal["en", "fr"]

_MODULES: Final = (common, pages, runs, rain, reclosers, recloser_pages)


def _merged(language: str) -> dict[str, str]:
    """Return the messages of all modules; one that two of them have is a mistake."""
    merged: dict[str, str] = {}
    for module in _MODULES:
        messages: Mapping[str, str] = getattr(module, language)
        if both := merged.keys() & messages.keys():
            raise AssertionError(f"{module.__name__} repeats {sorted(both)}")
        merged |= messages
    return merged


def _french(message: str) -> str:
    """Bind the space before French double punctuation, so that no line begins with it."""
    for mark in ":;?!":
        message = message.replace(f" {mark}", f"\u00a0{mark}")
    return message


MESSAGES: Mapping[Language, Mapping[str, str]] = {
    "en": _merged("EN"),
    "fr": {key: _french(message) for key, message in _merged("FR").items()},
}
