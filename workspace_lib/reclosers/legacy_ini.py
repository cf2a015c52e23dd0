"""Old ``.ini`` files and lists of the former program, as entries of the site's list of reclosers.

How those files looked in each territory is not known for certain. Therefore whatever is not
understood is told with section, key and line, and no value of a file is ever repeated in a message:
any of them may be a password.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.legacy_keys import GENERAL, meaning_of, plain, replaced_by
from workspace_lib.reclosers.relay_commands import job_command
from workspace_lib.reclosers.settings import Fleet, Recloser
from workspace_lib.site_files import problems_of

_SECTION = re.compile(r"\[\s*(.*?)\s*\]\s*(?:[;#].*)?$")
_PAIR = re.compile(r"([^=:]+?)\s*[=:]\s*(.*)$")
_COMMENT = re.compile(r"\s+[;#].*$")
_HOST = re.compile(
    r"(?P<host>\d{1,3}(?:\.\d{1,3}){3}|[A-Za-z][\w-]*(?:\.[\w-]+)+)(?::(?P<port>\d+))?"
)
_COM = re.compile(r"(COM\d{1,3}|/dev/[\w/.-]+)", re.IGNORECASE)
_TIME = re.compile(r"(\d+(?:[.,]\d+)?)\s*(ms|s|sec|min|m|h)?\w*$", re.IGNORECASE)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
_PARITIES: Final = {
    **dict.fromkeys(("n", "none", "aucune", "non", "sans"), "N"),
    **dict.fromkeys(("e", "even", "p", "paire", "pair"), "E"),
    **dict.fromkeys(("o", "odd", "i", "impaire", "impair"), "O"),
}
_YES: Final = frozenset({"1", "oui", "o", "yes", "y", "true", "vrai", "on", "x"})
_NO: Final = frozenset({"0", "non", "n", "no", "false", "faux", "off", ""})
#: Meanings that say where one recloser is: a section that has one is that recloser's.
_WHERE: Final = frozenset({"host", "tcp_port", "com", "id", "address"})
#: Name of the secret of the password that all relays share.
SHARED_SECRET: Final = "RELAY_LEVEL_1"


@dataclass(frozen=True)
class Note:
    """Something to look at: where it stands, and what it is about; never a value of the file."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Imported:
    """What was found: entries of the list, settings of the wing, secrets to be set, and notes."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True)
class Pair:
    """A key and its value, and the line they stand in."""

    key: str
    value: str
    line: int


@dataclass
class Section:
    """A section of an INI file; ``name`` is empty for what stands before the first."""

    name: str
    line: int
    pairs: list[Pair] = field(default_factory=list)


def decode(content: bytes) -> str:
    """Return the text of a file as Windows programs wrote them: UTF-8, UTF-16 or cp1252."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Five bytes mean nothing in cp1252; they are kept as what they look like.
        return content.decode("cp1252", errors="replace")


def parse_ini(text: str, where: str) -> tuple[list[Section], list[Note]]:
    """Return the sections of an INI file, and the lines that are none of it."""
    sections, notes = [Section("", 0)], list[Note]()
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line[0] in ";#":
            continue
        if found := _SECTION.fullmatch(line):
            sections.append(Section(found[1], number))
        elif pair := _PAIR.match(line):
            value = _COMMENT.sub("", pair[2]).strip().strip("\"'")
            sections[-1].pairs.append(Pair(pair[1], value, number))
        else:
            notes.append(Note(f"{where}:{number}", "the line is no section, key or comment"))
    return [one for one in sections if one.name or one.pairs], notes


def parse_list(text: str, where: str) -> tuple[list[dict[str, Pair]], list[Note]]:
    """Return the rows of a list of reclosers, by what each cell means, and what is unclear.

    Cells are told by the names in the first line; without such names by what they look like, the
    first being the recloser.
    """
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and line.lstrip()[0] not in "#;"
    ]
    if not lines:
        return [], []
    delimiter = max(";\t,|", key=lines[0][1].count)
    rows, notes = list[dict[str, Pair]](), list[Note]()
    header: list[str] | None = None
    for number, line in lines:
        try:
            row = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
        except csv.Error:
            notes.append(Note(f"{where}:{number}", "the line is no row of a list"))
            continue
        if not any(row):
            continue
        if header is None:
            meanings = [meaning_of(cell) for cell in row]
            header = meanings if "id" in meanings else []
            if header:
                for cell, meaning in zip(row, meanings, strict=True):
                    if not meaning:
                        notes.append(_unknown(f"{where}:{number}", "column", cell))
                continue
        found: dict[str, Pair] = {}
        for place, cell in enumerate(row):
            if header:
                meaning = header[place] if place < len(header) else ""
            else:
                meaning = "id" if place == 0 else _looks_like(cell, found)
            if cell and meaning:
                found.setdefault(meaning, Pair(meaning, cell, number))
            elif cell and not header:
                notes.append(Note(f"{where}:{number}", f"cell {place + 1} is not understood"))
        rows.append(found)
    return rows, notes


