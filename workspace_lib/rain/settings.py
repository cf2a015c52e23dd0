"""Settings of the rain wing: ``wings.rain`` of the site, and its list of gauges.

The list is a YAML file of the site, ``gauges.yml``, so that adding a gauge changes no code::

    gauges:
      - id: hydropolis
        name: Hydropolis
        folder: Hydropolis
        aliases: [Hydropol, {name: ARCHIEST, valid_from: 2022-01-01T00:00:00Z}]
        mm_per_tip: 0.2
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from workspace_lib.errors import ConfigError, ParameterError
from workspace_lib.rain.analysis import WINDOWS_S
from workspace_lib.rain.calibration import Unit
from workspace_lib.settings import Section, Settings
from workspace_lib.site_files import read_list, split_names

#: Loggers cut their label to this many characters in the names of files.
LABEL_LENGTH = 8


class Alias(Section):
    """Another name of a gauge's folder or files, for a time or for ever."""

    name: str = Field(min_length=1, description="Folder, or label in the file's name.")
    valid_from: AwareDatetime | None = Field(None, description="From this instant on.")
    valid_to: AwareDatetime | None = Field(None, description="Before this instant.")

    def holds(self, at: datetime | None) -> bool:
        """Return whether the name meant this gauge at ``at`` (always, if the time is unknown)."""
        if at is None:
            return True
        return self.holds_within(at, at)

    def holds_within(self, first: datetime, last: datetime) -> bool:
        """Return whether the name meant this gauge at some time from ``first`` to ``last``."""
        after = self.valid_from is None or last >= self.valid_from
        return after and (self.valid_to is None or first < self.valid_to)


def _from_text(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Gauge(Section):
    """One tipping-bucket rain gauge."""

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="House name, in the store.")
    name: str = Field(description="Name as people read it.")
    folder: str = Field(description="Folder on the source, under its own folder.")
    aliases: tuple[Annotated[Alias, BeforeValidator(_from_text)], ...] = Field(
        (), description="Other names of its folder and files, with dates if they changed."
    )
    lat: float | None = Field(None, ge=-90, le=90, description="Latitude [deg].")
    lon: float | None = Field(None, ge=-180, le=180, description="Longitude [deg].")
    mm_per_tip: float | None = Field(
        None, gt=0, description="Nominal depth of one tip [mm]; empty: unknown, tips only."
    )
    step_s: int = Field(60, ge=1, description="Nominal time from row to row [s].")
    delivery: Literal["direct", "copied"] = Field(
        "direct",
        description="How its files come into its folder: sent there, or copied by rain_copy.",
    )
    base_folder: str | None = Field(
        None, description="Folder on the source they are copied from; empty: the same name."
    )


class ProductSettings(Section):
    """Yearly files of each gauge and of the network, and where they are sent."""

    source: str | None = Field(
        None, description="Server that gets them; empty: they are made and not sent."
    )
    folder: str = Field(
        "{gauge}/{year}",
        description="Folder for them under its upload_folder; {gauge} and {year} are filled in.",
    )
    formats: tuple[Literal["csv", "h5", "mtx", "npz"], ...] = Field(
        ("csv", "h5", "mtx", "npz"), description="Kinds of files made."
    )
    columns: Literal["consumer", "named"] = Field(
        "consumer",
        description="Header of the CSV files: Station, Timestamp, Rain … as programs of old "
        "expect it, or names that say what is in them (tips, rain_mm).",
    )

    @field_validator("folder")
    @classmethod
    def _can_be_filled_in(cls, folder: str) -> str:
        try:
            folder.format(gauge="gauge", year=2024)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError("only {gauge} and {year} can be filled in") from error
        return folder


class RainSettings(Section):
    """Settings of the rain wing."""

    source: str = Field("rain", description="Name of the source of raw files.")
    copy_from: str | None = Field(
        None, description="Name of the source whose raw files rain_copy copies to that one."
    )
    gauges: str = Field("gauges.yml", description="File of the site that lists the gauges.")
    calibrations: str = Field(
        "calibrations.yml", description="File of the site that holds the dated calibrations."
    )
    calibration_unit: Unit = Field(
        "tips/min", description="Unit of x of imported calibrations that do not state one."
    )
    uncalibrated: Literal["nominal", "refuse"] = Field(
        "refuse",
        description="Where no calibration is in force: no depth, or the nominal depth of a tip "
        "(the rows are flagged either way).",
    )
    shared_folders: tuple[str, ...] = Field(
        (), description="Folders into which several gauges deliver; the file's label tells whose."
    )
    history_folders: tuple[str, ...] = Field(
        (),
        description="Folders on the source whose concatenated yearly files are taken as well; "
        "their names tell whose they are.",
    )
    stamp: Literal["end"] = Field("end", description="A row counts the step that ends at it.")
    first_plausible: AwareDatetime = Field(
        datetime(2005, 1, 1, tzinfo=UTC),
        description="Rows stamped earlier are of a clock that was reset; they are set aside.",
    )
    future_tolerance_s: int = Field(
        86_400, ge=0, description="Rows stamped this long after their file was seen are set aside."
    )
    thresholds_mm: dict[str, tuple[float, float]] = Field(
        {}, description="Sums marked on the dashboard: attention and alarm by window [mm]."
    )
    files_per_batch: int = Field(
        1000, ge=1, le=4000, description="Files parsed and stored in one transaction."
    )
    products: ProductSettings = Field(default_factory=ProductSettings, description="Yearly files.")

    @field_validator("thresholds_mm")
    @classmethod
    def _known_windows(
        cls, levels: dict[str, tuple[float, float]]
    ) -> dict[str, tuple[float, float]]:
        for window, (attention, alarm) in levels.items():
            if window not in WINDOWS_S:
                raise ValueError(f"no window {window!r}, known: {', '.join(WINDOWS_S)}")
            if not 0 < attention <= alarm:
                raise ValueError(f"{window}: give two depths above zero, the lower one first")
        return levels


