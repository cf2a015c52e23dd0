"""Settings of the reclosers wing: ``wings.reclosers`` of the site, and its list of reclosers.

The list is a YAML file of the site, ``reclosers.yml``::

    gateways:
      - {id: lav_1, host: gateway-1.example, inactivity_s: 300}
    reclosers:
      - id: LAV-101
        ced: LAV
        name: Boulevard north
        gateway: lav_1
        url: socket://gateway-1.example:5001
        lat: 45.60
        lon: -73.75
        upstream: [LAV-100]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from workspace_lib.errors import ConfigError, ParameterError
from workspace_lib.reclosers.relay_commands import Command, job_command
from workspace_lib.settings import SecretName, Section, Settings
from workspace_lib.simulators import refuse_in_production
from workspace_lib.site_files import read_list, split_names, zone_name
from workspace_lib.transports.ports import PortSettings, device_id

#: Folder of the archive under the site's outputs, where the settings name no other.
ARCHIVE = "raw/reclosers"
#: Addresses of the demo's simulator, which are looked up when a line is opened.
SIMULATED = "simulator://"


class Gateway(Section):
    """A gateway through which relays are reached."""

    id: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", description="House name.")
    host: str = Field("", description="Its address, for the command that opens a pass-through.")
    helper: tuple[str, ...] = Field(
        (),
        description="Command that opens the pass-through before a session, word by word; "
        "{recloser}, {host} and {port} are filled in. It is ended afterwards with all it started.",
    )
    ready: str = Field(
        "", description="Text the command writes once it is ready; empty: the line then opens."
    )
    ready_s: float = Field(30.0, gt=0, description="The command must be ready by then.")
    inactivity_s: float | None = Field(
        None, gt=0, description="After this silence the gateway ends a session."
    )
    busy_text: str = Field("busy", description="What it says while somebody else has the port.")
    locked_text: str = Field("locked", description="What it says while the port is locked.")


class Recloser(Section):
    """One recloser and its relay."""

    id: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$",
        description="House name (LCLCL), in the store.",
    )
    ced: str = Field(pattern=r"^[A-Z0-9]{2,8}$", description="Territory: LAV, MAT, MTL …")
    name: str = Field("", description="Name as people read it.")
    remote: bool = Field(True, description="Whether it can be reached; others are only listed.")
    url: str = Field(
        "", description="Its line: /dev/ttyUSB0, COM3, socket://host:port, rfc2217://host:port."
    )
    line: str = Field(
        "", description="Line it shares with others, by any name; empty: the one of its url."
    )
    gateway: str = Field("", description="Gateway it is behind; empty: none.")
    address: int | None = Field(
        None, ge=1, le=99, description="Its address on a line of several (protocol LMD)."
    )
    wake: str = Field(
        "",
        pattern=r"^[!-~]{0,4}$",
        description="CHWAKE: what wakes a relay that sleeps; empty: it does not.",
    )
    wake_baud: int | None = Field(None, gt=0, description="Speed at which it is woken [bit/s].")
    password: SecretName | None = Field(
        None, description="secret://NAME of its password of level 1; empty: the wing's."
    )
    baud: int = Field(9600, gt=0, description="Speed of its line [bit/s].")
    data_bits: Literal[7, 8] = Field(8, description="Data bits.")
    parity: Literal["N", "E", "O"] = Field("N", description="Parity.")
    date_order: Literal["MDY", "YMD", "DMY"] = Field("MDY", description="Its setting DATE_F.")
    timezone: str | None = Field(None, description="Zone its clock keeps; empty: the wing's.")
    report: str | None = Field(
        None, description="Words after the number of an event; empty: the wing's, by model."
    )
    lat: float | None = Field(None, ge=-90, le=90, description="Latitude [deg].")
    lon: float | None = Field(None, ge=-180, le=180, description="Longitude [deg].")
    upstream: tuple[str, ...] = Field(
        (), description="The next reclosers towards the source, by house name."
    )

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str | None) -> str | None:
        return value if value is None else zone_name(value)

    @field_validator("report")
    @classmethod
    def _words_of_a_report(cls, value: str | None) -> str | None:
        return value if value is None else _report_words(value)

    @model_validator(mode="after")
    def _can_be_reached(self) -> Recloser:
        if self.remote and not self.url:
            raise ValueError(f"{self.id} has no url; give one, or remote: false")
        if self.url and not self.url.startswith(SIMULATED):
            try:
                device_id(self.url)
            except ConfigError as error:
                raise ValueError(f"{self.id}: {error}") from error
        return self

    @property
    def line_id(self) -> str:
        """What one session at a time may use: the shared line, else its own."""
        if self.line:
            return f"line:{self.line}"
        return self.url if self.url.startswith(SIMULATED) else device_id(self.url)

    @property
    def port(self) -> PortSettings:
        """How its line speaks."""
        return PortSettings(baud=self.baud, data_bits=self.data_bits, parity=self.parity)


class RecloserSettings(Section):
    """Settings of the reclosers wing."""

    fleet: str = Field("reclosers.yml", description="File of the site that lists the reclosers.")
    archive: Path | None = Field(
        None,
        description="Root of the archive of event files, also on a network share; empty: "
        f"{ARCHIVE} in the site's outputs.",
    )
    company: str = Field("", description="Company, as the names of files tell it (C37.232).")
    password: SecretName | None = Field(
        None, description="secret://NAME of the password of level 1 of relays without their own."
    )
    timezone: str | None = Field(
        None, description="Zone the relays' clocks keep; empty: the site's."
    )
    formats: Literal["auto", "cev", "comtrade", "both"] = Field(
        "auto", description="What is fetched of an event; auto: by the relay's model."
    )
    reports: dict[str, str] = Field(
        {},
        description="Words after the number of an event by model, as in 651: S128 R; others: C.",
    )
    commands: tuple[str, ...] = Field(
        (), description="Further commands that only read, asked once in each visit."
    )
    reads: int = Field(3, ge=2, description="How often what arrives damaged is read.")
    renumber: int = Field(3, ge=1, description="How often an event that moved is looked for.")
    parallel: int = Field(32, ge=1, le=256, description="Lines in use at once.")
    device_s: float = Field(900.0, gt=0, description="Longest visit of one relay [s].")
    attempts: int = Field(2, ge=1, le=5, description="Visits of a relay that fails, in one run.")
    back_off_s: float = Field(
        3600.0, ge=0, description="Rest of a relay after a run that failed; it doubles each time."
    )
    max_back_off_s: float = Field(86_400.0, ge=0, description="Longest such rest.")
    transcripts_days: int = Field(30, ge=1, description="Transcripts of visits are kept.")
    clock_good_s: float = Field(
        1.0, gt=0, description="A relay's clock is good within this, fair within ten times that."
    )
    neighbours_s: float = Field(
        5.0, gt=0, description="Incidents of neighbours this close in time are one disturbance."
    )
    distance_unit: Literal["km", "mi"] = Field("km", description="Unit of the lines' lengths.")

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str | None) -> str | None:
        return value if value is None else zone_name(value)

    @field_validator("commands")
    @classmethod
    def _only_reading(cls, commands: tuple[str, ...]) -> tuple[str, ...]:
        for text in commands:
            try:
                job_command(text)
            except ParameterError as error:
                raise ValueError(str(error).rstrip(".")) from error
        return commands

    @field_validator("reports")
    @classmethod
    def _by_model(cls, reports: dict[str, str]) -> dict[str, str]:
        for model, words in reports.items():
            if not model.startswith(("351", "651")) and model != "others":
                raise ValueError(f"unknown model {model!r}; write 351, 651 or others")
            _report_words(words)
        return reports


class _FleetFile(Section):
    gateways: tuple[Gateway, ...] = ()
    reclosers: tuple[Recloser, ...]

    @model_validator(mode="after")
    def _fits_together(self) -> _FleetFile:
        for what, names in (
            ("gateways", [one.id for one in self.gateways]),
            ("reclosers", [one.id.lower() for one in self.reclosers]),
        ):
            name, times = Counter(names).most_common(1)[0] if names else ("", 0)
            if times > 1:
                raise ValueError(f"two {what} have the id {name!r}")
        gateways, known = {one.id for one in self.gateways}, {one.id for one in self.reclosers}
        for one in self.reclosers:
            if one.gateway and one.gateway not in gateways:
                raise ValueError(
                    f"{one.id} is behind the gateway {one.gateway!r}, which is not listed"
                )
            if missing := set(one.upstream) - known:
                raise ValueError(f"{one.id} has {missing.pop()!r} upstream, which is not listed")
        return self


@dataclass(frozen=True)
class Fleet:
    """The reclosers of a site and the gateways they are behind."""

    reclosers: tuple[Recloser, ...]
    gateways: tuple[Gateway, ...] = ()

    @property
    def ceds(self) -> tuple[str, ...]:
        """The territories, in alphabetical order."""
        return tuple(sorted({one.ced for one in self.reclosers}))

    @property
    def by_id(self) -> Mapping[str, Recloser]:
        """The reclosers by house name."""
        return {one.id: one for one in self.reclosers}

    def recloser(self, name: str) -> Recloser:
        """Return the recloser of that house name.

        Raises
        ------
        ParameterError
            If the site has none.
        """
        found = self.by_id.get(name)
        if found is None:
            raise ParameterError(
                f"The site has no recloser {name!r}.",
                fix=f"Known reclosers: {_listed(one.id for one in self.reclosers)}.",
            )
        return found

    def gateway_of(self, recloser: Recloser) -> Gateway | None:
        """Return the gateway a recloser is behind, or None."""
        return next((one for one in self.gateways if one.id == recloser.gateway), None)

    def choose(
        self, ced: str | Iterable[str] = "all", reclosers: str | Iterable[str] = "all"
    ) -> tuple[Recloser, ...]:
        """Return the reclosers of territories, or those named; ``all``, or names with commas.

        Raises
        ------
        ParameterError
            If a territory or a recloser does not exist, or one is named that is of none of the
            territories. Also if none is named at all.
        """
        ceds, names = split_names(ced), split_names(reclosers)
        if not ceds or not names:
            raise ParameterError(
                f"No {'recloser' if ceds else 'territory'} is named.",
                fix="Write all, or names with commas.",
            )
        if unknown := [one for one in ceds if one not in (*self.ceds, "all")]:
            raise ParameterError(
                f"The site has no territory {unknown[0]!r}.",
                fix=f"Known territories: {_listed(self.ceds)}.",
            )
        there = [one for one in self.reclosers if "all" in ceds or one.ced in ceds]
        if names == ["all"]:
            return tuple(there)
        chosen = tuple(dict.fromkeys(self.recloser(name) for name in names))
        if outside := [one.id for one in chosen if one not in there]:
            raise ParameterError(
                f"{outside[0]} is not in {', '.join(ceds)}.",
                fix=f"Reclosers there: {_listed(one.id for one in there)}.",
            )
        return chosen


def load_reclosers(settings: Settings) -> RecloserSettings:
    """Return the wing's settings of a site.

    Raises
    ------
    ConfigError
        If one is wrong; every wrong one is named.
    """
    return settings.wing("reclosers", RecloserSettings)


def load_fleet(settings: Settings) -> Fleet:
    """Return the reclosers of a site.

    Raises
    ------
    ConfigError
        If the list is missing, not YAML, or an entry is wrong; every wrong one is named. Also if
        the site is marked ``production`` and a recloser is a simulated one.
    """
    found = read_list(
        settings.site_dir / load_reclosers(settings).fleet,
        _FleetFile,
        "list of reclosers",
        make="Make it, with one entry per recloser: id, ced, url.",
        see="docs/reclosers.md",
    )
    if any(one.url.startswith(SIMULATED) for one in found.reclosers):
        refuse_in_production(settings)
    return Fleet(found.reclosers, found.gateways)


def describe(settings: Settings) -> str:
    """Return in few words what the site has of this wing.

    Raises
    ------
    ConfigError
        If its settings or its list are wrong.
    """
    fleet = load_fleet(settings)
    remote = sum(one.remote for one in fleet.reclosers)
    return f"{len(fleet.reclosers)} reclosers in {', '.join(fleet.ceds)}, {remote} to be reached"


def zone_of(recloser: Recloser, reclosers: RecloserSettings, settings: Settings) -> ZoneInfo:
    """Return the zone whose time the clock of a relay keeps."""
    return ZoneInfo(recloser.timezone or reclosers.timezone or settings.timezone)


def archive_root(reclosers: RecloserSettings, settings: Settings) -> Path:
    """Return the folder under which event files are kept."""
    return reclosers.archive or settings.outputs_dir / ARCHIVE


def _report_words(words: str) -> str:
    """Return the words after the number of an event; ValueError if they do not only read."""
    try:
        Command(f"CEV 1 {words}")
    except ParameterError as error:
        raise ValueError(
            f"{words!r} are no words after the number of a report; write C, or S128 R"
        ) from error
    return words


def _listed(names: Iterable[str], most: int = 40) -> str:
    known = list(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return (", ".join(known[:most]) or "none") + more
