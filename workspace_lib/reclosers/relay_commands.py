"""What may be said to a relay: commands that read, and nothing else.

A relay shortens commands to three letters and takes blank, comma, semicolon, colon and slash alike
between words, so that ``his;c`` erases its history. A command is therefore taken apart here, each
word is compared with what is known to be harmless, and it is put together anew: what is sent never
contains a character that was not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from workspace_lib.errors import ParameterError

_SEPARATORS = re.compile(r"[ ,;:/]+")
_TEXT = re.compile(r"[A-Za-z0-9 ,;:/._-]{1,80}")
_NUMBER: Final = r"\d{1,5}"
_REPORT: Final = rf"({_NUMBER}|S(4|8|16|32|64|128)|L\d{{0,4}}|[ACDLMPRV]|DIF)"
_NAME: Final = r"[A-Z0-9][A-Z0-9._-]{0,63}"

#: Full name of each command, and the words that may follow it, blanks between them.
_KNOWN: Final[Mapping[str, tuple[str, str]]] = {
    "ACC": ("ACCESS", ""),
    "QUI": ("QUIT", ""),
    "ID": ("ID", ""),
    "HIS": ("HISTORY", rf"({_NUMBER})?"),
    "CHI": ("CHISTORY", rf"({_NUMBER})?"),
    "EVE": ("EVENT", rf"({_REPORT}( {_REPORT}){{0,6}})?"),
    "CEV": ("CEVENT", rf"({_REPORT}( {_REPORT}){{0,6}})?"),
    "SUM": ("SUMMARY", rf"({_NUMBER})?"),
    # Numbers of rows, or dates: their slashes are separators like any other.
    "SER": ("SEQUENCE", rf"({_NUMBER}( {_NUMBER}){{0,5}})?"),
    # Words after these set, reset or clear: none may follow.
    "STA": ("STATUS", ""),
    "TIM": ("TIME", ""),
    "DAT": ("DATE", ""),
    "MET": ("METER", rf"([DEMB]|{_NUMBER})?"),
    "SHO": ("SHOWSET", r"([GLPT]|\d)?( \d)?"),
    "FIL": ("FILE", rf"(DIR( {_NAME})?|READ( {_NAME}){{1,2}}|SHOW( {_NAME}){{1,2}})"),
}
ALLOWED: Final = tuple(_KNOWN)
#: Commands of the session itself, which no job may name.
_OWN: Final = frozenset({"ACC", "QUI"})


@dataclass(frozen=True)
class Command:
    """One command that may be sent; there is no way to make another.

    Parameters
    ----------
    text : str
        As people write it: ``CEV 3 C``, ``his``, ``EVENT 1``; kept as it is sent.

    Raises
    ------
    ParameterError
        If it is not on the list of commands that only read.

    Examples
    --------
    >>> Command("event 1,c").text
    'EVE 1 C'
    """

    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _canonical(self.text))

    @property
    def verb(self) -> str:
        """The command without what follows it."""
        return self.text.partition(" ")[0]

    @property
    def wire(self) -> bytes:
        """What is sent."""
        return self.text.encode("ascii") + b"\r"


def job_command(text: str) -> Command:
    """Return a command that a job's parameters name; logging in and out are not theirs.

    Raises
    ------
    ParameterError
        If it is not on the list.
    """
    try:
        command = Command(text)
    except ParameterError:
        raise _refused(text, of_jobs=True) from None
    if command.verb in _OWN:
        raise _refused(text, of_jobs=True)
    return command


def _canonical(text: str) -> str:
    if not isinstance(text, str) or not _TEXT.fullmatch(text) or not text.isascii():
        raise _refused(text)
    verb, *words = [word.upper() for word in _SEPARATORS.split(text) if word] or [""]
    for short, (full, follows) in _KNOWN.items():
        if verb in (short, full):
            rest = " ".join(words)
            if re.fullmatch(follows, rest):
                return f"{short} {rest}".rstrip()
    raise _refused(text)


def _refused(text: object, *, of_jobs: bool = False) -> ParameterError:
    names = [one for one in ALLOWED if not (of_jobs and one in _OWN)]
    return ParameterError(
        f"{str(text)[:80]!r} is not sent to a relay: it is not among the commands that only read.",
        fix=f"Use one of {', '.join(names)}, without words that clear or set.",
    )