def import_legacy(
    inis: Sequence[tuple[str, bytes]],
    lists: Sequence[tuple[str, bytes]] = (),
    *,
    ced: str = "",
    fleet: Fleet | None = None,
) -> Imported:
    """Return what old files say, as entries of the site's list of reclosers.

    Parameters
    ----------
    inis, lists : sequence of (str, bytes)
        Name and content of INI files, and of lists of reclosers.
    ced : str
        Territory of reclosers whose files do not say it.
    fleet : Fleet, optional
        The site's list: only gateways that stand there are named.
    """
    return _Import(ced, fleet).run(inis, lists)


class _Import:
    def __init__(self, ced: str, fleet: Fleet | None) -> None:
        self._ced = ced
        self._gateways = {one.id.lower(): one.id for one in fleet.gateways} if fleet else {}
        self._found = Imported()
        self._general: dict[str, Any] = {}
        self._reclosers: dict[str, dict[str, Any]] = {}
        self._stands: dict[str, str] = {}

    def run(
        self, inis: Sequence[tuple[str, bytes]], lists: Sequence[tuple[str, bytes]]
    ) -> Imported:
        rows: list[tuple[str, dict[str, Pair]]] = []
        for where, content in lists:
            found, notes = parse_list(decode(content), where)
            rows += [(where, row) for row in found]
            self._found.notes += notes
        listed = {plain(row["id"].value) for _, row in rows if "id" in row}
        for where, content in inis:
            sections, notes = parse_ini(decode(content), where)
            self._found.notes += notes
            for section in sections:
                self._section(section, where, listed)
        for where, row in rows:
            if "id" in row:
                self._recloser(row["id"].value, list(row.values()), where, row["id"].line, "")
        for name, values in self._reclosers.items():
            self._entry(name, {**self._general, **values})
        return self._found

    def _section(self, section: Section, where: str, listed: set[str]) -> None:
        meanings = {meaning_of(pair.key) for pair in section.pairs}
        general = not section.name or plain(section.name) in GENERAL
        if not general and (meanings & _WHERE or plain(section.name) in listed):
            named = next((p.value for p in section.pairs if meaning_of(p.key) == "id"), "")
            self._recloser(named or section.name, section.pairs, where, section.line, section.name)
        elif general or meanings - {""}:
            for pair in section.pairs:
                self._pair(self._general, pair, where, section.name)
        else:
            keys = ", ".join(pair.key for pair in section.pairs)
            what = f"the section [{section.name}] is not understood"
            self._note(where, section.line, f"{what} ({keys})" if keys else what)

    def _recloser(
        self, name: str, pairs: Sequence[Pair], where: str, line: int, section: str
    ) -> None:
        house = re.sub(r"[^A-Za-z0-9_.-]+", "-", re.sub(r"\s+", "-", name.strip())).strip("-._")
        if not house:
            self._note(where, line, "the recloser has no name that can be one here")
            return
        if house != name:
            self._note(where, line, f"the recloser is called {house} here")
        values = self._reclosers.setdefault(house, {})
        self._stands.setdefault(house, f"{where}:{line}")
        for pair in pairs:
            if meaning_of(pair.key) != "id":
                self._pair(values, pair, where, section, house)

    def _pair(
        self, into: dict[str, Any], pair: Pair, where: str, section: str, recloser: str = ""
    ) -> None:
        """Take over one key and its value, or note why not."""
        named = f"[{section}] {pair.key}" if section else pair.key
        meaning = meaning_of(pair.key)
        if meaning == "password":
            secret = f"RELAY_{plain(recloser).upper()}" if recloser else SHARED_SECRET
            self._found.secrets[secret] = recloser
            if recloser:
                into["password"] = f"secret://{secret}"
            else:
                self._found.settings["password"] = f"secret://{secret}"
            self._note(
                where,
                pair.line,
                f"{named} is a password and was not taken over; set it as the secret {secret}",
            )
        elif meaning == "password_higher":
            self._note(where, pair.line, f"{named} is not needed: only level 1 is ever entered")
        elif meaning == "level":
            if pair.value.strip() not in ("1", "ACC", "acc"):
                self._note(where, pair.line, f"{named}: only level 1 is ever entered")
        elif meaning == "commands":
            self._commands(pair, where, named)
        elif meaning == "":
            instead = replaced_by(pair.key)
            what = f"is not needed: in its place there is {instead}" if instead else ""
            self._note(where, pair.line, f"{named} {what or 'is not understood'}")
        else:
            value = _value(meaning, pair.value)
            if value is None:
                self._note(where, pair.line, f"the value of {named} is not understood")
            elif meaning == "device_s":
                self._found.settings["device_s"] = value
            elif meaning == "gateway" and value.lower() not in self._gateways:
                self._note(where, pair.line, f"{named}: add the gateway to the site's list first")
            elif meaning == "gateway":
                into["gateway"] = self._gateways[value.lower()]
            elif meaning != "stop_bits":
                into |= value if isinstance(value, dict) else {meaning: value}

    def _commands(self, pair: Pair, where: str, named: str) -> None:
        known = self._found.settings.setdefault("commands", [])
        for text in re.split(r"[;,|]", pair.value):
            try:
                command = job_command(text.strip().strip("\"'"))
            except ParameterError:
                if text.strip():
                    self._note(where, pair.line, f"{named}: a command is not among those that read")
                continue
            if command.verb in ("CEV", "CHI", "ID"):
                continue  # every visit asks for them
            if command.text not in known:
                known.append(command.text)

    def _entry(self, name: str, values: Mapping[str, Any]) -> None:
        stands = self._stands[name]
        ced = str(values.get("ced") or self._ced).upper()
        if not ced:
            self._found.notes.append(Note(stands, f"{name} has no territory; give it by --ced"))
            return
        entry: dict[str, Any] = {"id": name, "ced": ced}
        if values.get("name"):
            entry["name"] = values["name"]
        url = _url(values)
        if values.get("com") and values.get("host"):
            self._found.notes.append(
                Note(stands, f"{name} has a serial port and an address; the port was taken over")
            )
        if url and values.get("remote", True):
            entry["url"] = url
        else:
            entry["remote"] = False
            if not url:
                self._found.notes.append(
                    Note(stands, f"{name} has no complete address and is only listed")
                )
            else:
                entry["url"] = url
        keys = "line gateway address wake wake_baud password baud data_bits parity timezone lat lon"
        entry |= {key: values[key] for key in keys.split() if key in values}
        try:
            Recloser.model_validate(entry)
        except ValidationError as error:
            told = "; ".join(str(one["loc"][-1]) for one in error.errors() if one["loc"])
            self._found.notes.append(
                Note(stands, f"{name} cannot be listed: wrong {told or problems_of(error)}")
            )
            return
        self._found.entries.append(entry)

    def _note(self, where: str, line: int, what: str) -> None:
        self._found.notes.append(Note(f"{where}:{line}", what))


