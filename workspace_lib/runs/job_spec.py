"""Job specifications: what a job file says, checked, with file and line for what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

CatchUp = Literal["skip", "latest", "each"]
Overlap = Literal["wait", "skip"]

#: Causes that another try may mend; `retries.on` takes these where a job file names none.
RETRIED = ("source_unavailable", "kernel_died", "device_busy", "runner_lost")


@dataclass(frozen=True)
class Retries:
    """How often a run is tried in all, how long to wait between tries [s], and after what."""

    attempts: int = 1
    wait_s: float = 30.0
    on: tuple[str, ...] = RETRIED


@dataclass(frozen=True)
class OnBusy:
    """How long a run waits for a device or a capacity [s], and what becomes of it then."""

    wait_s: float = 300.0
    then: Literal["skip", "fail"] = "skip"


@dataclass(frozen=True)
class JobSpec:
    """One job: a notebook or a service, when it runs, and what it may hold and must publish.

    At most one of ``schedule`` (cron), ``every_s`` [s], ``on`` (a job) and ``service``
    (``module:function``) is set; with none of them the job runs when asked for. ``on_published``
    holds patterns of publications after which it runs as well. A run waits while earlier ones of
    the jobs in ``after`` are due or active. ``capacity`` says how many runs at most may use a
    shared source at once. ``fan_out`` is how many runs of a backfill may go on at once: more than
    one only where no slot depends on another.
    """

    name: str
    notebook: str | None = None
    schedule: str | None = None
    every_s: int | None = None
    on: str | None = None
    on_published: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    service: str | None = None
    timezone: str = "UTC"
    catch_up: CatchUp = "latest"
    max_catch_up: int = 100
    max_lateness_s: float = 60.0
    overlap: Overlap = "wait"
    fan_out: int = 1
    timeout_s: float = 3600.0
    cell_timeout_s: float | None = None
    retries: Retries = field(default_factory=Retries)
    devices: tuple[str, ...] = ()
    capacity: Mapping[str, int] = field(default_factory=dict)
    on_busy: OnBusy = field(default_factory=OnBusy)
    publishes: tuple[str, ...] = ()
    fresh_for_s: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True
    description: str | None = None
    file: str = ""

    def lane(self, number: int) -> int:
        """Return the lane of run ``number`` of a backfill; all its runs share few lanes in turn."""
        return 1 + number % self.fan_out if self.fan_out > 1 else 0

    def to_dict(self) -> dict[str, Any]:
        """Return the specification as the ledger keeps it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> JobSpec:
        """Return the specification that the ledger kept."""
        known = {item.name for item in fields(cls)}
        values = {key: value for key, value in content.items() if key in known}
        retries = {**values["retries"], "on": tuple(values["retries"]["on"])}
        values["retries"] = Retries(**retries)
        values["on_busy"] = OnBusy(**values["on_busy"])
        for name in ("devices", "publishes", "on_published", "after"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)
