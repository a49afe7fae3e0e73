"""The run directory: maps of one model by one recipe from one set of samples."""

import glob
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from phosphene.checked import checked
from phosphene.concept_map import ConceptMap, Job, kind_facts
from phosphene.concepts import Concept
from phosphene.errors import RunError, describe
from phosphene.image_files import encode
from phosphene.labels import Labels
from phosphene.runs.atomic import PART, remove_parts, write_bytes, write_json, writing
from phosphene.runs.documents import SCHEMA, Document, run_json
from phosphene.runs.facts import NEEDED, empty_input, refuse_another_run, refuse_other_labels, versions
from phosphene.runs.frames import NAME as FRAMES
from phosphene.runs.frames import frames_file, read_frames
from phosphene.runs.lock import LOCK, NOTE, hold
from phosphene.runs.map_json import FIGURES, WAY, read_map_json
from phosphene.runs.paths import runs_nearby, slug
from phosphene.runs.scans import SCAN
from phosphene.textfile import exists, is_dir

# Of a map that is being made, beside its other files; see phosphene.runs.live.
PREVIEW = "preview.webp"
RUN = Document("run.json", "run", NEEDED, "Choose another directory.", contradiction=empty_input)


class RunDirectory:
    """Reads and writes a run directory, whose files appear whole or not at all.

    Whatever reads it raises a RunError if it is no run directory, or if what is read is damaged.

    Args:
        path: The directory. :meth:`begin` creates it, :meth:`maps` reads it.
    """

    @checked
    def __init__(self, path: "str | Path") -> None:
        self.path = Path(path)
        self._facts: tuple[Any, dict[str, Any]] | None = None  # what run.json held, and what told its state then

    def begin(self, facts: Mapping[str, Any], jobs: Iterable[tuple[Job, str]], labels: "Labels | None" = None) -> None:
        """Lock the run, write ``facts`` to its ``run.json``, and add (job, label) pairs.

        Raises:
            RunError: the directory belongs to another model, recipe or samples, is not a run, or cannot be written.
        """
        note = self.path / "run.json"
        with writing(self.path):
            self.check(facts, labels)
            with hold(self.path):
                self.check(facts, labels)  # another process may have begun while this one waited
                document = RUN.read(self.path)
                row_of = {(row["index"], row["seed"]): row for row in (document["jobs"] if document else [])}
                for job, label in jobs:
                    sides = job.expression.facts() if job.expression else {}
                    row_of[job.index, job.seed] = {"index": job.index, "label": label, "seed": job.seed, **sides}
                rows = sorted(row_of.values(), key=lambda row: (Concept.of_facts(row).order, row["seed"]))
                head = {"schema": SCHEMA, "versions": versions(), **facts}
                if document and self.listing():  # its maps stay what they are, and those to come say how they were made
                    head |= {key: document.get(key, "") for key in ("versions", *WAY)}
                if document != {**head, "jobs": rows}:
                    remove_parts(self.path, note.name)
                    write_bytes(note, run_json(head, rows))

    def check(self, facts: Mapping[str, Any], labels: "Labels | None" = None) -> None:
        """Raise RunError if the directory cannot take the run of ``facts``.

        Raises:
            RunError: the directory belongs to another model, recipe or set of samples, its concepts or the classes of its scan
                have other labels than ``labels``, those of the model now, or it is not a run.
        """
        if exists(self.path / "run.json"):
            document = self.facts()
            if not document["jobs"]:  # a scan alone, whose verdict does not depend on the recipe for maps of suspects
                facts = {**facts, "recipe": document["recipe"]}
            refuse_another_run(self.path, document, facts)
            if labels is not None:
                refuse_other_labels(self.path, [*document["jobs"], *self._scanned_labels()], labels)
        elif is_dir(self.path):
            if any(child.name not in (LOCK, NOTE) and child.suffix != PART for child in self.path.iterdir()):
                raise RunError(f"{self.path} holds files but is not a run directory: choose another directory.")
        elif exists(self.path):
            raise RunError(f"{self.path} is a file, not a directory: choose another directory.")

    def _scanned_labels(self) -> list[dict[str, Any]]:
        """Return index and label per class of scan.json; none if it is missing, or damaged, which its readers report."""
        with suppress(RunError):
            scan = SCAN.read(self.path) or {"classes": []}
            return [*scan["classes"], *({"index": k, "label": one} for k, one in enumerate(scan.get("labels", ())))]
        return []

    def facts(self) -> dict[str, Any]:
        """Return the content of run.json: model, recipe, samples, device and jobs. It is read anew if it has changed.

        Raises:
            RunError: this is not a run directory, or its file is damaged.
        """
        state = None
        with suppress(OSError):  # reading it says what is wrong
            status = (self.path / "run.json").stat()
            state = (status.st_ino, status.st_mtime_ns, status.st_size)
        if self._facts is None or state != self._facts[0]:
            data = RUN.read(self.path)
            if data is None:
                raise RunError(f"{self.path} is not a run directory (it has no run.json). {runs_nearby(self.path)}")
            self._facts = state, data
        return self._facts[1]

    def folder(self, job: Job, label: str) -> Path:
        """Return the folder of a job's map, existing or not: ``RUN/maps/<label>-<index>/seed-<seed>``."""
        return self.path / "maps" / f"{slug(label)}-{job.index}" / f"seed-{job.seed}"

    def finished_folders(self) -> dict[tuple[int, int], Path]:
        """Return the folder of each finished map (with a map.json) by (class index, seed), in run.json's order.

        Raises:
            RunError: this is not a run directory, or its run.json is damaged.
        """
        jobs = [(Job(row["index"], row["seed"]), row["label"]) for row in self.facts()["jobs"]]
        folders = {(job.index, job.seed): self.folder(job, label) for job, label in jobs}
        return {place: folder for place, folder in folders.items() if (folder / "map.json").exists()}

    def concepts(self) -> list[Concept]:
        """Return the Concept of each job in run.json, in order, so once per seed.

        Raises:
            RunError: this is not a run directory, or its run.json is damaged.
        """
        return [Concept.of_facts(row) for row in self.facts()["jobs"]]

    def map_hashes(self) -> dict[tuple[int, int], str]:
        """Return the hash of each finished map's tensors, by (class index, seed), in the order of run.json.

        Raises:
            RunError: this is not a run directory, or a map's map.json is damaged.
        """
        return {place: read_map_json(folder)["map_sha256"] for place, folder in self.finished_folders().items()}

    def maps_sha256(self) -> str:
        """Return a hash that changes if any finished map is added, removed or changed.

        Raises:
            RunError: this is not a run directory, or a map's map.json is damaged.
        """
        return hash_of_maps(self.map_hashes())

    def listing(self) -> dict[int, set[int]]:
        """Return the seeds of finished maps by class index, from file names alone."""
        seeds: dict[int, set[int]] = {}
        names = glob.iglob("*/seed-*/map.json", root_dir=self.path / "maps")  # noqa: PTH207  (of a million, Path is slow)
        for concept, folder, _ in (name.split(os.sep) for name in names):  # noqa: PTH206
            index, seed = concept.rpartition("-")[2], folder.removeprefix("seed-")
            if index.isdecimal() and seed.isdecimal():
                seeds.setdefault(int(index), set()).add(int(seed))
        return seeds

    def require_finished(self) -> None:
        """Raise RunError if the run has no maps, or maps that are not finished.

        Raises:
            RunError: it has no jobs, or unfinished ones; the message counts them.
        """
        jobs = len(self.facts()["jobs"])
        unfinished_count = jobs - len(self.finished_folders())
        if not jobs:
            raise RunError(f"{self.path} has no maps: run `phosphene map` first.")
        if unfinished_count:
            raise RunError(
                f"{unfinished_count} of {jobs} maps of {self.path} are not finished: "
                "give its `phosphene map` command once more."
            )

    def require_writable(self) -> None:
        """Raise RunError if no file can be written into the run, before work whose results belong there.

        Raises:
            RunError: it cannot be written.
        """
        try:
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written ({error.strerror or error}): copy the run to a place that can be, and "
                "name the copy."
            ) from None

    def write(self, found: ConceptMap) -> None:
        """Write a finished map's files; map.json comes last, as its presence means that the map is finished.

        Of several processes only one may write a map: the one that holds the run, or a worker of it.
        """
        folder = self.folder(found.job, found.label)
        remove_parts(folder)  # left by a process that was killed while it wrote
        tensors = save_tensors({"nu": found.nu.contiguous(), "xi": found.xi.contiguous()})
        sha256 = hashlib.sha256(tensors).hexdigest()
        write_bytes(folder / "map.safetensors", tensors)
        write_bytes(folder / "map.png", encode(found.image, optimize=True))
        if found.frames:
            write_bytes(folder / FRAMES, frames_file(found.frames))
        (folder / PREVIEW).unlink(missing_ok=True)  # before map.json: a process may be killed after it
        write_json(
            folder / "map.json",
            {
                **{key: getattr(found, key) for key in (*FIGURES, *WAY)},
                **found.concept.facts(),
                **kind_facts(found.index, found.label, found.p_class),
                "map_sha256": sha256,
                "versions": versions(),
                "loss": [round(value, 6) for value in found.loss],
                "hits": [round(value, 4) for value in found.hits],
                "seconds": round(found.seconds, 3),
            },
        )
        found.stored_in(self.path, sha256)

    def read(self, folder: Path) -> ConceptMap:
        """Return the map whose files are in ``folder``.

        Raises:
            RunError: it is missing, unfinished or damaged.
        """
        facts = read_map_json(folder)
        try:
            data = (folder / "map.safetensors").read_bytes()
            if hashlib.sha256(data).hexdigest() != facts["map_sha256"]:
                raise RunError(f"{folder / 'map.safetensors'} is damaged (its hash differs): run the map again.")
            tensors = load_tensors(data)
            return ConceptMap(
                nu=tensors["nu"],
                xi=tensors["xi"],
                loss=tuple(facts["loss"]),
                hits=tuple(facts.get("hits", ())),  # maps of earlier versions have none
                expression=Concept.of_facts(facts) if facts.keys() & {"up", "unit"} else None,
                **{key: facts.get(key, "") for key in (*FIGURES, *WAY)},  # maps of earlier versions tell no way
            ).stored_in(self.path, facts["map_sha256"])
        except (OSError, KeyError, TypeError, SafetensorError) as error:
            raise RunError(f"map {folder} is damaged: {type(error).__name__}: {error}. Run it again.") from None

    def frames(self, one: ConceptMap) -> tuple[Image.Image, ...]:
        """Return the recorded images of a map of this run as it grew, the earliest first; empty if it has none.

        Raises:
            RunError: the map is of another run, or in memory; or the file is damaged.
        """
        paths = [path.resolve() for path, _ in one.locations] if isinstance(one, ConceptMap) else []
        if self.path.resolve() not in paths:
            raise RunError(f"{describe(one)} is no map of {self.path}: give one that was read from it.")
        return read_frames(self.folder(one.job, one.label))

    def maps(self) -> Iterator[ConceptMap]:
        """Yield the finished maps in run.json's order, each read when asked for; RunError if one is damaged."""
        yield from map(self.read, self.finished_folders().values())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


def hash_of_maps(hashes: Mapping[tuple[int, int], str]) -> str:
    """Return a hash over maps, from the hashes of their tensors by (class index, seed)."""
    lines = [f"{index} {seed} {sha256}\n" for (index, seed), sha256 in hashes.items()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
