"""Settings: environment, then ``.env``, then the site's ``site.yml``, then the defaults below.

A site is a folder: ``site.yml``, ``jobs/*.yml`` and its fleets. ``WORKSPACE_SITE`` names one under
``parameters/`` or gives any path, so that a customer never edits a tracked file. Wings keep their
own settings in their module ``settings``; they read them with `Settings.wing`. Secrets may stand in
``.env`` too, under the names that settings give them (`workspace_lib.secrets`).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from workspace_lib import secrets
from workspace_lib.errors import ConfigError
from workspace_lib.site_files import problems_of, read_yaml, zone_name

SITE_FILE = "site.yml"
PREFIX = "WORKSPACE_"
#: Variables that begin like settings and are none: of a run, and of the tests.
_NO_SETTINGS = ("RUN_", "SECRETS_", "REAL_DATA", "REQUIRE_")


class Section(BaseModel):
    """A group of settings; unknown keys are errors, because a misspelt one would be ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _reference(value: str) -> str:
    if not secrets.is_reference(value):
        raise ValueError("write it as secret://NAME; the secret itself stands in no file")
    return value


#: A secret by its name; the value is refused before anything can print it.
SecretName = Annotated[str, AfterValidator(_reference)]
SectionT = TypeVar("SectionT", bound=Section)


class StoreSettings(Section):
    """Where the store is and how hard it tries."""

    url: str | None = Field(
        None,
        description="PostgreSQL address of both databases (two schemas), password as "
        "{secret://NAME}; empty: two SQLite files in the site's outputs.",
    )
    busy_timeout_s: float = Field(10.0, gt=0, description="How long a writer waits for the lock.")
    synchronous: Literal["FULL", "NORMAL"] = Field(
        "FULL", description="SQLite durability; FULL survives a power cut."
    )


class RunsSettings(Section):
    """The scheduler and its runs."""

    executor: Literal["local", "dask"] = Field("local", description="Where runs are started.")
    dask_address: str | None = Field(
        None,
        description="Address of a running dask scheduler, as tcp://host:8786 or tls://host:8786.",
    )
    dask_ca: Path | None = Field(None, description="dask over TLS: the authority's certificate.")
    dask_certificate: Path | None = Field(None, description="dask over TLS: our certificate.")
    dask_key: Path | None = Field(None, description="dask over TLS: the key of our certificate.")
    dask_other_code: Literal["refuse", "warn"] = Field(
        "refuse", description="What becomes of a dask worker whose code, notebooks or lock differ."
    )
    max_parallel: int = Field(
        2, ge=1, description="Runs at once on this machine; a dask worker has its --nthreads."
    )
    warm: Literal["auto", "off"] = Field(
        "auto",
        description="auto: where the system can, runs are forked off a process that has loaded "
        "their packages; off: each loads its own.",
    )
    lease_s: float = Field(30.0, ge=1, description="A run without a heartbeat this long is lost.")
    heartbeat_s: float = Field(2.0, gt=0, description="How often a run says that it lives.")
    tick_s: float = Field(1.0, gt=0, description="How often the scheduler looks.")
    keep_days: int = Field(90, ge=1, description="Output notebooks and run folders are kept.")
    start_timeout_s: float = Field(60.0, gt=0, description="A kernel must be ready by then.")
    grace_s: float = Field(
        10.0, ge=0, description="A run or a service told to stop has this long before it is killed."
    )
    service_stale_s: float = Field(
        10.0, gt=0, description="A service's heartbeat older than this raises an alarm."
    )
    service_hung_s: float = Field(
        60.0, gt=0, description="A service without a heartbeat this long is killed and restarted."
    )


class NotifySettings(Section):
    """Who is told of failures, recoveries and stale publications."""

    addresses: tuple[str, ...] = Field(
        (), description="apprise addresses; secrets in them as {secret://NAME}."
    )
    repeat_after: str = Field(
        "6h",
        pattern=r"^[0-9]*[1-9][0-9]*(\.[0-9]+)?(s|m|h|d)$",
        description="The same trouble is told again after this: 30m, 6h, 1d.",
    )


