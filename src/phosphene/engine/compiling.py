"""The network compiled by torch (`torch.compile`), where the minutes that this takes are earned back.

On a CPU compiled networks were slower (docs/performance.md): there, ``auto`` leaves them as they are.
"""

import os
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from phosphene.engine.gradients import refuse_quantised
from phosphene.engine.memory import is_out_of_memory
from phosphene.errors import DeviceError, RunError, SpeedWarning, first_line, warn
from phosphene.runs.atomic import read_json, write_json

if TYPE_CHECKING:
    from phosphene.engine.engine import Engine
    from phosphene.engine.statistics import FeatureStatistics, Prior

Forward = Callable[[Tensor], Tensor]
Hooks = Callable[[], AbstractContextManager[object]]  # entered for each forward pass

MODES = ("auto", "on", "off")
SECONDS, SPEEDUP = 90.0, 1.4  # what compiling takes, and how much faster it makes a network, until both are measured


@dataclass(frozen=True)
class CompileFigures:
    """Seconds that compiling takes, and images per second without and with it; at first only that without is measured, the rest assumed.

    Attributes:
        seconds: What compiling takes.
        before: Images per second, forward and backward, as the network is.
        after: The same, compiled.
    """

    seconds: float
    before: float
    after: float

    def pays(self, images: float) -> bool:
        """Return whether ``images``, sent forward and backward, take less time with a compiled network, compiling included."""
        return self.seconds + images / self.after < images / self.before


class Forwards:
    """An open engine's forward passes for gradients, without and with statistics: compiled or not, as the first batch of each decides.

    Args:
        engine: An open engine. Its ``compile`` decides: ``on``, ``off``, or ``auto``, which compiles on a GPU, if the
            passes that are planned pay for it.

    Attributes:
        chosen: What has been decided, by the statistics that are read; ``None`` for none.
        anew: Whether torch discards, before it compiles for this engine, what it compiled before.
    """

    def __init__(self, engine: "Engine") -> None:
        self.engine = engine
        self.chosen: dict[FeatureStatistics | None, Forward] = {}
        self.anew = True

    def get(self, count: int, prior: "Prior | None" = None) -> Forward:
        """Return the forward pass for ``count`` images, pixels (n, c, h, w) to logits, whose features a ``prior`` reads if it is given.

        Raises:
            CardError: the network is quantised.
        """
        if prior is not None and prior.weight is None:
            return self.engine.classifier.logits  # two backward passes follow it, which a compiled network refuses
        read = prior and prior.statistics
        if read not in self.chosen:
            refuse_quantised(self.engine.classifier)
            if read and any(self.chosen):  # compiled with the hooks of other statistics, which torch may not notice
                self.chosen, self.anew = {}, True
            plain = self._logits_that_are_read if read else self.engine.classifier.logits
            self.chosen[read] = self._choose(plain, count, read.collecting_features if read else nullcontext)
        return self.chosen[read]

    def _choose(self, plain: Forward, count: int, hooks: Hooks) -> Forward:
        """Return ``plain``, compiled or not, for ``count`` images at once, called within ``hooks()``."""
        engine = self.engine
        if engine.compile == "on":
            return compiled(engine, plain)
        if engine.compile == "auto" and engine.device.type == "cuda" and engine.planned_passes:
            return compiled_if_it_pays(engine, plain, count, hooks)
        return plain

    def _logits_that_are_read(self, images: Tensor) -> Tensor:
        """Return the network's logits of images; a function of its own: torch keeps what it compiled by function, whatever the hooks."""
        return self.engine.classifier.logits(images)


