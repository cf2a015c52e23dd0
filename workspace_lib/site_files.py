"""Files of a site that people write: YAML with errors that say what is wrong and where."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ValidationError

from workspace_lib.errors import ConfigError

ModelT = TypeVar("ModelT", bound=BaseModel)


def read_yaml(path: Path, what: str, fix: str | None = None) -> Any:
    """Return the content of a YAML file.

    Parameters
    ----------
    what : str
        What the file is, as people call it: ``list of gauges``.
    fix : str, optional
        What to do where it cannot be read.

    Raises
    ------
    ConfigError
        If it cannot be read or is not valid YAML; with the line, where that is known.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), path, what)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(
            f"The {what} cannot be read ({reason}).", where=str(path), fix=fix
        ) from error


def read_list(path: Path, kind: type[ModelT], what: str, *, make: str, see: str) -> ModelT:
    """Return a list of the site as ``kind`` has it.

    Parameters
    ----------
    what : str
        What the file is, as people call it: ``list of gauges``.
    make, see : str
        What to do where it cannot be read, and the page about it.

    Raises
    ------
    ConfigError
        If the file is missing, not YAML, or an entry is wrong; every wrong one is named.
    """
    content = read_yaml(path, what, make)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ConfigError(
            f"The {what} is wrong: {problems_of(error)}.", where=str(path), fix=f"See {see}."
        ) from error


def parse_yaml(text: str, where: Path | str, what: str) -> Any:
    """Return the content of a YAML text that stood in the file ``where``.

    Raises
    ------
    ConfigError
        If it is not valid YAML; with the line, where that is known.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else str(where)
        raise ConfigError(f"The {what} is not valid YAML.", where=place) from error


def problems_of(error: ValidationError) -> str:
    """Return what is wrong as one line: each place and what is the matter there."""
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, found["loc"])), found["msg"])))
        for found in error.errors()
    )


def split_names(wanted: str | Iterable[str]) -> list[str]:
    """Return the names in a text with commas or in a list."""
    parts = wanted.split(",") if isinstance(wanted, str) else wanted
    return [part.strip() for part in parts if part.strip()]


def zone_name(value: str) -> str:
    """Return the name of a time zone that exists; ValueError for any other, as settings need it."""
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"unknown time zone {value!r}; write it as Europe/Paris") from error
    return value
