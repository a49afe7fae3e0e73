"""The live gallery: a local web server that reads run directories, and starts ``phosphene map`` when asked."""

from phosphene.web.server import serve

__all__ = ["serve"]
