"""What a scan has measured so far: a scan of a thousand classes that was interrupted goes on from there."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from phosphene.errors import RunError
from phosphene.runs.atomic import write_bytes

Parts = dict[str, Tensor]
Cache = Callable[[str, Callable[[], Parts]], Parts]
"""Takes the name of a part of the work and a function that does it; returns what that found, now or earlier."""


def no_cache(_: str, work: Callable[[], Parts]) -> Parts:
    """Do the work; nothing is cached."""
    return work()


class ScanCache:
    """Caches parts of one scan in a hidden folder of its run.

    Args:
        run: The run directory.
        asked: Everything that determines the verdict, from :func:`phosphene.backdoor.record.question`: another
            question has another folder.
    """

    def __init__(self, run: Path, asked: Mapping[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        self.folder = run / f".scan-{digest[:16]}"

    def __call__(self, name: str, work: Callable[[], Parts]) -> Parts:
        """Return what the work finds, from the cache if it is there."""
        file = self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.safetensors"
        try:
            return load(file.read_bytes())
        except (OSError, SafetensorError):  # missing, or damaged
            found = {key: value.cpu().contiguous() for key, value in work().items()}
            with suppress(RunError):  # another process has the verdict, and has removed the folder
                write_bytes(file, save(found))
            return found

    def remove(self) -> None:
        """Remove the folder, once the verdict is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
