"""One run: the maps of one model by one recipe from one set of samples."""

import hashlib
import io
import platform
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

import phosphene
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, Job
from phosphene.errors import RunError
from phosphene.labels import first_synonym
from phosphene.recipe import Recipe
from phosphene.runs.atomic import locked, read_json, write_bytes, write_json, writing
from phosphene.samples.pool import SamplePool

SCHEMA = 1
# what readers of run.json rely on
NEEDED: dict[str, Any] = {
    "model": {"name": str, "spec": str, "sha256": str, "classes": int, "input": {"size": list}},
    "recipe": {"name": str, "sha256": str},
    "samples": {"spec": str, "sha256": str, "count": int, "held_out": int, "skipped": list},
    "versions": dict,
    "device": str,
    "jobs": list,
}


@dataclass(frozen=True)
class RunFacts:
    """What a run is made from: with the class and the seed, this determines every map."""

    model: dict[str, Any]
    recipe: dict[str, Any]
    samples: dict[str, Any]
    device: str
    precision: str

    @classmethod
    def of(
        cls, classifier: Classifier, recipe: Recipe, pool: SamplePool, device: str = "", precision: str = ""
    ) -> "RunFacts":
        """Collect the facts of a run that is about to begin."""
        space = classifier.input
        return cls(
            model={
                "name": classifier.name,
                "spec": classifier.spec,
                "sha256": classifier.sha256,
                "classes": classifier.num_classes,
                "input": {"size": list(space.size), "mean": list(space.mean), "std": list(space.std)},
            },
            recipe={**recipe.to_dict(), "sha256": recipe.sha256},
            samples={
                "spec": pool.spec,
                "sha256": pool.sha256,
                "count": len(pool.pixels),
                "held_out": len(pool.held_out),
                "skipped": list(pool.skipped),
            },
            device=device,
            precision=precision,
        )


