"""What a full check of rain found: findings, the worst of them, and the outcome in a sentence."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

About = Literal["source", "files", "products", "server", "calibration", "coverage"]
Severity = Literal["error", "warning", "info"]
State = Literal["good", "attention", "bad"]


@dataclass(frozen=True)
class Finding:
    """What is not as it should be: what about, how bad, how often, and a sentence."""

    about: About
    severity: Severity
    count: int
    sentence: str


@dataclass(frozen=True)
class CheckReport:
    """What a check looked at, and what it found."""

    listed: int
    known: int
    products: int
    products_on_server: int
    hashes_read: int
    findings: tuple[Finding, ...] = ()

    @property
    def state(self) -> State:
        """``bad``: something is lost, damaged or out of reach; ``attention``: look after it.

        A logger's gaps are of the second kind: nothing that came in is lost by them.
        """
        found = {finding.severity for finding in self.findings}
        return "bad" if "error" in found else "attention" if "warning" in found else "good"

    @property
    def sound(self) -> bool:
        """Whether nothing is lost, damaged or out of reach."""
        return self.state != "bad"

    @property
    def summary(self) -> str:
        """The outcome in one sentence, for who reads nothing else."""
        count = Counter(finding.severity for finding in self.findings)
        attention = f"{_findings(count['warning'])} to look after"
        if self.state == "bad":
            more = f", and {attention}" if count["warning"] else ""
            return f"Something is lost, damaged or out of reach: {_findings(count['error'])}{more}."
        if self.state == "attention":
            return f"Nothing is lost or damaged; {attention}."
        return "Nothing is lost or damaged, and there is nothing to look after."

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, the worst first."""
        rank = {"error": 0, "warning": 1, "info": 2}
        ordered = sorted(self.findings, key=lambda finding: rank[finding.severity])
        return tuple(finding.sentence for finding in ordered)

    @property
    def trouble(self) -> str:
        """Everything that is wrong or to be looked after, as a text; empty if nothing is."""
        return " ".join(finding.sentence for finding in self.findings if finding.severity != "info")

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, to be published."""
        return {
            **asdict(self),
            "state": self.state,
            "sound": self.sound,
            "summary": self.summary,
            "sentences": list(self.sentences),
            "trouble": self.trouble,
        }


def _findings(count: int) -> str:
    return f"{count} finding{'' if count == 1 else 's'}"
