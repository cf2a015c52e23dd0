"""Transcripts of visits, kept for some weeks: every byte both ways, compressed, without passwords.

Reports of runs that were made by hand are cleaned away with them.
"""

from __future__ import annotations

import gzip
import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from workspace_lib.files import atomic_write, safe_name
from workspace_lib.reclosers.settings import Recloser
from workspace_lib.secrets import redact

log = logging.getLogger("workspace_lib.reclosers.fleet")

#: Below the site's outputs: reports of runs, and in it a folder of transcripts for each recloser.
FOLDER: Final = "logs/reclosers"
#: How the names of reports begin.
REPORT: Final = "report_"
_ENDING: Final = ".txt.gz"


def transcripts_of(outputs: Path, recloser: Recloser) -> Path:
    """Return the folder of the transcripts of a recloser."""
    return outputs / FOLDER / safe_name(recloser.id)


def keep_transcript(outputs: Path, recloser: Recloser, text: str, began: datetime) -> str:
    """Keep the transcript of a visit; return its path under ``outputs``.

    A transcript that cannot be written is no reason to lose a visit: the log tells, and the answer
    is empty.
    """
    path = transcripts_of(outputs, recloser) / f"{began:%Y%m%dT%H%M%S%fZ}{_ENDING}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, gzip.compress(redact(text).encode(), mtime=0))
    except OSError as error:
        log.warning("The transcript of %s was not kept: %s", recloser.id, error)
        return ""
    return path.relative_to(outputs).as_posix()


def read_transcript(outputs: Path, path: str) -> str:
    """Return the text of a transcript, by the path that its visit names."""
    return gzip.decompress((outputs / path).read_bytes()).decode()


def clean_transcripts(outputs: Path, recloser: Recloser, days: int, now: datetime) -> int:
    """Remove the transcripts of a recloser that are older than ``days``; return how many."""
    limit = f"{now - timedelta(days=days):%Y%m%dT%H%M%S%fZ}"
    removed = 0
    for path in transcripts_of(outputs, recloser).glob(f"*{_ENDING}"):
        # By its name: copying a folder makes files look young.
        if path.name < limit:
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def clean_reports(folder: Path, days: int, now: datetime) -> int:
    """Remove reports of runs that are older than ``days`` from a folder; return how many."""
    limit = f"{REPORT}{now - timedelta(days=days):%Y%m%dT%H%M%SZ}"
    removed = 0
    for path in folder.glob(f"{REPORT}[0-9]*Z.*"):
        if path.suffix in (".txt", ".csv") and path.stem < limit:
            path.unlink(missing_ok=True)
            removed += 1
    return removed