def _unknown(where: str, what: str, name: str) -> Note:
    instead = replaced_by(name)
    told = f"is not needed: in its place there is {instead}" if instead else "is not understood"
    return Note(where, f"{what} {name} {told}")


def _looks_like(cell: str, found: Mapping[str, Pair]) -> str:
    """Return what a cell of a list without names of columns is by its looks, or nothing."""
    if _HOST.fullmatch(cell) and "host" not in found:
        return "host"
    if _COM.fullmatch(cell) and "com" not in found:
        return "com"
    if cell.isdigit() and "host" in found and "tcp_port" not in found:
        return "tcp_port"
    if re.fullmatch(r"[A-Z]{2,4}", cell) and "ced" not in found:
        return "ced"
    return "name" if re.search(r"[^\W\d]", cell) and "name" not in found else ""


def _value(meaning: str, text: str) -> Any:
    """Return a value as the list of reclosers has it; None if it cannot be one."""
    text = text.strip()
    word = plain(text)
    if meaning in ("host", "address"):
        if found := _HOST.fullmatch(text):
            port = {"tcp_port": int(found["port"])} if found["port"] else {}
            return {"host": found["host"], **port}
        if meaning == "host":
            return {"host": text} if re.fullmatch(r"[A-Za-z][\w.-]*", text) else None
        return int(text) if text.isdigit() and 1 <= int(text) <= 99 else None
    if meaning in ("com", "port"):
        if _COM.fullmatch(text):
            return {"com": text if text.startswith("/") else text.upper()}
        if not text.isdigit():
            return None
        return {"com": f"COM{text}"} if meaning == "com" else {"tcp_port": int(text)}
    if meaning in ("tcp_port", "baud", "data_bits", "wake_baud"):
        return int(text) if text.isdigit() else None
    if meaning == "stop_bits":
        return 1 if text in ("1", "1.0") else None
    if meaning in ("lat", "lon"):
        try:
            return float(text.replace(",", "."))
        except ValueError:
            return None
    if meaning == "parity":
        return _PARITIES.get(word)
    if meaning == "remote":
        return True if word in _YES else False if word in _NO else None
    if meaning == "device_s":
        found = _TIME.match(text)
        if found is None:
            return None
        seconds = float(found[1].replace(",", ".")) * _SECONDS[(found[2] or "s").lower()]
        return seconds if seconds > 0 else None
    return text or None


def _url(values: Mapping[str, Any]) -> str:
    if values.get("com"):
        return str(values["com"])
    host, port = values.get("host"), values.get("tcp_port")
    return f"socket://{host}:{port}" if host and port else ""
