"""Logs by the standard module: ``time - level - message``, secrets redacted, old files cleaned."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

from workspace_lib import secrets
from workspace_lib.files import alone

if TYPE_CHECKING:
    from workspace_lib.settings import Settings

FORMAT = "%(asctime)s - %(levelname)s - %(message)s"
LOGGER = "workspace_lib"


class RedactingFormatter(logging.Formatter):
    """Writes UTC times, and ``***`` in place of every secret resolved in this process."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        return secrets.redact(super().format(record))


class SharedFileHandler(RotatingFileHandler):
    """A rotating file that several processes write: one of them rotates it, the others follow.

    Each message goes to the file that has the name now. Where an open file cannot be renamed
    (Windows) it grows until nobody else has it open.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write one message."""
        if not self._is_current():
            self._reopen()
        super().emit(record)

    def doRollover(self) -> None:
        """Put the file aside, unless another process has just done so."""
        with alone(Path(f"{self.baseFilename}.lock")):
            if self._is_current():
                with contextlib.suppress(PermissionError):
                    super().doRollover()
        self._reopen()

    def _is_current(self) -> bool:
        if self.stream is None:
            return False
        try:
            named = Path(self.baseFilename).stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(os.fstat(self.stream.fileno()), named)

    def _reopen(self) -> None:
        if self.stream is not None:
            self.stream.close()
        self.stream = self._open()


def set_up_logging(settings: Settings, *, console: bool = True, verbose: bool = False) -> None:
    """Send the workspace's log to the console and to the site's rotating file.

    Parameters
    ----------
    settings : Settings
        Its ``logging`` section sets level, size and how many files are kept.
    console : bool
        Whether messages also go to standard error.
    verbose : bool
        Show debug messages whatever the settings say.
    """
    logger = logging.getLogger(LOGGER)
    logger.setLevel("DEBUG" if verbose else settings.logging.level)
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    folder = settings.outputs_dir / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    logger.addHandler(
        _formatted(
            SharedFileHandler(
                folder / "workspace.log",
                maxBytes=int(settings.logging.max_megabytes * 1_000_000),
                backupCount=settings.logging.keep_files,
                encoding="utf-8",
                delay=True,
            )
        )
    )
    if console:
        logger.addHandler(_formatted(logging.StreamHandler()))


def add_run_log(path: Path, *, max_megabytes: float = 0, keep_files: int = 0) -> logging.Handler:
    """Send this process's messages also to one run's own log; returns the handler to remove.

    A service, which runs for months, has its log rotated; several processes write a run's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _formatted(
        RotatingFileHandler(
            path,
            maxBytes=int(max_megabytes * 1_000_000),
            backupCount=keep_files,
            encoding="utf-8",
        )
    )
    logging.getLogger(LOGGER).addHandler(handler)
    return handler


def clean_logs(settings: Settings, now: float | None = None) -> list[Path]:
    """Remove logs of single runs older than the settings keep them; returns what was removed."""
    limit = (time.time() if now is None else now) - settings.logging.keep_days * 86_400
    removed = []
    for path in sorted((settings.outputs_dir / "logs" / "runs").glob("**/*.log")):
        if path.stat().st_mtime < limit:
            path.unlink()
            removed.append(path)
    return removed


def _formatted(handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(RedactingFormatter(FORMAT))
    return handler
