"""Who may ask: requests by another site's pages, and names that another site has given to this machine, are refused."""

import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LOCAL = ("localhost", "127.0.0.1", "::1")
READS = ("GET", "HEAD")
POLICY = (
    "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# A report may come from anywhere: it runs as a stranger, without this server's origin, and fetches nothing.
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
    """Wraps an application: checks the Host header, where a POST comes from, and adds headers to every answer.

    A page of another site can make a browser send requests here. Its own name may lead here (DNS rebinding): so only
    names that are this machine's are answered. A POST must come from a page of this very server; that it carries the
    token of one is checked where the form is read.

    Args:
        app: The application.
        host: What the server is bound to.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], host: str) -> None:
        self.app, self.host = app, host.casefold()
        self.local = is_local(host)
        self.own = {name.casefold() for name in (socket.gethostname(), socket.getfqdn())} if not self.local else set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse to."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        fault = self.fault(scope["method"], scope["headers"])

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", []))
                given = {name.lower() for name, _ in headers}
                extra = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in given]
                message = {**message, "headers": [*headers, *extra]}
            await send(message)

        if fault is None:
            await self.app(scope, receive, guarded)
            return
        body = fault.encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        await guarded({"type": "http.response.start", "status": 403, "headers": headers})
        await guarded({"type": "http.response.body", "body": body if scope["method"] != "HEAD" else b""})

    def fault(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> "str | None":
        """Say what is wrong with a request, or ``None``."""
        found: dict[str, list[str]] = {}
        for name, value in headers:
            found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        hosts = found.get("host", [])
        if len(hosts) != 1 or not self.known(hosts[0]):
            return (
                "phosphene: this is not a name of this server. Open it by the address that `phosphene serve` printed."
            )
        if method in READS:
            return None
        site, origin = found.get("sec-fetch-site", ["same-origin"]), found.get("origin", [])
        if site != ["same-origin"] or any(urlsplit(one).netloc.casefold() != hosts[0].casefold() for one in origin):
            return "phosphene: another site's page may not do this. Use the form of this server."
        return None

    def known(self, host: str) -> bool:
        """Say whether a Host header names this server, on whatever port (it may be forwarded).

        An address is always this machine's own when it arrives here; a name may have been made to lead here.
        """
        try:
            name = (urlsplit(f"//{host}").hostname or "").casefold()
        except ValueError:
            return False
        if name in LOCAL:
            return True
        if self.local:
            return False
        if name in self.own or name == self.host:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def is_local(host: str) -> bool:
    """Say whether a server that is bound to ``host`` can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


class Token:
    """A secret that the pages of this server carry in their forms, and other sites' pages cannot read."""

    def __init__(self) -> None:
        self.text = secrets.token_urlsafe(32)

    def fits(self, given: str) -> bool:
        """Say whether a form carried it."""
        return secrets.compare_digest(self.text.encode(), given.encode())
