"""Templates to answers."""

import hashlib
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import ChoiceLoader, PackageLoader

from phosphene.report.html import environment
from phosphene.report.words import count, percent


class Pages:
    """Renders the templates of this package and of the report's.

    Args:
        common: What every template sees.
    """

    def __init__(self, common: dict[str, Any]) -> None:
        self.environment = environment()
        self.environment.loader = ChoiceLoader([PackageLoader("phosphene.web"), PackageLoader("phosphene.report")])
        self.environment.filters |= {"path": quote, "percent": percent, "duration": duration}
        self.environment.globals |= {"count": count, **common}

    def show(self, template: str, status: int = 200, **facts: Any) -> HTMLResponse:
        """Render a whole page."""
        return HTMLResponse(self.environment.get_template(template).render(facts), status)

    def part(self, request: Request, template: str, **facts: Any) -> Response:
        """Render a part of a page, or say that it is still what the browser has."""
        text = self.environment.get_template(template).render(facts)
        mark = f'"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'
        headers = {"etag": mark, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == mark:
            return Response(status_code=304, headers=headers)
        return HTMLResponse(text, headers=headers)


def duration(seconds: float) -> str:
    """Write a time as one would say it.

    Example:
        >>> duration(8), duration(95), duration(4000)
        ('8 s', '2 min', '1 h 7 min')
    """
    if seconds < 60:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
