"""The folder ``published``: copies of what readers see, for people and programs without us.

They are copies, because whoever opens a file may change it, and what readers are given must stay as
its run made it. Nothing here is ever read back: the pointers in the store say what is published.
"""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from pathlib import Path
from typing import Any

from workspace_lib.files import alone, atomic_write
from workspace_lib.store.artefacts import place_of
from workspace_lib.store.engines import Store
from workspace_lib.store.publications import Published, list_published

FOLDER = "published"
_MANIFEST = ".manifest.json"
_log = logging.getLogger(__name__)


def lay_out(store: Store, *, run_id: str | None = None) -> list[str]:
    """Bring the folder up to date with the published pointers; returns the names that changed.

    Parameters
    ----------
    run_id : str, optional
        Look only at what this run has published; without it at everything, and what is published
        no more is taken away. Files that are not ours stay.
    """
    root = store.outputs / FOLDER
    root.mkdir(parents=True, exist_ok=True)
    with alone(root / ".lock"):
        found = {
            _manifest_of(store, item): item
            for item in list_published(store)
            if run_id is None or item.run_id == run_id
        }
        changed = [item.name for path, item in found.items() if _copy(store, path, item)]
        if run_id is None:
            for path in sorted(set(root.rglob(f"*{_MANIFEST}")) - found.keys()):
                changed.append(_remove(path))
    return changed


def _manifest_of(store: Store, item: Published) -> Path:
    place = place_of(store.outputs, store.outputs / FOLDER, item.name)
    return place.with_name(place.name + _MANIFEST)


def _copy(store: Store, path: Path, item: Published) -> bool:
    before = _read(path)
    if before == item.manifest:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    files = _files(path, item.manifest)
    try:
        for target, source in files.items():
            part = target.with_name(f".{target.name[:60]}.{uuid.uuid4().hex[:8]}.part")
            try:
                shutil.copyfile(store.outputs / source, part)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
    except FileNotFoundError as error:
        _log.warning("%s cannot be laid out: %s is gone", item.name, error.filename)
        return False
    for target in _files(path, before).keys() - files.keys():
        target.unlink(missing_ok=True)
    # Last, so that it says what the files beside it are.
    content = json.dumps(item.manifest, indent=2, ensure_ascii=False).encode()
    atomic_write(path, content, durable=False)
    return True


def _remove(path: Path) -> str:
    manifest = _read(path)
    for target in _files(path, manifest):
        target.unlink(missing_ok=True)
    path.unlink()
    return str(manifest.get("name", path.name))


def _files(path: Path, manifest: dict[str, Any]) -> dict[Path, str]:
    """Return the copies that belong to a manifest, each with what it is a copy of."""
    if not manifest:
        return {}
    stem = path.name.removesuffix(_MANIFEST)
    return {
        path.with_name(f"{stem}.{file['format']}"): str(file["path"])
        for file in (manifest, *manifest["also"])
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) and "also" in content else {}
