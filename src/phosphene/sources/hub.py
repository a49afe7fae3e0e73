"""The Hugging Face hub where there is no network: its cache is asked at once, not after half a minute of retries."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from phosphene.extras import require

PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@contextmanager
def offline_if_unreachable(name: str) -> Iterator[None]:
    """Switch the hub's client to its cache while its host has no address.

    Args:
        name: The extra of this package that installs the client.

    Raises:
        ExtraError: the client is missing or broken.
    """
    constants: Any = require("huggingface_hub.constants", name)
    before = constants.HF_HUB_OFFLINE
    if not before and not any(map(os.environ.get, PROXIES)):
        try:
            socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
        except OSError:
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
