"""Reports, films and sites of runs, cards and layers of models, and what works on this machine."""

import shlex
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phosphene.arguments import Concepts, Device, Model, Samples, as_list, text_of, to_classifier, to_pool
from phosphene.checked import checked
from phosphene.classifier import Classifier
from phosphene.engine import Engine
from phosphene.engine.units import Layer, list_layers
from phosphene.errors import CardError
from phosphene.progress import ProgressDisplay, show_progress
from phosphene.reports import write_report
from phosphene.reports.film import write_film
from phosphene.reports.site import write_site
from phosphene.runs.atomic import remove_files, write_bytes
from phosphene.runs.frames import FPS
from phosphene.runs.paths import directory_name
from phosphene.runs.whole import to_run, to_runs
from phosphene.sources import is_factory, load
from phosphene.sources.card import card_files
from phosphene.sources.draft import draft_card, is_bare
from phosphene.textfile import at_home, exists, is_file
from phosphene.workflows.concept_maps import Run
from phosphene.workflows.doctor import examine_machine, examine_model


@checked
def report(run: Run, *, reference: Samples = None, columns: "int | None" = None, size: "int | None" = None) -> Path:
    """Write a run's ``report.html`` again, and its ``sheet.png`` if it has maps; return the page's path.

    Everything on the page comes from the run directory, so that writing it again loses nothing.

    Args:
        run: A run; one that was only scanned has a report without maps.
        reference: Samples with labels, as :func:`map_concepts` takes them: one of each class is shown beside its maps.
        columns: Maps per row of ``sheet.png``; by default as many as rows, and at least 5.
        size: Width of each map there, in pixels; by default 160, or 80 of more than a hundred maps.

    Raises:
        ConceptError: ``columns`` or ``size`` is below 1.
        RunError: it is not a run directory, it has neither finished maps nor a scan, or it cannot be written.
        SamplesError: the reference images cannot be read, or their labels are not the network's classes.
    """
    return Path(write_report(run, reference=reference, columns=columns, size=size))


@checked
def film(run: Run, out: "str | Path | None" = None, *, concepts: Concepts = (), fps: float = FPS) -> Path:
    """Write how the maps of a run, or of its ``concepts`` alone, developed step by step as one animated .webp or .gif; return its path.

    Args:
        run: A run that was mapped with ``frames``.
        out: A ``.webp`` or ``.gif`` file; by default ``film.webp`` in the run.
        concepts: Only these, by name, index or Concept; all by default.
        fps: Frames per second, 0.5 to 50.

    Raises:
        RunError: the run has no frames, or the file cannot be written.
        ConceptError: the run has no map of a concept, or too many maps for one film.
    """
    return write_film(to_run(run), out, list(map(text_of, as_list(concepts))), fps=fps)


@checked
def site(runs: "Run | Iterable[Run]", out: "str | Path" = "site", *, progress: bool | ProgressDisplay = True) -> Path:
    """Write the maps and scans of runs as a static web site, with a page per class and per model; return its index.html.

    Models, recipes, seeds and classes of the runs may differ; classes are matched by label. The site opens from
    ``file://`` and from any address, and needs nothing beside its folder.

    Args:
        runs: A run or several, each with finished maps or a scan.
        out: Folder of the site: a new one, an empty one, or an earlier site, which is replaced as a whole.
        progress: Whether progress is shown.

    Returns:
        Path of the page to open, ``index.html``.

    Raises:
        RunError: a run has neither finished maps nor a scan, is damaged or is given twice; or the folder holds something
            else than a site, or cannot be written.

    Example:
        >>> import tempfile
        >>> import phosphene as ph
        >>> few = {"steps": 2, "refine_steps": 1}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     how = {"recipe": "quick", "overrides": few, "progress": False}
        ...     maps = ph.map_concepts("demo:shapes", ["star", "heart"], out=f"{folder}/run", **how)
        ...     ph.site(maps, out=f"{folder}/site", progress=False).name
        'index.html'
    """
    several = to_runs(runs)
    with show_progress(progress, "site") as display:

        def show(number: int, total: int) -> None:
            display.update(f"{number:,} of {total:,} maps", number / total)

        return write_site(several, Path(out), on_progress=show)


@dataclass(frozen=True)
class WrittenCard:
    """Result of :func:`card`.

    Attributes:
        path: Path of the card.
        files: Paths of the card, its weights and its labels.
        classifier: The classifier that the card loads.
    """

    path: Path
    files: tuple[Path, ...]
    classifier: Classifier


