"""Text of unknown origin on a terminal."""

import pytest

from phosphene.cli.tables import print_text
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


def test_prose_is_wrapped_between_words_in_a_terminal_alone(monkeypatch, capsys):
    text = "a blended image, a source-specific one and /a/path/that/is/longer/than/a/line of the terminal"
    print_text(text, "- ")
    assert capsys.readouterr().out == f"- {text}\n"
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    monkeypatch.setenv("COLUMNS", "30")
    print_text(text, "- ")
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("- a blended")
    assert all(line.startswith("  ") for line in others)
    assert " ".join(line[2:] for line in [first, *others]) == text
    assert sum(len(line) > 30 for line in [first, *others]) == 1  # the path
