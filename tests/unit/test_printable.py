"""Text of unknown origin on a terminal."""

import pytest

from phosphene.errors import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("lion, king of beasts", "lion, king of beasts"),
        ("Löwe 獅子 🦁", "Löwe 獅子 🦁"),
        ("two\nlines\r\nand\ta tab", "two lines and a tab"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("a\x9b2Jb\x07\x00\x7f\u202ec", "a2Jbc"),  # one-byte escape, bell, direction override
        ("  much   room  ", "much room"),
        ("", ""),
    ],
)
def test_only_what_can_be_seen_is_left(text, shown):
    assert printable(text) == shown
