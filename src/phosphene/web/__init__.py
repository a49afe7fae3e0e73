"""The live gallery: a local web server that shows run directories and starts commands on request."""

from phosphene.web.server import serve

__all__ = ["serve"]
