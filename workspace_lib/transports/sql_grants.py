"""What an account of MySQL may do, from its own answer to ``SHOW GRANTS``."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Rights with which nothing can be changed.
HARMLESS = frozenset(
    {
        "USAGE",
        "SELECT",
        "SHOW VIEW",
        "SHOW DATABASES",
        "SHOW_ROUTINE",
        "PROCESS",
        "LOCK TABLES",
        "REPLICATION CLIENT",
        "BINLOG MONITOR",
        "SLAVE MONITOR",
    }
)
_GRANT = re.compile(r"GRANT (?P<rights>.+?) ON (?P<on>.+?) TO ", re.IGNORECASE | re.DOTALL)
_COLUMNS = re.compile(r"\([^)]*\)")


def rights_to_write(grants: Iterable[str]) -> list[str]:
    """Return what somebody should look at in an account's grants; empty if it can only read.

    Parameters
    ----------
    grants : iterable of str
        Rows of ``SHOW GRANTS``. Roles are told of, because what they allow is not in there.
    """
    rights: dict[str, None] = {}
    roles = []
    for grant in grants:
        match = _GRANT.match(grant)
        if match is None:
            if found := re.match(r"GRANT (.+) TO ", grant, re.IGNORECASE):
                roles.append(found[1])
            continue
        # A right on some columns reads UPDATE (a, b); the names are of no matter here.
        named = [right.strip() for right in _COLUMNS.sub("", match["rights"]).split(",")]
        rights |= dict.fromkeys(right for right in named if right.upper() not in HARMLESS)
        # Only the end: a password's hash or a name may hold anything.
        if re.search(r"WITH (MAX_\w+ \d+ )*GRANT OPTION", grant[match.end() :]):
            rights["GRANT OPTION"] = None
    issues = []
    if rights:
        issues.append(
            f"The account can do more than read ({', '.join(rights)}): give it SELECT alone."
        )
    if roles:
        issues.append(f"The account holds roles whose rights are not seen: {', '.join(roles)}.")
    return issues
