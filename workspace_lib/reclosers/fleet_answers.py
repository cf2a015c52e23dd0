"""Answers to further commands (``EVE``, ``HIS``, ``MET`` …) as files beside a recloser's events.

``<CED>/<recloser>/answers/20260504T123015Z_EVE-C.txt`` under the archive's root, bytes as they
came. An answer that says the same as the last one of its command is not kept again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from workspace_lib.errors import StoreError
from workspace_lib.files import atomic_write
from workspace_lib.reclosers.archive import Archive
from workspace_lib.reclosers.settings import Recloser

FOLDER: Final = "answers"
#: The time in the head of an answer, which differs each time.
_NOW = re.compile(rb"Date:[^\r\n]*?Time:\s*[\d:.]+")


def keep_answers(
    archive: Archive, recloser: Recloser, answers: Mapping[str, bytes], began: datetime
) -> list[Path]:
    """Keep what a visit's further commands brought; return the files that are new.

    Parameters
    ----------
    answers : mapping
        Answers by command, as `relay_capture.Visit.extras` has them.
    began : datetime
        When the visit began.

    Raises
    ------
    StoreError
        If the archive cannot be written.
    """
    folder = archive.root / archive.folder(recloser) / FOLDER
    kept = []
    for command, content in answers.items():
        name = command.replace(" ", "-")
        path = folder / f"{began:%Y%m%dT%H%M%SZ}_{name}.txt"
        try:
            last = max(folder.glob(f"[0-9]*_{name}.txt"), default=None)
            if last is not None and _told(last.read_bytes()) == _told(content):
                continue
            atomic_write(path, content)
        except OSError as error:
            raise StoreError(
                f"An answer cannot be kept ({error.strerror or error}).",
                where=str(path),
                fix="Check that the archive can be reached, its space and its rights.",
            ) from error
        kept.append(path)
    return kept


def _told(content: bytes) -> bytes:
    return _NOW.sub(b"", content)
