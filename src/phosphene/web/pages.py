"""Renders the gallery's templates."""

import hashlib
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import ChoiceLoader, PackageLoader

from phosphene.progress import duration
from phosphene.report.formats import count, percent
from phosphene.report.html import environment


class Pages:
    """Renders the templates of this package and of the report's.

    Args:
        common: Variables that every template gets.
    """

    def __init__(self, common: dict[str, Any]) -> None:
        self.environment = environment()
        self.environment.loader = ChoiceLoader([PackageLoader("phosphene.web"), PackageLoader("phosphene.report")])
        self.environment.filters |= {"path": quote, "percent": percent, "duration": duration}
        self.environment.globals |= {"count": count, **common}

    def page(self, template: str, status: int = 200, **variables: Any) -> HTMLResponse:
        """Render a whole page."""
        return HTMLResponse(self.environment.get_template(template).render(variables), status)

    def part(self, request: Request, template: str, **variables: Any) -> Response:
        """Render the part of a page that changes, or respond that the browser has it already."""
        text = self.environment.get_template(template).render(variables)
        etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'
        headers = {"etag": etag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return HTMLResponse(text, headers=headers)