class LoggingSettings(Section):
    """The log files of the site."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level.")
    max_megabytes: float = Field(10.0, gt=0, description="A file is rotated at this size.")
    keep_files: int = Field(10, ge=1, description="Rotated files kept.")
    keep_days: int = Field(90, ge=1, description="Logs of single runs kept.")


class DashboardsSettings(Section):
    """Voila, which shows the live dashboards."""

    host: str = Field("127.0.0.1", description="Address it listens on.")
    port: int = Field(8866, ge=0, le=65535, description="Port; 0 takes a free one.")
    token: str | None = Field(
        None, description="secret://NAME; empty: one is made at each start and printed."
    )
    max_kernels: int = Field(12, ge=1, description="Live viewers at once; more see a busy page.")
    cull_idle_s: int = Field(300, ge=30, description="A viewer's kernel is ended when idle.")
    warm_kernels: bool = Field(
        True,
        description="Viewers' kernels are forked from a process that has loaded what they need "
        "(Linux; elsewhere each starts by itself).",
    )


class WebSettings(Section):
    """The web front: gallery, static twins, API."""

    host: str = Field("127.0.0.1", description="Address; a wider one needs require_token.")
    port: int = Field(8080, ge=0, le=65535, description="Port; 0 takes a free one.")
    require_token: bool = Field(
        False, description="Ask for a token also for the pages; the API always does."
    )
    public_url: str | None = Field(None, description="Address people use, if behind a proxy.")
    requests_per_minute: int = Field(600, ge=1, description="Most requests of one client.")
    writes_per_minute: int = Field(120, ge=1, description="Most writing requests of one token.")
    failed_logins_per_minute: int = Field(10, ge=1, description="Wrong tokens of one address.")
    max_body_megabytes: float = Field(5.0, gt=0, description="Largest request body taken.")


class SourceSettings(Section):
    """A source of files: an FTP, FTPS or SFTP server."""

    kind: Literal["ftp", "ftps", "sftp"] = Field("ftp", description="Protocol.")
    host: str = Field(
        description="Host name, or simulator://NAME for the demo's simulator of that name."
    )
    port: int | None = Field(None, description="Port; empty: the protocol's own.")
    user: str = Field("anonymous", description="Log-in name.")
    password: str | None = Field(
        None, description="secret://NAME of the password; SFTP also takes a private key."
    )
    folder: str = Field("/", description="Folder on the server under which everything lies.")
    upload_folder: str | None = Field(
        None, description="Folder under that one that takes what is uploaded."
    )
    known_host: str | None = Field(None, description="SFTP: the server's public key line.")
    tls_ca: Path | None = Field(None, description="FTPS: the authority's certificate, a PEM file.")
    passive: bool = Field(True, description="FTP: passive mode.")
    encoding: str = Field("utf-8", description="Encoding of file names.")
    connections: int = Field(2, ge=1, le=16, description="Connections at once.")
    connect_timeout_s: float = Field(15.0, gt=0, description="To connect.")
    read_timeout_s: float = Field(30.0, gt=0, description="Between two blocks.")
    attempts: int = Field(4, ge=1, description="Tries before a source counts as unavailable.")
    wait_s: float = Field(1.0, ge=0, description="First wait between tries; it doubles.")
    max_wait_s: float = Field(30.0, ge=0, description="Longest wait between tries.")
    stable_after_s: float = Field(
        600.0, ge=0, description="A file this old, or unchanged in two listings, is whole."
    )
    slice_files: int = Field(
        20_000, ge=1, description="Most files taken in one run, so that a first load is bounded."
    )
    trash_folder: str | None = Field(
        None, description="Folder on the server where files go before removal."
    )
    allow_delete: bool = Field(False, description="Verified remote files may be cleared.")
    delete_after_days: int = Field(30, ge=0, description="Days in the trash before removal.")


class Settings(BaseSettings):
    """All settings of the active site."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        extra="ignore",
        frozen=True,
    )

    site: str = Field("demo", description="Name of a site under parameters/, or a path to one.")
    root: Path = Field(Path(), description="The workspace; found from the current folder.")
    outputs: Path | None = Field(None, description="Everything a site makes; outputs/<site>.")
    production: bool = Field(False, description="Refuses simulators and demo secrets.")
    language: Literal["en", "fr"] = Field("en", description="Language of operators and managers.")
    timezone: str = Field("Europe/Paris", description="The site's zone.")
    title: str | None = Field(None, description="Name of the site as people read it.")
    store: StoreSettings = Field(default_factory=StoreSettings, description="Store.")
    runs: RunsSettings = Field(default_factory=RunsSettings, description="Runs.")
    notify: NotifySettings = Field(default_factory=NotifySettings, description="Notifications.")
    logging: LoggingSettings = Field(default_factory=LoggingSettings, description="Logs.")
    dashboards: DashboardsSettings = Field(
        default_factory=DashboardsSettings, description="Dashboards."
    )
    web: WebSettings = Field(default_factory=WebSettings, description="Web front.")
    sources: dict[str, SourceSettings] = Field(
        default_factory=dict, description="Sources of files by name."
    )
    devices: dict[str, str | None] = Field(
        default_factory=dict,
        description="Devices and lines that jobs may hold, by id, with where they are, as in "
        "line:COM1: /dev/ttyS0; the fleets add theirs.",
    )
    wings: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Settings of each wing, checked by the wing."
    )

    _site_dir: Path = PrivateAttr(default=Path())

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        return zone_name(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        site_file = _loading.get("site_file")
        site = YamlConfigSettingsSource(settings_cls, yaml_file=site_file) if site_file else None
        return tuple(s for s in (init_settings, env_settings, dotenv_settings, site) if s)

    @property
    def site_name(self) -> str:
        """Name of the site: the last part of its path."""
        return self._site_dir.name

    @property
    def site_dir(self) -> Path:
        """Folder of the site's parameters."""
        return self._site_dir

    @property
    def outputs_dir(self) -> Path:
        """Folder of everything this site makes."""
        return (self.outputs or self.root / "outputs" / self.site_name).resolve()

    @property
    def notebooks_dir(self) -> Path:
        """Folder of the notebooks."""
        return self.root / "notebooks"

    @cached_property
    def zone(self) -> ZoneInfo:
        """The site's time zone."""
        return ZoneInfo(self.timezone)

    def source(self, name: str) -> SourceSettings:
        """Return the source ``name``.

        Raises
        ------
        ConfigError
            If the site has none of that name.
        """
        if name not in self.sources:
            known = ", ".join(sorted(self.sources)) or "none"
            raise ConfigError(
                f"The site {self.site_name} has no source {name!r}.",
                where=str(self.site_dir / SITE_FILE),
                fix=f"Known sources: {known}.",
            )
        return self.sources[name]

    def wing(self, name: str, kind: type[SectionT]) -> SectionT:
        """Return the settings of a wing as the wing's own class has them.

        Raises
        ------
        ConfigError
            If one is wrong; every wrong one is named.
        """
        try:
            return kind.model_validate(self.wings.get(name, {}))
        except ValidationError as error:
            raise ConfigError(
                f"Settings of the {name} wing are wrong: {problems_of(error)}.",
                where=f"{self.site_dir / SITE_FILE}: wings.{name}",
                fix="See docs/settings.md.",
            ) from error


# pydantic-settings builds its sources in a class method; this hands it the site's file.
_loading: dict[str, Path] = {}


def find_root(start: Path | None = None) -> Path:
    """Return the workspace: the nearest folder upwards with ``notebooks`` and ``parameters``."""
    here = (start or Path.cwd()).resolve()
    package = Path(__file__).resolve().parent.parent
    for folder in (here, *here.parents, package):
        if (folder / "notebooks").is_dir() and (folder / "parameters").is_dir():
            return folder
    return here


def load_settings(site: str | Path | None = None, **overrides: Any) -> Settings:
    """Return the settings of ``site`` (default: ``WORKSPACE_SITE``, else the demo).

    Raises
    ------
    ConfigError
        If the site does not exist or a setting is wrong; every wrong one is named.
    """
    configured = overrides.get("root") or os.environ.get("WORKSPACE_ROOT")
    root = Path(configured).resolve() if configured else find_root()
    dotenv = _read_dotenv(root / ".env")
    name = str(site or os.environ.get("WORKSPACE_SITE") or dotenv.get("WORKSPACE_SITE") or "demo")
    folder = _site_folder(root, name)
    site_file = folder / SITE_FILE
    overrides = {**overrides, "site": name, "root": root}
    _loading.clear()
    if site_file.exists():
        _check_yaml(site_file)
        _loading["site_file"] = site_file
    try:
        settings = Settings(_env_file=root / ".env", **overrides)
    except ValidationError as error:
        raise ConfigError(
            f"Settings are wrong: {problems_of(error)}.",
            where=str(site_file),
            fix="See docs/settings.md.",
        ) from error
    finally:
        _loading.clear()
    settings._site_dir = folder
    return settings


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Return those of the variables ``names`` that look like settings and are none."""
    found = []
    for name in names:
        key = name.upper().removeprefix(PREFIX)
        known = key.partition("__")[0].lower() in Settings.model_fields
        if key != name.upper() and not known and not key.startswith(_NO_SETTINGS):
            found.append(name)
    return sorted(found)


def _read_dotenv(path: Path) -> dict[str, str | None]:
    from dotenv import dotenv_values

    values = dotenv_values(path)
    if unknown := unknown_variables(values):
        raise ConfigError(
            f"There is no setting {', '.join(unknown)}.",
            where=str(path),
            fix="See docs/settings.md.",
        )
    secrets.use_dotenv(values)
    return values


def _site_folder(root: Path, name: str) -> Path:
    path = Path(name)
    candidates = [root / "parameters" / name] if len(path.parts) == 1 else []
    candidates.append(path if path.is_absolute() else root / path)
    for folder in candidates:
        if folder.is_dir():
            return folder.resolve()
    parameters = root / "parameters"
    known = sorted(p.parent.name for p in parameters.glob(f"*/{SITE_FILE}"))
    raise ConfigError(
        f"There is no site {name!r}.",
        where=str(parameters),
        fix=f"Known sites: {', '.join(known) or 'none'}; make one with: workspace site new NAME.",
    )


def _check_yaml(path: Path) -> None:
    content = read_yaml(path, "site's file")
    if content is not None and not isinstance(content, dict):
        raise ConfigError("The site's file must hold settings by name.", where=str(path))
    for key in content or {}:
        if key not in Settings.model_fields:
            near = difflib.get_close_matches(str(key), Settings.model_fields, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"There is no setting {key!r}.{hint}", where=str(path), fix="See docs/settings.md."
            )
