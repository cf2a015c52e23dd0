"""Unknown query parameters are refused: a misspelt filter that is ignored gives wrong answers."""

from __future__ import annotations

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute


def only_known_query(request: Request) -> None:
    """Refuse a request that has query parameters its route does not know.

    Raises
    ------
    RequestValidationError
        Naming each unknown parameter and the known ones.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    known = _query_names(route.dependant)
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        hint = f"unknown; known: {', '.join(sorted(known)) or 'none'}"
        raise RequestValidationError(
            [{"loc": ("query", name), "msg": hint, "type": "unknown"} for name in unknown]
        )


def _query_names(dependant: Dependant) -> set[str]:
    names = {field.alias for field in dependant.query_params}
    for inner in dependant.dependencies:
        names |= _query_names(inner)
    return names
