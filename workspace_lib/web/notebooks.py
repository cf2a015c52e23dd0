"""Output notebooks as HTML that can do nothing: no script, no style of their own, no address.

What a device or a log wrote may stand in an output, so everything is cleaned after rendering.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
import nh3
from nbconvert import HTMLExporter

from workspace_lib.errors import FormatError

_TAGS = nh3.ALLOWED_TAGS | {"section", "main"}
_ATTRIBUTES = {
    **nh3.ALLOWED_ATTRIBUTES,
    "*": {"class"},
    "img": {"src", "alt", "width", "height"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
}
_IMAGES = ("data:image/png;base64,", "data:image/jpeg;base64,", "data:image/svg+xml;base64,")


def notebook_html(path: Path) -> str:
    """Return an output notebook as a cleaned HTML fragment.

    Raises
    ------
    FormatError
        If the file is no notebook.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:  # nbformat raises errors of several libraries
        raise FormatError("The file is no notebook.", where=str(path)) from error
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    return clean_html(body)


def clean_html(html: str) -> str:
    """Return ``html`` without scripts, styles, handlers, forms, and links other than http(s)."""
    return nh3.clean(
        html,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        url_schemes={"http", "https", "data"},
        link_rel="noopener noreferrer",
    )


def _attribute(tag: str, name: str, value: str) -> str | None:
    if name == "src":
        # Only pictures that came along; one from elsewhere would tell that somebody looked.
        return value if tag == "img" and value.startswith(_IMAGES) else None
    if name == "href" and value.strip().lower().startswith("data:"):
        return None
    return value
