"""One of several views at a time, chosen with the mouse or the keyboard; no script is needed."""

from __future__ import annotations

from collections.abc import Sequence

from workspace_lib.errors import ParameterError
from workspace_lib.views.html import Html, tag

#: The style sheet knows so many.
MOST = 6


def choices(name: str, label: str, views: Sequence[tuple[str, Html]], *, first: int = 0) -> Html:
    """Return buttons with the titles of ``views``, and below them the one that is chosen.

    Parameters
    ----------
    name : str
        Names the choice; no two of a page have the same.
    label : str
        What is chosen, for those who cannot see it.
    first : int
        Number of the view that is chosen at first, and printed.

    Raises
    ------
    ParameterError
        If there are none or too many.
    """
    if not 1 <= len(views) <= MOST:
        raise ParameterError(f"{len(views)} views to choose from.", fix=f"Give 1 to {MOST}.")
    inputs = [
        tag(
            "input",
            type="radio",
            name=name,
            id=f"{name}-{number}",
            checked=number == first,
            class_="ws-sr",
        )
        for number in range(len(views))
    ]
    labels = [
        tag("label", title, for_=f"{name}-{number}") for number, (title, _) in enumerate(views)
    ]
    panes = [tag("div", view, class_="ws-pane") for _, view in views]
    return tag(
        "div",
        inputs,
        tag("div", labels, class_="ws-choice-bar"),
        panes,
        class_="ws-choices",
        role="group",
        aria_label=label,
    )