@checked
def card(
    model: Model,
    out: "str | Path | None" = None,
    *,
    weights: "str | Path | None" = None,
    trust: bool = False,
    size: "int | tuple[int, int] | None" = None,
    mean: "Sequence[float] | None" = None,
    std: "Sequence[float] | None" = None,
    labels: "str | Path | None" = None,
    arch: "str | None" = None,
    factory: "str | None" = None,
    output: "str | int | None" = None,
) -> WrittenCard:
    """Write a model's card (.toml), weights, labels (of a bare file only the card); return WrittenCard; CardError if other weights load.

    Of a bare file, an exported network or weights without a card beside it, the card alone is written, drafted from what
    the file says and the arguments from ``size`` on, which are for such files only.

    Args:
        model: A spec, a classifier that came from one, or a bare ``.onnx``, ``.pt2``, TorchScript or weights file.
        out: Path of the card; by default the name of the model with ``.toml``, beside a bare file.
        weights: Path of the weights; by default that of the card with ``.safetensors``.
        trust: Allow code that came with the model to run.
        size: Height and width of the input, or one number for both.
        mean: Subtracted from pixels in [0, 1], one per channel; 0 by default.
        std: Divided by after that; 1 by default.
        labels: File of labels.
        arch: ``torchvision:NAME`` or ``timm:NAME``, for weights.
        factory: ``FILE.py:FUNCTION`` that builds the network, for weights.
        output: Kind of the output, or which of several: docs/sources.md.

    Raises:
        CardError: a file exists already, or no card can hold the model.
    """
    given = {
        "size": size,
        "mean": mean,
        "std": std,
        "labels": labels,
        "arch": arch,
        "factory": factory,
        "output": output,
    }
    if out is not None and Path(out).suffix != ".toml":
        right = Path(out).parent / f"{Path(out).stem or 'card'}.toml"
        raise CardError(f"a card is a .toml file: call it {shlex.quote(str(right))}.")
    file = Path(at_home(str(model))) if isinstance(model, str | Path) else None
    if file and is_file(file) and is_bare(file):
        path = Path(out or file.with_suffix(".toml"))
        return _write_card(path, {path.absolute(): draft_card(file, path, given, trust=trust)}, trust=trust)
    superfluous = [key for key, value in given.items() if value is not None]
    if superfluous and file and file.suffix != ".toml" and is_file(file) and is_file(file.with_suffix(".toml")):
        raise CardError(f"{file} has a card already, {file.with_suffix('.toml')}: give that, or edit it.")
    classifier = to_classifier(model, trust=trust)
    if superfluous:
        raise CardError(
            f"options for a bare file ({', '.join(superfluous)}) were given, and {model} says that itself: leave them out."
        )
    path = Path(out or f"{directory_name(classifier.name) or 'model'}.toml")
    files = card_files(classifier, path.absolute(), Path(weights or path.with_suffix(".safetensors")).absolute())
    trust = trust or is_factory(classifier.spec)  # that function has just run, because its name was typed
    return _write_card(path, files, classifier, trust=trust)


def _write_card(
    path: Path, files: "dict[Path, bytes]", classifier: "Classifier | None" = None, *, trust: bool
) -> WrittenCard:
    """Write a card's files, load the card to test it, and return the WrittenCard; if that fails, remove the files and raise.

    CardError also if the loaded network has other weights than ``classifier``.
    """
    for file in files:
        if exists(file):
            raise CardError(f"{file} exists already: choose another path.")
    with ExitStack() as failure:
        failure.callback(remove_files, files)  # nothing half-written stays
        for file, data in files.items():
            write_bytes(file, data)
        again = load(path, trust=trust)
        if classifier is not None and again.sha256 != classifier.sha256:
            raise CardError(
                f"{path} does not load the same classifier as {classifier.spec}: it has state that no card can hold."
            )
        failure.pop_all()
    return WrittenCard(path, tuple(files), again)


@checked
def doctor(
    model: "Model | None" = None,
    *,
    samples: Samples = None,
    device: Device = "auto",
    precision: str = "auto",
    trust: bool = False,
) -> dict[str, Any]:
    """Return a dictionary of what this machine has (versions, devices); with a model, also whether its declared size, mean, std seem right.

    Args:
        model: A spec or a classifier.
        samples: Images to try the model on, as :func:`map_concepts` takes them; natural ones show most.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``, or a ``torch.device``.
        precision: ``auto`` (tf32 on a GPU), ``fp32``, ``tf32``, ``bf16`` or ``fp64``.
        trust: Allow code that came with the model to run.

    Raises:
        PhospheneError: the model or the samples cannot be loaded, or the network gives NaN or infinity.
    """
    facts = examine_machine()
    if model is None:
        return facts
    classifier = to_classifier(model, trust=trust)
    return facts | examine_model(classifier, to_pool(samples, classifier), device=str(device), precision=precision)


@checked
def layers(model: Model, *, trust: bool = False) -> list[Layer]:
    """Return the layers of a model whose units can be mapped, with output shapes, in the order in which an image passes them.

    Args:
        model: A spec or a classifier.
        trust: Allow code that came with the model to run.

    Raises:
        CardError: no layer can be read, as in TorchScript and exported programs.

    Example:
        >>> import phosphene as ph
        >>> ph.layers("demo:shapes")[-1].units
        12
    """
    classifier = to_classifier(model, trust=trust)
    with Engine(classifier, device="cpu") as engine:
        found = list_layers(engine)
    if not found:
        raise CardError(
            f"{classifier.name} has no layer that can be read, as in TorchScript and exported programs: load its weights "
            "by a card with arch or factory."
        )
    return found
