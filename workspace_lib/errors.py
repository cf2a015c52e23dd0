"""The house's errors: each says what happened, where, and what to do about it."""

from __future__ import annotations


class WorkspaceError(Exception):
    """Base of every error the workspace raises on purpose.

    Parameters
    ----------
    what : str
        One sentence: what happened.
    where : str, optional
        File and line, byte, record or device, e.g. ``parameters/demo/jobs/rain.yml:4``.
    fix : str, optional
        One sentence: what the reader can do.
    """

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} {self.fix}" if self.fix else text

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling of exceptions.
        return (_rebuild, (type(self), self.what, self.where, self.fix))


def _rebuild(
    cls: type[WorkspaceError], what: str, where: str | None, fix: str | None
) -> WorkspaceError:
    return cls(what, where=where, fix=fix)


class ConfigError(WorkspaceError):
    """A setting, a job file or the environment is wrong."""


class ParameterError(WorkspaceError):
    """A notebook or a function was given a parameter it cannot take."""


class StoreError(WorkspaceError):
    """The store cannot be opened, written or trusted."""


class ExecutorError(WorkspaceError):
    """Runs cannot be started: the machines that should take them are away or unfit."""


class DeviceError(WorkspaceError):
    """A device did not do what was asked."""


class DeviceBusy(DeviceError):
    """Somebody else holds the device."""


class DeviceTimeout(DeviceError):
    """The device did not answer in time."""


class FrameError(DeviceError):
    """The device answered something that is not a valid frame."""


class SourceError(WorkspaceError):
    """A source of files or rows (FTP, SQL, HTTP) is unreachable or refuses."""


class FormatError(WorkspaceError):
    """A file is of no known format, or of a known one but unreadable."""


class DataQualityError(WorkspaceError):
    """The data contradict themselves or their declared limits."""


class PublishError(WorkspaceError):
    """Something could not be published."""
