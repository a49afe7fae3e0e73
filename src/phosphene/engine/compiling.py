"""The network compiled by torch (`torch.compile`), where the minutes that this takes are earned back.

On a CPU compiled networks were slower (docs/performance.md): there, ``auto`` leaves them as they are.
"""

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from phosphene.engine.gradients import refuse_quantised
from phosphene.engine.tuning import cache_file, network_facts, pass_seconds
from phosphene.errors import DeviceError, RunError, SpeedWarning, first_line
from phosphene.runs.atomic import read_json, write_json

if TYPE_CHECKING:
    from phosphene.engine.engine import Engine

Forward = Callable[[Tensor], Tensor]

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


def pick_forward(engine: "Engine", count: int) -> Forward:
    """Return the forward pass for gradients of ``count`` images at once: compiled or not, as the engine's ``compile`` (on, off, auto) says.

    Args:
        engine: An open engine: ``auto`` compiles on a GPU, if the passes that are planned pay for it.
        count: Images that go through the network at once.

    Raises:
        CardError: the network is quantised.
    """
    refuse_quantised(engine.classifier)
    plain = engine.classifier.logits
    if engine.compile == "on":
        return compiled(plain, engine.classifier.name)
    if engine.compile == "auto" and engine.device.type == "cuda" and engine.planned_passes:
        return compiled_if_it_pays(engine, plain, count)
    return plain


def compiled_if_it_pays(engine: "Engine", plain: Forward, count: int) -> Forward:
    """Return ``plain``, compiled for batches of ``count`` images if the planned passes then take less time; figures are cached on disk."""
    facts = network_facts(engine) | {"images": str(count)}
    file = cache_file(facts, "compile")
    engine.forward = plain
    try:
        cached = read_json(file)
        figures = CompileFigures(**{field.name: float(cached[field.name]) for field in fields(CompileFigures)})
    except (RunError, ValueError, KeyError, TypeError):  # missing or damaged
        speed = count / min(pass_seconds(engine, count)[1:])
        figures = CompileFigures(SECONDS, speed, SPEEDUP * speed)
    if not figures.pays(engine.planned_passes / 2):  # a forward and a backward pass count as two
        return plain
    fast = engine.forward = compiled(plain, engine.classifier.name)
    try:
        first, *others = pass_seconds(engine, count)
    except Exception as error:  # noqa: BLE001  (a compiler may raise anything; what the network raises, it raises again)
        line = f"{engine.classifier.name} is not compiled ({first_line(error)}): its maps are right, and take longer."
        warnings.warn(line, SpeedWarning, stacklevel=2)
        return plain
    figures = CompileFigures(first - min(others), figures.before, count / min(others))
    with suppress(RunError):  # without a writable home, every start assumes the figures
        write_json(file, asdict(figures) | facts)
    if figures.after <= figures.before:
        return plain
    return lambda images: (fast if len(images) == count else plain)(images)  # another size would be compiled anew


def compiled(forward: Forward, name: str) -> Forward:
    """Return ``forward`` compiled by torch, and discard what was compiled before; the first call per batch shape compiles, for minutes.

    It discards what was compiled before: torch silently stops compiling a function after eight recompilations in one
    process, and all networks are called through the same function.

    Args:
        forward: Pixels (n, c, h, w) to logits (n, classes).
        name: The network's name, for the message.

    Raises:
        DeviceError: from the call, when the network cannot be compiled here.
    """
    from torch._dynamo.exc import TorchDynamoException  # noqa: PLC0415  (takes a second to import)

    torch.compiler.reset()
    fast = torch.compile(forward, dynamic=False)

    def run(images: Tensor) -> Tensor:
        """Return the logits of images from the compiled network; DeviceError if it cannot be compiled here."""
        try:
            logits: Tensor = fast(images)
        except TorchDynamoException as error:
            raise DeviceError(f"{name} cannot be compiled here: use --compile off ({first_line(error)}).") from None
        return logits

    return run