class RunDirectory:
    """The files of a run. Every file appears whole or not at all; a finished map is never computed twice.

    Args:
        path: The directory. :meth:`begin` creates it, :meth:`maps` reads it.
    """

    def __init__(self, path: "str | Path") -> None:
        self.path = Path(path)

    def begin(self, facts: RunFacts, jobs: Iterable[tuple[Job, str]]) -> None:
        """Start the run, or go on with it: check that it is the same one, and note the jobs (with their labels).

        Raises:
            RunError: the directory belongs to another model, recipe or set of samples, is no run, or cannot be written.
        """
        note = self.path / "run.json"
        with writing(self.path):
            self.check(facts)
            with locked(self.path):
                self.check(facts)  # another process may have begun while this one waited
                old = self.facts()["jobs"] if note.exists() else []
                listed = {(row["index"], row["seed"]): row for row in old}
                for job, label in jobs:
                    listed[job.index, job.seed] = {"index": job.index, "label": label, "seed": job.seed}
                write_json(
                    note,
                    {
                        "schema": SCHEMA,
                        "model": facts.model,
                        "recipe": facts.recipe,
                        "samples": facts.samples,
                        "versions": versions(),
                        "device": facts.device,
                        "precision": facts.precision,
                        "jobs": [listed[key] for key in sorted(listed)],
                    },
                )

    def check(self, facts: RunFacts) -> None:
        """Refuse a place that holds another run or other files.

        Raises:
            RunError: the directory belongs to another model, recipe or set of samples, or is no run.
        """
        if (self.path / "run.json").exists():
            old = self.facts()
            pairs = [
                ("another model", old["model"], facts.model, "name"),
                ("another recipe", old["recipe"], facts.recipe, "name"),
                ("other samples", old["samples"], facts.samples, "spec"),
            ]
            for other, was, now, called in pairs:
                if was["sha256"] != now["sha256"]:
                    raise RunError(
                        f"{self.path} belongs to {other} ({was[called]}, {was['sha256'][:8]}; this one is "
                        f"{now[called]}, {now['sha256'][:8]}): choose another --out."
                    )
        elif self.path.is_dir():
            if any(child.name != ".lock" for child in self.path.iterdir()):
                raise RunError(f"{self.path} holds files but is no run directory: choose another --out.")
        elif self.path.exists():
            raise RunError(f"{self.path} is a file, not a directory: choose another --out.")

    def facts(self) -> dict[str, Any]:
        """Return run.json.

        Raises:
            RunError: this is no run directory, or its file is damaged.
        """
        note = self.path / "run.json"
        if not note.exists():
            raise RunError(f"{self.path} is no run directory (it has no run.json).")
        data: Any = read_json(note, fix="Choose another directory.")
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            raise RunError(f"{note} is no run of this version (schema {SCHEMA}): choose another directory.")
        missing = _missing(data, NEEDED)
        if missing:
            raise RunError(f"{note} is damaged (it lacks {missing}): choose another directory.")
        for row in data["jobs"]:
            missing = _missing(row, {"index": int, "seed": int, "label": str})
            if missing:
                raise RunError(f"{note} is damaged (a job lacks {missing}): choose another directory.")
        return data

    def folder(self, job: Job, label: str) -> Path:
        """Return where a job's files go."""
        return self.path / "maps" / f"{slug(label)}-{job.index}" / f"seed-{job.seed}"

    def finished(self, job: Job, label: str) -> bool:
        """Say whether the job's map is there and whole (its tensor file has the noted hash)."""
        try:
            self.read(self.folder(job, label))
        except RunError:
            return False
        return True

    def require_finished(self) -> None:
        """Refuse a run of which maps are missing.

        Raises:
            RunError: it has no jobs, or unfinished ones; the message counts them.
        """
        jobs = self.facts()["jobs"]
        folders = [self.folder(Job(row["index"], row["seed"]), row["label"]) for row in jobs]
        missing = sum(not (folder / "map.json").exists() for folder in folders)
        if missing or not jobs:
            raise RunError(
                f"{missing} of {len(jobs)} maps of {self.path} are not finished: "
                "give its `phosphene map` command once more."
            )

    def write(self, found: ConceptMap) -> None:
        """Write a map's files; map.json comes last, so that its presence means that the map is finished."""
        with locked(self.path):  # two processes may have made the same map: their files must not mix
            if not self.finished(Job(found.index, found.seed), found.label):
                self._write(found)

    def _write(self, found: ConceptMap) -> None:
        folder = self.folder(Job(found.index, found.seed), found.label)
        tensors = save_tensors({"nu": found.nu.contiguous(), "xi": found.xi.contiguous()})
        picture = io.BytesIO()
        found.image.save(picture, "PNG", optimize=True)
        write_bytes(folder / "map.safetensors", tensors)
        write_bytes(folder / "map.png", picture.getvalue())
        write_json(
            folder / "map.json",
            {
                "index": found.index,
                "label": found.label,
                "seed": found.seed,
                "recipe_sha256": found.recipe_sha256,
                "map_sha256": hashlib.sha256(tensors).hexdigest(),
                "contrast": found.contrast,
                "p_class": found.p_class,
                "targeting_rate": found.targeting_rate,
                "loss": [round(value, 6) for value in found.loss],
                "passes": found.passes,
                "seconds": round(found.seconds, 3),
            },
        )

    def read(self, folder: Path) -> ConceptMap:
        """Read one map.

        Raises:
            RunError: it is missing, unfinished or damaged.
        """
        facts = read_json(folder / "map.json")
        try:
            data = (folder / "map.safetensors").read_bytes()
            if hashlib.sha256(data).hexdigest() != facts["map_sha256"]:
                raise RunError(f"{folder / 'map.safetensors'} is damaged (its hash differs): run the map again.")
            tensors = load_tensors(data)
            return ConceptMap(
                nu=tensors["nu"],
                xi=tensors["xi"],
                loss=tuple(facts["loss"]),
                **{
                    key: facts[key]
                    for key in (
                        *("index", "label", "seed", "recipe_sha256", "contrast"),
                        *("p_class", "targeting_rate", "passes", "seconds"),
                    )
                },
            )
        except (OSError, KeyError, TypeError, SafetensorError) as error:
            raise RunError(f"map {folder} is damaged: {type(error).__name__}: {error}. Run it again.") from None

    def maps(self) -> Iterator[ConceptMap]:
        """Read the finished maps in the order of run.json."""
        for row in self.facts()["jobs"]:
            folder = self.folder(Job(row["index"], row["seed"]), row["label"])
            if (folder / "map.json").exists():
                yield self.read(folder)


def _missing(data: Any, needed: dict[str, Any], where: str = "") -> str:
    """Name the first of the ``needed`` entries that ``data`` lacks or holds in another type; empty if there is none."""
    for key, wanted in needed.items():
        value = data.get(key) if isinstance(data, dict) else None
        if isinstance(wanted, dict):
            inner = _missing(value, wanted, f"{where}{key}.")
            if inner:
                return inner
        elif not isinstance(value, wanted):
            return where + key
    return ""


def slug(label: str) -> str:
    """Turn a label into a safe file name: the first synonym in lower-case ASCII letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", first_synonym(label)).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60] or "class"


def versions() -> dict[str, str]:
    """Return the versions that shape a result."""
    return {"phosphene": phosphene.__version__, "torch": torch.__version__, "python": platform.python_version()}
