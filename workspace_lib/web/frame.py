"""What the front's own pages share: the reader's language, the policy, a page, one sentence."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request
from fastapi.responses import HTMLResponse

from workspace_lib.answers.site import settings_of
from workspace_lib.views.messages import Language
from workspace_lib.views.site import LANGUAGE_COOKIE, Site
from workspace_lib.views.texts import languages
from workspace_lib.views.twins import script_hash, site_of


def language_of(request: Request) -> Language:
    """Return the language the reader chose, else the site's."""
    wanted = request.cookies.get(LANGUAGE_COOKIE)
    chosen: Language = wanted if wanted in languages() else settings_of(request).language  # type: ignore[assignment]
    return chosen


def site_for(request: Request) -> Site:
    """Return the site as the reader's language tells of it."""
    return site_of(settings_of(request), language_of(request))


def page(html: str, status: HTTPStatus = HTTPStatus.OK) -> HTMLResponse:
    """Return a page of the front, which may run the pages' own script and show its pictures."""
    headers = {"Content-Security-Policy": policy(f"'{script_hash()}'", "'self' data:")}
    return HTMLResponse(html, status, headers=headers)


def sentence(site: Site, title: str, text: str, status: HTTPStatus) -> HTMLResponse:
    """Return a page that says one thing: the texts named ``title`` and ``text``."""
    return page(site.sentence(site.texts(title), site.texts(text)), status)


def policy(scripts: str, images: str = "data:") -> str:
    """Return the policy of a page that may run ``scripts`` and show ``images``."""
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src {images}; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    )