class _GaugeFile(Section):
    gauges: tuple[Gauge, ...]

    @model_validator(mode="after")
    def _unique(self) -> _GaugeFile:
        for what in ("id", "folder"):
            seen: set[str] = set()
            for gauge in self.gauges:
                value = getattr(gauge, what)
                if value in seen:
                    raise ValueError(f"two gauges have the {what} {value!r}")
                seen.add(value)
        return self


@dataclass(frozen=True)
class Network:
    """The gauges of a site, and who is meant by a folder or a file's label."""

    gauges: tuple[Gauge, ...]
    shared_folders: tuple[str, ...] = ()

    def gauge(self, gauge_id: str) -> Gauge:
        """Return the gauge of that house name.

        Raises
        ------
        ParameterError
            If the site has none.
        """
        for gauge in self.gauges:
            if gauge.id == gauge_id:
                return gauge
        raise ParameterError(
            f"The site has no rain gauge {gauge_id!r}.",
            fix=f"Known gauges: {', '.join(gauge.id for gauge in self.gauges) or 'none'}.",
        )

    def choose(self, wanted: str | Iterable[str]) -> tuple[Gauge, ...]:
        """Return the gauges that ``wanted`` names: ``all``, or house names (also with commas).

        Raises
        ------
        ParameterError
            If one of them does not exist.
        """
        names = split_names(wanted)
        if names == ["all"]:
            return self.gauges
        return tuple(self.gauge(name) for name in names)

    def by_folder(self, folder: str, at: datetime | None) -> Gauge | None:
        """Return the gauge whose folder holds ``folder`` (the deepest one), or None."""
        found: tuple[int, Gauge] | None = None
        for gauge in self.gauges:
            names = [gauge.folder] + [a.name for a in gauge.aliases if a.holds(at)]
            for name in names:
                if _inside(folder, name) and (found is None or len(name) > found[0]):
                    found = (len(name), gauge)
        return found[1] if found else None

    def by_label(self, label: str, at: datetime | None) -> Gauge | None:
        """Return the gauge that the label of a file's name means at ``at``, or None.

        Loggers cut the label to 8 characters; one that could mean two gauges means none.
        """
        meant = [
            gauge
            for gauge in self.gauges
            if label in {name[:LABEL_LENGTH] for name in _label_names(gauge, at)}
        ]
        return meant[0] if len(meant) == 1 else None

    def by_name(self, name: str, year: int) -> Gauge | None:
        """Return the gauge that a name meant in a UTC year, or None.

        Unlike a logger's label the name is whole. One that meant two gauges in that year means
        none.
        """
        first = datetime(year, 1, 1, tzinfo=UTC)
        last = datetime(year + 1, 1, 1, tzinfo=UTC) - datetime.resolution
        meant = [
            gauge
            for gauge in self.gauges
            if name in (gauge.id, gauge.name, gauge.folder.rsplit("/", 1)[-1])
            or any(a.name == name and a.holds_within(first, last) for a in gauge.aliases)
        ]
        return meant[0] if len(meant) == 1 else None

    def at_base(self) -> Network:
        """Return the same gauges with their folders on the source they are copied from."""
        moved = [
            gauge.model_copy(update={"folder": gauge.base_folder or gauge.folder})
            for gauge in self.gauges
        ]
        return Network(tuple(moved), self.shared_folders)

    def is_shared(self, folder: str) -> bool:
        """Return whether several gauges deliver into ``folder``, so that the label decides."""
        return not folder or any(_inside(folder, shared) for shared in self.shared_folders)


def _label_names(gauge: Gauge, at: datetime | None) -> list[str]:
    own = [gauge.name, gauge.folder.rsplit("/", 1)[-1]]
    return own + [alias.name for alias in gauge.aliases if alias.holds(at)]


def _inside(folder: str, parent: str) -> bool:
    parent = parent.strip("/")
    return folder == parent or folder.startswith(f"{parent}/")


def load_rain(settings: Settings) -> RainSettings:
    """Return the wing's settings of a site.

    Raises
    ------
    ConfigError
        If one is wrong; every wrong one is named.
    """
    return settings.wing("rain", RainSettings)


def load_network(settings: Settings) -> Network:
    """Return the gauges of a site.

    Raises
    ------
    ConfigError
        If the list is missing, not YAML, or an entry is wrong; every wrong one is named. Also if
        files are to be copied from nowhere.
    """
    rain = load_rain(settings)
    path = settings.site_dir / rain.gauges
    found = read_list(
        path,
        _GaugeFile,
        "list of gauges",
        make="Make it, with one entry per gauge: id, name, folder.",
        see="docs/rain.md",
    )
    network = Network(found.gauges, rain.shared_folders)
    copied = [gauge.id for gauge in network.gauges if gauge.delivery == "copied"]
    if copied and rain.copy_from is None:
        raise ConfigError(
            f"Files of {', '.join(copied)} are to be copied, but the site does not say from where.",
            where=str(path),
            fix="Set wings.rain.copy_from to a source of the site, or delivery: direct.",
        )
    return network


def describe(settings: Settings) -> str:
    """Return in few words what the site has of this wing.

    Raises
    ------
    ConfigError
        If its settings or its list are wrong.
    """
    return f"{len(load_network(settings).gauges)} gauges"
