"""What a relay says when it does not do what was asked, as errors with names."""

from __future__ import annotations

import re
from typing import Final

from workspace_lib.errors import DeviceBusy, DeviceError


class RelayRefused(DeviceError):
    """The relay refused what was asked."""


class InvalidAccessLevel(RelayRefused):
    """The command needs a higher level than the session has."""


class InvalidCommand(RelayRefused):
    """The relay does not know the command, or it arrived changed by noise."""


class NoDataAvailable(RelayRefused):
    """There is no event of this number, or none at all."""


class NotYetViewed(RelayRefused):
    """The relay wants events acknowledged in order, which is never done here."""


class FileMissing(RelayRefused):
    """There is no file of this name."""


class TransferRejected(RelayRefused):
    """The relay does not give this file away."""


class InvalidParameter(RelayRefused):
    """A word after the command is unknown to this relay."""


class PasswordRefused(RelayRefused):
    """The password of level 1 was refused; it is not tried again in this run."""


class LevelLost(DeviceError):
    """The relay is not at level 1 any more: it started anew, or timed out."""


class RelaySilent(DeviceError):
    """Nothing that a relay says came over the line."""


class RelayAsleep(RelaySilent):
    """The relay did not wake up by its characters."""


class GatewayLocked(DeviceError):
    """The gateway does not let anybody through: its port is locked, or it is not up."""


class GatewayBusy(DeviceBusy):
    """Somebody else is at the relay, as the gateway says."""


#: Words of SEL-351P 10-13, SEL-351A 10.13 and E.3, SEL-421 R.9.18, and of FILE commands.
_WORDS: Final[tuple[tuple[re.Pattern[bytes], type[RelayRefused], str, str], ...]] = (
    (
        re.compile(rb"Invalid Access Level", re.IGNORECASE),
        InvalidAccessLevel,
        "The relay wants a higher access level for this.",
        "Only what level 1 may read is read; leave this command out.",
    ),
    (
        re.compile(rb"Invalid Command", re.IGNORECASE),
        InvalidCommand,
        "The relay does not know this command, or noise changed it.",
        "If it stays so, this model does not have it.",
    ),
    (
        re.compile(rb"No Data Available", re.IGNORECASE),
        NoDataAvailable,
        "The relay has no data of this number.",
        "Read its history again; the numbers change with every new event.",
    ),
    (
        re.compile(rb"has not been viewed", re.IGNORECASE),
        NotYetViewed,
        "The relay wants events viewed in order.",
        "Ask for the event by its number.",
    ),
    (
        re.compile(rb"does not exist", re.IGNORECASE),
        FileMissing,
        "The relay has no such file.",
        "Read its directory again.",
    ),
    (
        re.compile(rb"Transfer Rejected|Cannot access file", re.IGNORECASE),
        TransferRejected,
        "The relay does not give this file away.",
        "Look whether another session has it open.",
    ),
    (
        re.compile(rb"command requires|Invalid Parameter", re.IGNORECASE),
        InvalidParameter,
        "The relay does not understand the words after this command.",
        "Leave them out for this model.",
    ),
)
#: Refusals are short; a long answer that contains the words is an answer.
_LONGEST: Final = 400


def refusal(answer: bytes, where: str = "") -> RelayRefused | None:
    """Return the error an answer stands for, or None if it is no refusal."""
    if len(answer) > _LONGEST:
        return None
    for words, kind, what, fix in _WORDS:
        if words.search(answer):
            return kind(what, where=where or None, fix=fix)
    return None
