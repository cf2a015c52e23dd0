"""HTML that cannot be broken by what it shows: all is escaped unless it is `Html` already."""

from __future__ import annotations

import html as _html
from collections.abc import Iterable
from dataclasses import dataclass

#: Elements without an end tag.
_VOID = {"br", "col", "hr", "img", "input", "link", "meta"}


@dataclass(frozen=True)
class Html:
    """A piece of finished HTML: shown by notebooks as it is, never escaped again.

    Only this package's functions make one; text from devices, files and people becomes HTML by
    `text` or as a child of `tag`.
    """

    markup: str

    def to_html(self) -> str:
        """Return the markup."""
        return self.markup

    def _repr_html_(self) -> str:
        return self.markup

    def __str__(self) -> str:
        return self.markup

    def __add__(self, other: Html) -> Html:
        return Html(self.markup + other.markup)

    def __bool__(self) -> bool:
        return bool(self.markup)


Child = Html | str | int | float | None | Iterable["Child"]
EMPTY = Html("")


def text(value: object) -> Html:
    """Return ``value`` as escaped text."""
    return value if isinstance(value, Html) else Html(_html.escape(str(value), quote=True))


def join(children: Iterable[Child], separator: str = "") -> Html:
    """Return the children one after the other; None is left out, plain text escaped."""
    glue = _html.escape(separator)
    return Html(glue.join(part for child in children if (part := _flat(child))))


def tag(element: str, /, *children: Child, **attributes: object) -> Html:
    """Return one element.

    Attributes are keywords: ``class_`` and ``for_`` lose their underscore, ``data_as_of`` becomes
    ``data-as-of``; True writes the bare name, None and False leave the attribute out.

    Examples
    --------
    >>> tag("p", "a < b", class_="note").to_html()
    '<p class="note">a &lt; b</p>'
    """
    parts = [element]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(label)
        else:
            parts.append(f'{label}="{_html.escape(str(value), quote=True)}"')
    start = f"<{' '.join(parts)}>"
    if element in _VOID:
        return Html(start)
    return Html(f"{start}{join(children).markup}</{element}>")


def _flat(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child.markup
    if isinstance(child, (str, int, float)):
        return _html.escape(str(child), quote=True)
    return join(child).markup
