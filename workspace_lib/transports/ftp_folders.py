"""The files of one folder of an FTP server, by the best of what the server understands.

MLSD first. Without it, small folders are asked for file by file (SIZE and MDTM: exact and in UTC,
two round trips each), large ones by one LIST, whose times are put right by a few MDTM.
"""

from __future__ import annotations

import ftplib
from collections.abc import Callable
from datetime import UTC, datetime

from workspace_lib.transports import ftp_listing
from workspace_lib.transports.file_source import Problem
from workspace_lib.transports.ftp_listing import Entry
from workspace_lib.transports.ftp_session import FtpSession

#: Without MLSD, folders up to this size are asked for file by file.
EXACT_NAMES = 200


def list_folder(session: FtpSession, folder: str, problems: list[Problem]) -> list[Entry]:
    """Return the entries of ``folder``, relative to the source's.

    Lines that cannot be understood are appended to ``problems`` as (path, reason).
    """
    _enter(session, folder)
    for ask in (_by_mlsd, _by_names, _by_list):
        entries = ask(session, folder, problems)
        if entries is not None:
            return entries
    raise ftplib.error_perm("502 The server knows neither MLSD nor LIST.")


def zone_offset_s(session: FtpSession) -> float | None:
    """Return how far LIST of the source's folder is ahead of UTC [s], or None if unknown."""
    _enter(session, "")
    entries = _listed(session, "", [])
    offset = ftp_listing.measured_offset(entries or [], session.ask_time)
    return None if offset is None else offset.total_seconds()


def _enter(session: FtpSession, folder: str) -> None:
    # Names are then given without a path, so that blanks in them cannot be mistaken.
    session.ftp.cwd(session.absolute(folder))


def _by_mlsd(session: FtpSession, folder: str, problems: list[Problem]) -> list[Entry] | None:
    lines = session.lines("MLSD")
    if lines is None:
        return None
    return _parsed(session, lines, folder, problems, ftp_listing.parse_mlsd)


def _by_names(session: FtpSession, folder: str, problems: list[Problem]) -> list[Entry] | None:
    needed = {"SIZE", "MDTM"}
    if session.missing & needed:
        return None
    lines = session.lines("NLST")
    if lines is None or len(lines) > EXACT_NAMES:
        return None
    try:
        names = [_text(session, line).rsplit("/", 1)[-1] for line in lines]
    except UnicodeDecodeError:
        return None  # LIST tells which name it is
    entries = []
    for name in names:
        if name in ("", ".", ".."):
            continue
        size = session.ask_size(name)
        if size is not None:
            entries.append(Entry(name, "file", size, session.ask_time(name)))
        elif session.is_folder(name):
            entries.append(Entry(name, "folder"))
        if session.missing & needed:
            return None
    return entries


def _by_list(session: FtpSession, folder: str, problems: list[Problem]) -> list[Entry] | None:
    entries = _listed(session, folder, problems)
    return None if entries is None else ftp_listing.date_entries(entries, session.ask_time)


def _listed(session: FtpSession, folder: str, problems: list[Problem]) -> list[Entry] | None:
    lines = session.lines("LIST")
    if lines is None:
        return None
    now = datetime.now(UTC)
    return _parsed(session, lines, folder, problems, lambda line: ftp_listing.parse_list(line, now))


def _parsed(
    session: FtpSession,
    lines: list[bytes],
    folder: str,
    problems: list[Problem],
    parse: Callable[[str], Entry | None],
) -> list[Entry]:
    entries = []
    for line in lines:
        try:
            entry = parse(_text(session, line))
        except ValueError as error:
            shown = line.decode("ascii", "backslashreplace")
            if isinstance(error, UnicodeDecodeError):
                why = f"its name is not {session.address.settings.encoding}"
            else:
                why = f"its line in the listing is not understood: {error}"
            problems.append((f"{folder}/{shown}".lstrip("/"), why))
            continue
        if entry is not None:
            entries.append(entry)
    return entries


def _text(session: FtpSession, line: bytes) -> str:
    return line.decode(session.address.settings.encoding)
