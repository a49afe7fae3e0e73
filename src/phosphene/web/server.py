"""Binds a port, prints the address, and serves until it is interrupted."""

import contextlib
import errno
import socket
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from phosphene.checked import checked
from phosphene.errors import PortError, RunError, first_line
from phosphene.extras import require
from phosphene.textfile import exists, is_dir

PORT, MOST_PORT = 8421, 65535


@checked
def serve(
    folder: "str | Path" = "runs",
    *,
    host: str = "127.0.0.1",
    port: "int | None" = None,
    trust: bool = False,
    browse: bool = False,
    on_message: Callable[[str], None] = print,
) -> None:
    """Run the web server that shows the runs below ``folder`` until it is interrupted.

    Args:
        folder: The folder of the runs; the default one may be missing, and the first run then makes it.
        host: What to bind to; anything but loopback lets everyone who can reach the machine see and start runs.
        port: The port; ``None`` takes 8421, or a free one if that is taken; 0 takes a free one.
        trust: Allow runs of models that bring code along.
        browse: Open a browser.
        on_message: Called with every line that the user should see.

    Raises:
        RunError: the folder does not exist.
        ExtraError: FastAPI or uvicorn is not installed.
        PortError: the port is taken or is none, or the host is not one of this machine's.
    """
    root = Path(folder)
    if not is_dir(root) and (exists(root) or root != Path("runs")):
        raise RunError(f"{root} is not a directory: give the folder that holds your runs (the default is runs).")
    uvicorn = require("uvicorn", "serve")
    require("fastapi", "serve")
    from phosphene.web.app import make_app  # noqa: PLC0415  (needs FastAPI)
    from phosphene.web.guard import is_local  # noqa: PLC0415

    bound = _bind(host, port, on_message)
    with contextlib.closing(bound):
        where = bound.getsockname()[1]
        shown = "127.0.0.1" if host in {"0.0.0.0", ""} else "::1" if host == "::" else host  # noqa: S104
        url = f"http://[{shown}]:{where}/" if ":" in shown else f"http://{shown}:{where}/"
        if not is_local(host):
            on_message(
                f"warning: bound to {host}: everyone who can reach this machine can see the runs"
                f"{', start new ones and have them run code' if trust else ' and start new ones'}."
            )
        app = make_app(root, host=host, trust=trust)
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, date_header=False)
        server = uvicorn.Server(config)
        on_message(f"gallery of {root} at {url} (Ctrl+C ends it)")
        if browse:
            threading.Timer(0.5, webbrowser.open, [url]).start()
        with contextlib.suppress(KeyboardInterrupt):  # which uvicorn raises again when it has ended
            server.run(sockets=[bound])


def _bind(host: str, port: "int | None", on_message: Callable[[str], None]) -> socket.socket:
    """Return a socket that listens on ``port``, or if that is ``None``, on 8421 or (with a message) a free port; PortError if it cannot."""
    wanted = PORT if port is None else port
    if not 0 <= wanted <= MOST_PORT:  # the system would take the rest of a division
        raise PortError(f"port {wanted} is none: choose another port, up to {MOST_PORT}, or 0 for a free one.")
    try:
        return _listen(host, wanted)
    except (OSError, ValueError) as error:  # a name such as a..b cannot be encoded
        if getattr(error, "errno", None) != errno.EADDRINUSE:
            reason = getattr(error, "strerror", None) or first_line(error)
            raise PortError(f"cannot bind to {host}, port {wanted}: {reason}. Choose another host or port.") from None
    if port is not None:
        raise PortError(f"port {port} of {host} is taken: choose another port, or 0 for a free one.")
    on_message(f"port {PORT} is taken: a free one is used instead.")
    return _listen(host, 0)


def _listen(host: str, port: int) -> socket.socket:
    """Return a new socket that listens on ``host`` and ``port``; OSError if that is not possible."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()  # [::] takes IPv4 too
    return socket.create_server(address[:2], family=family, backlog=128, dualstack_ipv6=both)
