"""Secrets: named by ``secret://NAME``, resolved only where they are used, redacted everywhere else.

``secret://FTP_PASSWORD`` is the environment variable ``FTP_PASSWORD``, else the content of the file
named by ``FTP_PASSWORD_FILE``, else the file ``FTP_PASSWORD`` of systemd's credentials folder, else
the same names are looked for in the workspace's file ``.env``.
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from workspace_lib.errors import ConfigError

PREFIX = "secret://"
REDACTED = "***"
_REFERENCE = re.compile(r"secret://([A-Za-z][A-Za-z0-9_]*)")
_EMBEDDED = re.compile(r"\{secret://([A-Za-z][A-Za-z0-9_]*)\}")

#: Where the runner listens for secrets that its kernel, or a child of that, resolves.
REPORT_TO = "WORKSPACE_SECRETS_TO"
REPORT_KEY = "WORKSPACE_SECRETS_KEY"

_known: set[str] = set()
_values: set[str] = set()
_dotenv: dict[str, str] = {}
_providers: list[Callable[[str], str | None]] = []


def is_reference(value: object) -> bool:
    """Return whether ``value`` names a secret."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def add_provider(provider: Callable[[str], str | None]) -> None:
    """Add a further place to look for secrets (the demo's simulators make their own)."""
    if provider not in _providers:
        _providers.append(provider)


def use_dotenv(values: Mapping[str, str | None]) -> None:
    """Look for secrets in these as well, which were read from the workspace's ``.env``."""
    _dotenv.clear()
    _dotenv.update({name: value for name, value in values.items() if value is not None})


def resolve(reference: str) -> str:
    """Return the secret that ``reference`` names, and remember it for redaction.

    Raises
    ------
    ConfigError
        If ``reference`` is no ``secret://NAME`` or the secret is set nowhere.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ConfigError(
            "A secret must be given as secret://NAME, not as itself.",
            fix="Put the value into the environment variable NAME, or a file named by NAME_FILE.",
        )
    name = match[1]
    value = _look_up(name)
    if value is None:
        raise ConfigError(
            f"The secret {name} is not set.",
            fix=f"Set {name}, or {name}_FILE to a file that holds it, in the environment or .env.",
        )
    remember(value)
    return value


def fill(text: str) -> str:
    """Return ``text`` with each ``{secret://NAME}`` replaced by the secret, quoted for a URL."""
    return _EMBEDDED.sub(lambda match: quote(resolve(PREFIX + match[1]), safe=""), text)


def remember(value: str) -> None:
    """Have ``value`` redacted from now on wherever `redact` is applied in this process.

    Inside a run the runner learns it too, before this returns: it saves what the kernel prints.
    Values shorter than four characters are not redacted, every text would be full of stars.
    """
    if len(value) < 4 or value in _known:
        return
    _known.update(_spellings(value))
    _values.add(value)
    _report(value)


def redact(text: str) -> str:
    """Return ``text`` with every secret resolved in this process replaced by ``***``."""
    for value in sorted(_known, key=len, reverse=True):
        text = text.replace(value, REDACTED)
    return text


def redact_tree(value: Any) -> Any:
    """Return a copy of a JSON-like ``value`` in which every string is redacted, keys too."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact_tree(key): redact_tree(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_tree(item) for item in value]
    return value


def known_values() -> list[str]:
    """Return the secrets resolved in this process, for a child that must redact them too."""
    return sorted(_values)


def references(text: str) -> set[str]:
    """Return the ``secret://NAME`` that stand in ``text``."""
    return {PREFIX + name for name in _REFERENCE.findall(text)}


def any_known() -> bool:
    """Return whether a secret was resolved in this process."""
    return bool(_known)


def contains_secret(text: str) -> bool:
    """Return whether a secret resolved in this process stands in ``text``."""
    return any(value in text for value in _known)


def _spellings(value: str) -> set[str]:
    """The forms in which a secret turns up: as itself, in an address, in JSON, in HTML, …"""
    return {
        value,
        quote(value, safe=""),
        quote(value),
        quote_plus(value),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        html.escape(value),
        html.escape(value, quote=False),
        base64.b64encode(value.encode()).decode(),
    }


def _report(value: str) -> None:
    if not (address := os.environ.get(REPORT_TO)):
        return
    from multiprocessing.connection import Client

    # Where nobody listens any more the run is over, and nobody saves what is printed either.
    with contextlib.suppress(OSError, EOFError):
        key = bytes.fromhex(os.environ.get(REPORT_KEY, ""))
        with Client(address, authkey=key) as connection:
            connection.send_bytes(value.encode())
            connection.recv_bytes()


def _look_up(name: str) -> str | None:
    if (value := _of_variables(name, os.environ)) is not None:
        return value
    if folder := os.environ.get("CREDENTIALS_DIRECTORY"):
        path = Path(folder) / name
        if path.exists():
            return _read(path)
    if (value := _of_variables(name, _dotenv)) is not None:
        return value
    for provider in _providers:
        value = provider(name)
        if value is not None:
            return value
    return None


def _of_variables(name: str, variables: Mapping[str, str]) -> str | None:
    if name in variables:
        return variables[name]
    if f"{name}_FILE" in variables:
        return _read(Path(variables[f"{name}_FILE"]))
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(
            f"The secret's file cannot be read ({error.strerror}).", where=str(path)
        ) from error
