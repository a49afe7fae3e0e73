"""Refuses requests that pages of other sites cause, and host names that others have pointed at this machine."""

import ipaddress
import socket
from urllib.parse import urlsplit

from fastapi.responses import PlainTextResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
SAFE_METHODS = ("GET", "HEAD")
POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# A report may come from anywhere: it runs without this server's origin, and fetches nothing.
REPORT_POLICY = (
    "sandbox allow-scripts allow-modals; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Nothing to other sites; with no-referrer, browsers hide the origin of our own forms as well (Origin: null).
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """ASGI wrapper of the gallery that refuses requests of other sites and adds security headers.

    It refuses a wrong Host and, but for GET and HEAD, requests of other sites' pages. Such a page can make a browser
    send requests here, and its name may resolve to this machine (DNS rebinding). So only names of this machine are
    accepted. A POST must come from a page of this very server; that it carries the token of such a page is checked
    where the form is parsed. Starlette's TrustedHostMiddleware cannot do this: it knows no IPv6 address, and no rule
    for a server that is reached by any of its addresses.

    Args:
        app: The application.
        host: What the server is bound to.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app = app
        self.local = is_local(host)
        names = () if self.local else (host, socket.gethostname(), socket.getfqdn())
        self.names = {name.casefold() for name in (*LOOPBACK_NAMES, *names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to the application, or refuse it with status 403."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":

            async def send_with_headers(message: Message) -> None:
                """Pass on a message; one that starts a response gets the security headers that it lacks."""
                if message["type"] == "http.response.start":
                    headers = MutableHeaders(scope=message)
                    for name, value in HEADERS.items():
                        headers.setdefault(name, value)
                await send(message)

            refusal = self.refusal(scope["method"], Headers(scope=scope))
            handler = self.app if refusal is None else PlainTextResponse(f"phosphene: {refusal}", 403)
            await handler(scope, receive, send_with_headers)

    def refusal(self, method: str, headers: Headers) -> "str | None":
        """Return why a request with this method and these headers is refused; ``None`` if it is not."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self.accepts(hosts[0]):
            return "this is not a name of this server. Open it by the address that `phosphene serve` printed."
        if method in SAFE_METHODS:
            return None
        is_same_origin = headers.getlist("sec-fetch-site") in ([], ["same-origin"])
        origins = [urlsplit(origin).netloc.casefold() for origin in headers.getlist("origin")]
        if not is_same_origin or any(origin != hosts[0].casefold() for origin in origins):
            return "the page of another site may not do this. Use the form of this server."
        return None

    def accepts(self, host: str) -> bool:
        """Return whether a Host header names this server, on whatever port (it may be forwarded).

        An address that leads here is this machine's own; a name may have been pointed here by anybody.
        """
        try:
            name = (urlsplit(f"//{host}").hostname or "").casefold()
        except ValueError:
            return False
        return name in self.names or (not self.local and _is_address(name))


def is_local(host: str) -> bool:
    """Return whether a server that is bound to ``host`` can be reached from this machine alone."""
    return ipaddress.ip_address(host).is_loopback if _is_address(host) else host.casefold() == "localhost"


def _is_address(host: str) -> bool:
    """Return whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
