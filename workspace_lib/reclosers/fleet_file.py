"""Adding entries to the site's list of reclosers, below what people wrote there."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from workspace_lib.errors import ConfigError
from workspace_lib.files import atomic_write
from workspace_lib.site_files import parse_yaml

_WHAT = "list of reclosers"


def to_yaml(entries: Sequence[Mapping[str, Any]], indent: str = "  ") -> str:
    """Return entries as lines of the site's list."""
    text = yaml.safe_dump(
        [dict(one) for one in entries],
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,
        width=400,
    )
    return textwrap.indent(text, indent)


def append_reclosers(path: Path, entries: Sequence[Mapping[str, Any]]) -> tuple[int, list[str]]:
    """Add reclosers to a list; what stands there, comments too, stays as it is.

    Returns
    -------
    int, list of str
        How many were new, and those that stand there with other words: these stay, too.

    Raises
    ------
    ConfigError
        If the file is no such list, or ends in a way that nothing can be added to.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    content = parse_yaml(text, path, _WHAT) or {}
    listed = content.get("reclosers") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(listed, list | None):
        raise ConfigError(
            "The file has no list called reclosers.", where=str(path), fix="See docs/reclosers.md."
        )
    before = [one for one in listed or [] if isinstance(one, dict)]
    there = {str(one.get("id", "")).lower(): one for one in before}
    new = [one for one in entries if str(one["id"]).lower() not in there]
    others = [
        str(one["id"])
        for one in entries
        if (found := there.get(str(one["id"]).lower())) is not None and found != dict(one)
    ]
    if not new:
        return 0, others
    if listed:
        entry = re.search(r"^reclosers:[^\n]*\n(?:\s*#[^\n]*\n)*( *)- ", text, re.MULTILINE)
        after = f"{text.rstrip()}\n{to_yaml(new, entry[1] if entry else '')}"
    else:
        rest = re.sub(r"^reclosers:.*\n?", "", text, flags=re.MULTILINE)
        after = f"{rest.rstrip()}\nreclosers:\n{to_yaml(new)}".lstrip("\n")
    wanted = {**content, "reclosers": [*(listed or []), *map(dict, new)]}
    if _parsed(after, path) != wanted:
        raise ConfigError(
            "Entries cannot be added at the end of this file.",
            where=str(path),
            fix="Print them instead, and put them in by hand.",
        )
    atomic_write(path, after.encode())
    return len(new), others


def _parsed(text: str, path: Path) -> Any:
    try:
        return parse_yaml(text, path, _WHAT)
    except ConfigError:
        return None
