"""A relay's list of events, read over a session: by CHI with its checksums, else by HIS.

Numbers shift with each new event, so that they are looked at again just before each is asked for.
The first row tells: as long as the newest event is the same, no number has changed.
"""

from __future__ import annotations

from workspace_lib.errors import FrameError
from workspace_lib.reclosers.history import HistoryEntry, parse_chi, parse_his
from workspace_lib.reclosers.relay import RelaySession
from workspace_lib.reclosers.relay_commands import Command
from workspace_lib.reclosers.relay_errors import InvalidCommand, NoDataAvailable, RelayRefused
from workspace_lib.reclosers.relay_plan import Key


class History:
    """The list of one relay, kept as it was read last.

    ``version`` is another number after each reading that showed another newest event.
    """

    def __init__(self, session: RelaySession, reads: int) -> None:
        self._session = session
        self._reads = reads
        self.command = Command("CHI")
        self.content = b""
        self.entries: list[HistoryEntry] = []
        self.version = 0
        self._fresh = False
        self._takes_count = True

    @property
    def checked(self) -> bool:
        """Whether the list has checksums."""
        return self.command.verb == "CHI"

    def read(self) -> list[HistoryEntry]:
        """Return the list as it is now, newest first.

        Raises
        ------
        FrameError
            If it never came undamaged.
        RelayRefused
            If the relay has neither CHI nor HIS, or does not give it.
        """
        damage: FrameError | None = None
        unknown = 0
        for _ in range(2 * self._reads):
            try:
                content = self._session.ask(self.command).content
                found = self._parse(content)
            except NoDataAvailable:
                content, found = b"", []
            except InvalidCommand:
                unknown += 1  # once it may be noise
                if unknown == 1:
                    continue
                if not self.checked:
                    raise
                self.command, unknown = Command("HIS"), 0
                continue
            except FrameError as error:
                damage = error
                continue
            self._take(content, found)
            self._fresh = True
            return found
        raise damage or FrameError("The list of events cannot be read.")

    def find(self, key: Key, *, again: bool) -> HistoryEntry | None:
        """Return an event with the number it has now; with ``again`` all of the list is read."""
        if again or not self._current():
            self.read()
        self._fresh = False
        return next((one for one in self.entries if one.key == key), None)

    def asked(self) -> None:
        """Note that something was asked since the list was looked at."""
        self._fresh = False

    def unchanged(self) -> bool:
        """Return whether the list is as it was read last, by looking at its first row."""
        before = self.version
        return self._current() and self.version == before

    def _current(self) -> bool:
        """Return whether what is known of the list holds, by looking at its first row.

        Nothing is asked where nothing else was since. A relay that takes no number after CHI sends
        all of it, which then is the list; one that refuses it is not asked so again.
        """
        if not self.entries:
            return False
        if self._fresh:
            return True
        if not self._takes_count:
            return False
        try:
            content = self._session.ask(Command(f"{self.command.verb} 1")).content
            found = self._parse(content)
        except FrameError:
            return False
        except RelayRefused:
            self._takes_count = False
            return False
        # Without checksums a row may have come changed, also into what is expected: its number.
        same = bool(found) and (found[0].key, found[0].number) == (
            self.entries[0].key,
            self.entries[0].number,
        )
        if not same and self.checked and len(found) >= max(2, len(self.entries)):
            self._take(content, found)
            same = True
        self._fresh = same
        return same

    def _take(self, content: bytes, found: list[HistoryEntry]) -> None:
        self.version += [one.key for one in found[:1]] != [one.key for one in self.entries[:1]]
        self.content, self.entries = content, found

    def _parse(self, content: bytes) -> list[HistoryEntry]:
        if self.checked:
            return parse_chi(content)
        text = content.decode("latin-1")
        return parse_his(text, self._session.manners.date_order)
