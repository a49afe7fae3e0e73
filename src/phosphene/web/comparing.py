"""Comparisons for the gallery, kept while neither run changes."""

import threading
from collections import OrderedDict

from phosphene.runs.scores import NAME, maps_sha256
from phosphene.web.folder import Folder
from phosphene.workflows.compare import Comparison, compare_runs

MOST = 4
Key = tuple[str, str, str, str, int, int]


class Comparisons:
    """Compares runs of a folder; one at a time, for it takes memory.

    Args:
        folder: The served folder.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._kept: OrderedDict[Key, Comparison] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, a: str, b: str) -> Comparison:
        """Compare two runs by name.

        Raises:
            NotHereError: one of them is not here.
            RunError: one of them has no finished maps, or is damaged.
            ConceptError: they have no class in common.
        """
        runs = [self.folder.run(name) for name in (a, b)]
        for run in runs:
            self.folder.facts(run)
        with self._lock:
            marks = [maps_sha256(run) for run in runs]
            times = [path.stat().st_mtime_ns if path.is_file() else 0 for path in (run.path / NAME for run in runs)]
            key = (a, b, marks[0], marks[1], times[0], times[1])
            if key not in self._kept:
                self._kept[key] = compare_runs(*(run.path for run in runs))
                while len(self._kept) > MOST:
                    self._kept.popitem(last=False)
            return self._kept[key]