def compiled_if_it_pays(engine: "Engine", plain: Forward, count: int, hooks: Hooks = nullcontext) -> Forward:
    """Return ``plain``, compiled for batches of ``count`` images if the planned passes then take less time; figures are cached on disk."""
    facts = network_facts(engine) | {"images": str(count), "statistics": str(hooks is not nullcontext)}
    file = cache_file(facts)
    try:
        cached = read_json(file)
        figures = CompileFigures(**{field.name: float(cached[field.name]) for field in fields(CompileFigures)})
    except (RunError, ValueError, KeyError, TypeError):  # missing or damaged
        speed = count / min(pass_seconds(engine, plain, count, hooks)[1:])
        figures = CompileFigures(SECONDS, speed, SPEEDUP * speed)
    if not figures.pays(engine.planned_passes / 2):  # a forward and a backward pass count as two
        return plain
    fast = compiled(engine, plain)
    try:
        first, *others = pass_seconds(engine, fast, count, hooks)
    except Exception as error:  # a compiler may raise anything; what the network raises, it raises again
        if is_out_of_memory(error):
            raise  # fewer images will be tried
        line = f"{engine.classifier.name} is not compiled ({first_line(error)}): its maps are right, and take longer."
        warn(line, SpeedWarning)
        return plain
    figures = CompileFigures(first - min(others), figures.before, count / min(others))
    with suppress(RunError):  # without a writable home, every start assumes the figures
        write_json(file, asdict(figures) | facts)
    if figures.after <= figures.before:
        return plain
    return lambda images: (fast if len(images) == count else plain)(images)  # another size would be compiled anew


def compiled(engine: "Engine", forward: Forward) -> Forward:
    """Return ``forward`` compiled by torch; the first call per batch shape compiles, for minutes. Discard what was compiled for others.

    torch silently stops compiling a function after eight recompilations in one process, and all networks are called
    through the same functions: what was compiled for other engines is discarded.

    Args:
        engine: The open engine that it is for.
        forward: Pixels (n, c, h, w) to logits (n, classes).

    Raises:
        DeviceError: from the call, when the network cannot be compiled here.
    """
    from torch._dynamo.exc import TorchDynamoException  # noqa: PLC0415  (takes a second to import)

    name = engine.classifier.name
    if engine.forwards.anew:
        torch.compiler.reset()
        engine.forwards.anew = False
    _ = engine.classifier.output  # found by running the network, which is not to be compiled
    # The first call makes constants, and a network that was compiled with it is compiled again at the second.
    space = engine.classifier.input
    space.normalise(torch.zeros(1, *space.shape, device=engine.device, dtype=engine.dtype))
    fast = torch.compile(forward, dynamic=False)
    seen: set[torch.Size] = set()

    def run(images: Tensor) -> Tensor:
        # torch's own warnings, and advice on settings that the engine makes
        quiet = nullcontext() if images.shape in seen else warnings.catch_warnings(action="ignore")
        seen.add(images.shape)
        try:
            with quiet:
                logits: Tensor = fast(images)
        except TorchDynamoException as error:
            raise DeviceError(
                f"{name} cannot be compiled here ({first_line(error)}): switch that off (--compile off, or compile='off' "
                "in Python)."
            ) from None
        return logits

    return run


def pass_seconds(engine: "Engine", forward: Forward, count: int, hooks: Hooks = nullcontext) -> list[float]:
    """Run three forward and backward passes of ``count`` grey images; return a list of their seconds, of which the first is warm-up."""
    images = torch.full((count, *engine.classifier.input.shape), 0.5, device=engine.device, dtype=engine.dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    classes = torch.zeros(count, dtype=torch.int64, device=engine.device)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        with hooks():
            found = engine.differentiate(images.detach(), classes, "cross-entropy", forward)
        found[1].sum().item()  # waits for the device
        seconds.append(time.perf_counter() - started)
    return seconds


def cache_file(facts: Mapping[str, str]) -> Path:
    """Return the path, in the user's cache folder, of the file with the CompileFigures of a network and device (``facts``)."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "phosphene" / "compile"
    return folder / f"{sha256(repr(sorted(facts.items())).encode()).hexdigest()[:16]}.json"


def network_facts(engine: "Engine") -> dict[str, str]:
    """Return, as text by name, what a network's speed depends on: architecture and input shape, device, precision, torch version."""
    # Not the weights: other checkpoints are as fast, and an open engine's are of its own type.
    module, device = engine.classifier.module, engine.device
    shapes = sorted((name, tuple(value.shape)) for name, value in module.state_dict().items())
    parts = [type(part).__name__ for part in module.modules()]
    return {
        "network": sha256(repr((parts, shapes, engine.classifier.input.shape)).encode()).hexdigest(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "precision": engine.precision,
        "torch": torch.__version__,
    }
