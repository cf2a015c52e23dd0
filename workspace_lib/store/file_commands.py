"""Commands for operators: look at source files, replay them, clear a quarantine."""

from __future__ import annotations

import argparse
from typing import Any


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``workspace files`` and ``workspace replay``."""
    files = subparsers.add_parser(
        "files", help="source files: how many in which state, or one by one"
    )
    files.add_argument("--source", help="only this source")
    files.add_argument("--state", help="only files in this state, e.g. quarantined")
    files.add_argument("--prefix", default="", help="only paths that begin so")
    files.add_argument("--limit", type=int, default=100, help="most files listed (default 100)")
    files.add_argument("--json", action="store_true", help="print JSON")
    files.set_defaults(handler=_files)

    replay = subparsers.add_parser(
        "replay", help="parse files of the raw archive again at the next run of their job"
    )
    replay.add_argument("source", help="name of the source")
    replay.add_argument("prefix", help="beginning of the paths; '' takes every file")
    replay.add_argument(
        "--quarantined", action="store_true", help="only files in quarantine: clears it"
    )
    replay.set_defaults(handler=_replay)


def _files(arguments: argparse.Namespace) -> int:
    import json

    from workspace_lib.errors import ParameterError
    from workspace_lib.settings import load_settings
    from workspace_lib.store import inventory
    from workspace_lib.store.engines import read
    from workspace_lib.store.migrate import open_store

    if arguments.state is not None and arguments.state not in inventory.STATES:
        raise ParameterError(
            f"There is no state {arguments.state!r}.",
            fix=f"States: {', '.join(inventory.STATES)}.",
        )
    one_by_one = bool(arguments.state or arguments.prefix)
    with (
        open_store(load_settings(arguments.site), read_only=True) as store,
        read(store.data) as connection,
    ):
        if not one_by_one:
            counts = inventory.count_states(connection, arguments.source)
            print(json.dumps(counts, indent=2) if arguments.json else _count_text(counts))
            return 0
        rows = inventory.list_files(
            connection,
            arguments.source,
            state=arguments.state,
            prefix=arguments.prefix,
            limit=arguments.limit,
        )
    if arguments.json:
        print(json.dumps([_file_json(row) for row in rows], indent=2))
        return 0
    for row in rows:
        version = f" (version {row.version})" if row.version > 1 else ""
        reason = f": {row.message}" if row.message else ""
        print(f"{row.state:11} {row.source} {row.path}{version}, {row.size} bytes{reason}")
    if len(rows) == arguments.limit:
        print(f"The first {arguments.limit}; --limit shows more.")
    if not rows:
        print("No file.")
    return 0


def _replay(arguments: argparse.Namespace) -> int:
    from workspace_lib.clock import SYSTEM_CLOCK
    from workspace_lib.settings import load_settings
    from workspace_lib.store import inventory
    from workspace_lib.store.engines import write
    from workspace_lib.store.migrate import open_store

    reopen = inventory.clear_quarantine if arguments.quarantined else inventory.replay
    with (
        open_store(load_settings(arguments.site)) as store,
        write(store.data) as connection,
    ):
        number = reopen(
            connection, arguments.source, prefix=arguments.prefix, now=SYSTEM_CLOCK.now()
        )
    print(f"{number} files of {arguments.source} are pending again; the next run parses them.")
    return 0 if number else 1


def _count_text(counts: dict[str, dict[str, int]]) -> str:
    if not counts:
        return "No source has shown a file yet."
    return "\n".join(
        f"{source}: " + ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        for source, states in sorted(counts.items())
    )


def _file_json(row: Any) -> dict[str, Any]:
    from dataclasses import asdict
    from datetime import datetime

    from workspace_lib.clock import iso

    return {
        key: iso(value) if isinstance(value, datetime) else value
        for key, value in asdict(row).items()
    }
