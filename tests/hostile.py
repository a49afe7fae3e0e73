"""What hostile files are made of."""

import os

ESCAPE = "\x1b[2J\x1b]0;owned\x07"
NASTY = f"<script>alert(1)</script>{ESCAPE}\u202eevil\r\nphosphene: all is well"


class Bomb:
    """Makes a folder when it is unpickled by code that runs what it loads."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return (os.mkdir, (self.mark,))


def deep(count):
    """TOML of lists in lists."""
    return "x = " + "[" * count + "]" * count
