"""What is fetched of a relay, and what comes of one event of its list."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from workspace_lib.errors import ParameterError
from workspace_lib.reclosers.history import HistoryEntry
from workspace_lib.reclosers.ident import model_of
from workspace_lib.reclosers.relay_commands import Command, job_command

Key = tuple[str, str]
State = Literal["whole", "summary", "damaged", "moved", "gone"]
FileKind = Literal["cev", "eve", "cfg", "dat", "hdr", "cff", "inf", "txt"]
Formats = Literal["auto", "cev", "comtrade", "both"]
FORMATS: Final = ("auto", "cev", "comtrade", "both")
#: Models that keep no event files: what they have is asked for by CEV.
_REPORTS_ONLY: Final = ("SEL-351",)
_MODELS_651: Final = ("SEL-651",)


@dataclass(frozen=True)
class FetchedFile:
    """One file of an event, as the relay has it, without padding of the transfer.

    ``name`` is the relay's own name of the file, empty for a report that was asked by a command.
    ``whole`` is False for the last try of a file that never arrived undamaged.
    """

    kind: FileKind
    name: str
    content: bytes
    whole: bool = True

    @property
    def sha256(self) -> str:
        """Digest of the content."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class FetchedEvent:
    """One event of the list and what became of it.

    ``whole``: ``files`` are all that were wanted, as the relay has them. ``summary``: it is listed
    and nothing else of it is stored any more. ``damaged``: at least one file never arrived whole;
    of each there is the last try. ``moved``: its number changed each time. ``gone``: it was listed
    once and then not again. ``reads`` is how often anything of it was asked for.
    """

    entry: HistoryEntry
    state: State
    files: tuple[FetchedFile, ...] = ()
    reads: int = 0
    why: str = ""

    @property
    def key(self) -> Key:
        """What the event is known by."""
        return self.entry.key

    def file(self, kind: FileKind) -> FetchedFile | None:
        """Return the file of this kind, or None."""
        return next((one for one in self.files if one.kind == kind), None)

    @property
    def content(self) -> bytes | None:
        """The compressed report, else the first file; None where nothing came."""
        found = self.file("cev") or (self.files[0] if self.files else None)
        return None if found is None else found.content

    @property
    def sha256(self) -> str | None:
        """Digest of `content`."""
        return None if self.content is None else hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class CapturePlan:
    """What is fetched of a relay, and how often it is tried.

    Attributes
    ----------
    formats : {"auto", "cev", "comtrade", "both"}
        ``cev`` is the compressed report, ``comtrade`` the files CFG, DAT and HDR. ``auto`` is CEV
        for a 351, and for others CEV with the files that the relay has.
    report : str
        Words after the number of an event: ``C`` is 16 samples a cycle, the whole length.
    report_651 : str, optional
        These words for a 651R, where they differ: ``S128 R`` is raw, 128 samples a cycle, and seven
        times the bytes of ``C``. Its COMTRADE files hold raw samples anyway.
    reads : int
        How often an event, a file or a list that arrives damaged is read.
    renumber : int
        How often the list is read again because an event had another number by then.
    extras : tuple of str
        Further commands that only read, asked once in each visit.

    Raises
    ------
    ParameterError
        If a command is not among those that only read, or a number or a format cannot be.
    """

    report: str = "C"
    reads: int = 3
    renumber: int = 3
    extras: tuple[str, ...] = ()
    formats: Formats = "auto"
    report_651: str | None = None

    def __post_init__(self) -> None:
        if self.reads < 2 or self.renumber < 1:
            raise ParameterError("Reads must be at least 2, and renumberings 1.")
        if self.formats not in FORMATS:
            raise ParameterError(
                f"{self.formats!r} is no format of events.", fix=f"Use one of {', '.join(FORMATS)}."
            )
        self.command(1)
        self.command(1, model="SEL-651R")
        for text in self.extras:
            job_command(text)

    def command(self, number: int, model: str = "") -> Command:
        """Return the command that asks for an event by its number."""
        words = self.report
        if self.report_651 is not None and model.startswith(_MODELS_651):
            words = self.report_651
        return Command(f"CEV {number} {words}".rstrip())

    def wants_report(self) -> bool:
        """Return whether compressed reports are asked for."""
        return self.formats != "comtrade"

    def wants_files(self, model: str) -> bool:
        """Return whether files are asked for of a model; of one that is unknown they are."""
        if self.formats == "auto":
            return not model.startswith(_REPORTS_ONLY)
        return self.formats != "cev"


def model_in(identity: Mapping[str, str]) -> str:
    """Return the model by what ``ID`` answered, empty if it does not say."""
    return model_of(identity.get("FID", "")) or ""
