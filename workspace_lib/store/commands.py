"""Commands of the store: ``workspace upgrade``, ``backup``, ``restore``, ``files``, ``replay``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from workspace_lib.store import file_commands


def register(subparsers: Any) -> None:
    """Add the parsers of this floor."""
    upgrade = subparsers.add_parser(
        "upgrade", help="make the store, or bring it to this program's schema after a backup"
    )
    upgrade.add_argument("--no-backup", action="store_true", help="make no backup first")
    upgrade.set_defaults(handler=_upgrade)

    backup = subparsers.add_parser("backup", help="write a backup of the store, while it is in use")
    backup.add_argument("file", nargs="?", type=Path, help="file or folder (default: in outputs)")
    backup.add_argument(
        "--with-files", action="store_true", help="also raw files, sealed samples, publications"
    )
    backup.set_defaults(handler=_backup)

    restore = subparsers.add_parser("restore", help="put a backup in place of the store")
    restore.add_argument("file", type=Path, help="the backup")
    restore.add_argument(
        "--force", action="store_true", help="also over rows (saved first), or another site's"
    )
    restore.set_defaults(handler=_restore)

    file_commands.register(subparsers)


def _upgrade(arguments: argparse.Namespace) -> int:
    from workspace_lib.settings import load_settings
    from workspace_lib.store.upgrade import upgrade

    done = upgrade(load_settings(arguments.site), with_backup=not arguments.no_backup)
    if done.before is None:
        print(f"The store was made (version {done.after}).")
    elif done.before == done.after:
        print(f"The store is up to date (version {done.after}).")
    else:
        if done.backup:
            print(f"Backup: {done.backup}")
        print(f"The store was upgraded from version {done.before} to {done.after}.")
    return 0


def _backup(arguments: argparse.Namespace) -> int:
    from workspace_lib.settings import load_settings
    from workspace_lib.store.backup import backup, describe_backup

    path = backup(load_settings(arguments.site), arguments.file, with_files=arguments.with_files)
    about = describe_backup(path)
    rows = sum(sum(tables.values()) for tables in about.rows.values())
    print(f"Backup: {path} ({rows} rows, {about.files} files, {path.stat().st_size} bytes)")
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    from workspace_lib.clock import iso
    from workspace_lib.settings import load_settings
    from workspace_lib.store.backup import restore

    done = restore(load_settings(arguments.site), arguments.file, force=arguments.force)
    if done.replaced:
        print(f"What was there before: {done.replaced}")
    rows = sum(sum(tables.values()) for tables in done.backup.rows.values())
    print(f"Restored: {rows} rows and {done.files} files, as of {iso(done.backup.made)}.")
    return 0
