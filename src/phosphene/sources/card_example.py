"""The lines of a card: of one to write, and of an example for the messages that refuse a network without one."""

from collections.abc import Mapping
from typing import Any

from phosphene.input_space import InputSpace

IMAGENET = InputSpace((224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def input_lines(space: InputSpace) -> list[str]:
    """Return the lines of a card's table [input], below its header: size, mean and std."""
    return [f"{key} = {list(getattr(space, key))}" for key in ("size", "mean", "std")]


def card_text(fields: Mapping[str, Any], space: InputSpace) -> bytes:
    """Return the TOML of a card, as bytes: its fields, and below them the table [input]."""
    import tomli_w  # noqa: PLC0415  (writing is rare)

    return (tomli_w.dumps(fields) + "\n[input]\n" + "".join(f"{line}\n" for line in input_lines(space))).encode()


def input_line(space: InputSpace = IMAGENET) -> str:
    """Return a card's table [input] in one line; by default, as an example, that of most ImageNet networks."""
    return f"input = {{ {', '.join(input_lines(space))} }}"


def card_lines(space: InputSpace = IMAGENET, **fields: str) -> str:
    """Return lines of a card for an error message, joined by " and ": ``fields`` as text, then the input."""
    return " and ".join(
        f"`{line}`" for line in [*(f'{key} = "{text}"' for key, text in fields.items()), input_line(space)]
    )
