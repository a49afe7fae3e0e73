"""``python -m phosphene``."""

from phosphene.cli import entry

if __name__ == "__main__":
    entry()
