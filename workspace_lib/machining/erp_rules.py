"""Which orders of the ERP count, as data: the site's ``orders.yml``.

::

    statuses:                       # A_Kopf.AufStatus, the first that fits
      - {name: cde Planifiee, like: "%Planifiee%"}
      - {name: lancer en prod, like: "%lancer en prod%"}
      - {name: vitrage, like: "%vitrage%"}
    journal: ["%cde Planifiee%"]    # A_Logbuch.Notiz
    boxes: ["SOP%", "S P %"]        # P_Zubeh.ZCode
    stock: ["%VR%"]                 # A_Vorgang.Nummer

Patterns are those of SQL's LIKE. An order counts if its status fits, a line of its journal does and
at least one of its boxes does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from workspace_lib.errors import ConfigError
from workspace_lib.machining.erp_text import Like
from workspace_lib.site_files import parse_yaml, problems_of

#: Patterns for the boxes of roller shutters, as a joinery's own query had them.
BOXES: Final = ("SOP%", "S P %", "S D %", "S Q %", "S T %", "S TAB %", "S TN %")
STATUSES: Final = {
    "cde Planifiee": "%Planifiee%",
    "lancer en prod": "%lancer en prod%",
    "vitrage": "%vitrage%",
}

Pattern = Annotated[str, Field(min_length=1, max_length=200)]


@dataclass(frozen=True)
class StatusRule:
    """A status as the workspace calls it, and the pattern that the ERP's text must fit."""

    name: str
    like: str


@dataclass(frozen=True)
class OrderRules:
    """Which orders count.

    Parameters
    ----------
    statuses : tuple of StatusRule
        The first that fits names the order's status.
    journal, boxes, stock : tuple of str
        One must fit: a note of the journal; a box's code; an event's number, where the order is
        kept in stock.
    ignore_case, ignore_accents : bool
        What MySQL's usual collations do, and other databases do not.
    deleted_events : bool
        Whether events that the ERP marks as deleted (NLoesch) count for the stock.
    most_shrink_percent : float
        A table that lost more than this share of its rows is not believed [%].
    """

    statuses: tuple[StatusRule, ...] = tuple(StatusRule(n, like) for n, like in STATUSES.items())
    journal: tuple[str, ...] = ("%cde Planifiee%",)
    boxes: tuple[str, ...] = BOXES
    stock: tuple[str, ...] = ("%VR%",)
    ignore_case: bool = True
    ignore_accents: bool = True
    deleted_events: bool = False
    most_shrink_percent: float = 20.0

    def like(self, pattern: str) -> Like:
        """Return one of the patterns, ready to be asked."""
        return Like(pattern, case=self.ignore_case, accents=self.ignore_accents)


class _Status(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=50)
    like: Pattern


class _Rules(BaseModel):
    """What ``orders.yml`` may hold; what is missing is as `OrderRules` has it."""

    model_config = ConfigDict(extra="forbid")
    statuses: list[_Status] | None = Field(None, min_length=1)
    journal: list[Pattern] | None = Field(None, min_length=1)
    boxes: list[Pattern] | None = Field(None, min_length=1)
    stock: list[Pattern] | None = None
    ignore_case: bool | None = None
    ignore_accents: bool | None = None
    deleted_events: bool | None = None
    most_shrink_percent: float | None = Field(None, ge=0, lt=100)

    @model_validator(mode="after")
    def _names_differ(self) -> _Rules:
        names = [status.name for status in self.statuses or ()]
        if len(set(names)) < len(names):
            raise ValueError("two statuses have the same name")
        return self


def parse_rules(text: str, where: Path | str = "orders.yml") -> OrderRules:
    """Return the rules that a text of YAML holds; an empty one gives those of `OrderRules`.

    Raises
    ------
    ConfigError
        If it is no YAML or an entry is wrong; every wrong one is named.
    """
    return rules_of(parse_yaml(text, where, "list of rules for orders"), where)


def rules_of(content: Any, where: Path | str = "orders.yml") -> OrderRules:
    """Return the rules in the content of a YAML file, see `parse_rules`."""
    try:
        found = _Rules.model_validate({} if content is None else content)
    except ValidationError as error:
        raise ConfigError(
            f"The list of rules for orders is wrong: {problems_of(error)}.",
            where=str(where),
            fix="See docs/machining.md.",
        ) from error
    given: dict[str, Any] = found.model_dump(exclude_none=True)
    if found.statuses is not None:
        given["statuses"] = tuple(StatusRule(s.name, s.like) for s in found.statuses)
    for name in ("journal", "boxes", "stock"):
        if name in given:
            given[name] = tuple(given[name])
    return OrderRules(**given)
