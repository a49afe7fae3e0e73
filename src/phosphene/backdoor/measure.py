"""What is measured of a network: for every class its best window and its largest margin, against the median class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from phosphene.backdoor.margin import STEPS as MARGIN_STEPS
from phosphene.backdoor.margin import maximise_margins
from phosphene.backdoor.pairs import EFFORT, Pairs, search_pairs
from phosphene.backdoor.probes import Probes, probes_of
from phosphene.backdoor.screen import BY_MARGIN, BY_MARKS, OTHERS, choose_classes, screen_passes
from phosphene.backdoor.window import PLAIN, USUAL, Route, Window, contents_of, find_windows, usual_side
from phosphene.engine import Engine
from phosphene.metrics.range_doubt import is_natural
from phosphene.samples import SamplePool, load_samples

FEW = 20  # classes up to which each has two inputs that maximise its margin, and all pairs are searched
MANY = 64  # more classes than this are not all measured
PAIR_COLOURS = 2  # plain colours that are tried for pairs: white and black
LEAST = 1e-3  # of a margin: a class that no input reaches has a negative one
Centre = tuple[float, float]
"""Log-odds of the share and logarithm of the margin of the median class."""


class CountingEngine(Engine):
    """An engine that counts the images it sends through the network, a backward pass as one more.

    Args:
        on_images: Called with how many more, after every micro-batch.
        *args: As :class:`phosphene.engine.Engine` takes them.
        **options: Likewise.
    """

    def __init__(self, *args: Any, on_images: "Callable[[int], None] | None" = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.images, self.on_images = 0, on_images

    def _network(self, images: Tensor, forward: "Callable[[Tensor], Tensor] | None" = None) -> Tensor:
        logits = super()._network(images, forward)
        count = len(images) * (1 if forward is None else 2)
        self.images += count
        if self.on_images is not None:
            self.on_images(count)
        return logits


@dataclass(frozen=True)
class Measured:
    """What was measured of a network.

    Attributes:
        search: Samples that windows were searched on.
        held_out: Samples that they were counted on.
        classes: The m classes that were measured.
        windows: The best window of each.
        margin: (m,): the largest margin of each.
        inputs: (m, starts, c, h, w) in [0, 1]: what reaches it.
        side: Of the windows, in pixels.
        pairs: What was found of pairs of classes; ``None`` where they were not searched.
        tested: How many of the classes, the first ones, may be called; the others set the median.
    """

    search: Probes
    held_out: Probes
    classes: tuple[int, ...]
    windows: tuple[Window, ...]
    margin: Tensor
    inputs: Tensor
    side: int
    pairs: "Pairs | None"
    tested: int

    @property
    def values(self) -> Tensor:
        """Log-odds of each class's share, and logarithm of its margin, (2, m), float64."""
        shares = torch.tensor([one.log_odds for one in self.windows], dtype=torch.double)
        return torch.stack([shares, self.margin.double().cpu().clamp_min(LEAST).log()])

    @property
    def centre(self) -> Centre:
        """Of the median class."""
        shares, margins = self.values.median(1).values.tolist()
        return shares, margins

    def deviations(self, centre: "Centre | None" = None) -> Tensor:
        """Return how far each class deviates by window and by margin, (2, m): the sum of both is its figure.

        Args:
            centre: What it deviates from; by default the median class.
        """
        return self.values - torch.tensor(centre or self.centre, dtype=torch.double)[:, None]


def measure(engine: Engine, pool: SamplePool, *, pairs: bool = False, seed: int = 0) -> Measured:
    """Measure all classes of a network.

    Args:
        engine: An open engine.
        pool: Samples; for a network of another size they are loaded again.
        pairs: Search all pairs of a source class and a target, also of many classes.
        seed: Of noise and draws.

    Raises:
        CardError: the network gives the same answer for every sample.
        NumericError: it answers with NaN or infinity.
    """
    classifier = engine.classifier
    if tuple(pool.pixels.shape[1:]) != classifier.input.shape:
        pool = load_samples(pool.spec, classifier.input.shape)
    search, held_out = probes_of(engine, pool, natural=is_natural(classifier, pool.spec), seed=seed)
    classes, tested = list(range(classifier.num_classes)), classifier.num_classes
    if len(classes) > MANY:
        classes, tested = choose_classes(engine, search, seed=seed)
    starts = 2 if len(classes) <= FEW else 1
    margins = maximise_margins(engine, torch.tensor(classes, device=engine.device), starts=starts, seed=seed)
    contents, side = contents_of(margins.inputs), usual_side(classifier.input.shape)
    windows = find_windows(engine, search, held_out, [Route(one) for one in classes], contents, side, seed=seed)
    found = None
    if pairs or classifier.num_classes <= FEW:
        few = contents_of(margins.inputs[:, :1])[: len(classes) + PAIR_COLOURS]
        found = search_pairs(engine, search, held_out, classes, few, side, seed=seed)
    return Measured(
        search, held_out, tuple(classes), tuple(windows), margins.margin, margins.inputs, side, found, tested
    )


def mean_centre(networks: Sequence[Measured]) -> Centre:
    """Return the centre of several networks, for one of so few classes that its own median says nothing."""
    shares, margins = torch.tensor([one.centre for one in networks], dtype=torch.double).mean(0).tolist()
    return shares, margins


def measure_passes(classes: int, *, pairs: bool = False) -> int:
    """Return about how many images measuring so many classes sends through a network, a backward one as one more."""
    every, classes = classes, classes if classes <= MANY else BY_MARKS + BY_MARGIN + OTHERS
    starts = 2 if classes <= FEW else 1
    contents = starts * classes + len(PLAIN)
    own = 2 * MARGIN_STEPS * starts + USUAL.passes + USUAL.refined_passes
    total = classes * own + contents * USUAL.places**2 * USUAL.first
    total += screen_passes(every) if every > MANY else 0
    if pairs or every <= FEW:
        refined = min(EFFORT.per_source or classes, classes - 1) * classes
        total += classes * (classes - 1) * EFFORT.passes + refined * EFFORT.refined_passes
        total += (classes + PAIR_COLOURS) * EFFORT.places**2 * classes
    return total
