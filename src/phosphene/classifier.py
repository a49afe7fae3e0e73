"""A classifier: a network, the input space it was trained on, its labels, and where it came from.

Only this module normalises. Engine, mapper and checks see pixels in [0, 1] and logits.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import chain

import torch
from torch import Tensor, nn

from phosphene.checked import checked
from phosphene.errors import CardError, first_line
from phosphene.input_space import InputSpace
from phosphene.labels import Labels, check_labels
from phosphene.module_state import evaluating, fix_of_cast, hash_weights, like_weights
from phosphene.outputs import (
    LOGITS_NEEDED,
    MULTI_LABEL,
    ONE_NUMBER_KINDS,
    OUTPUT_KINDS,
    REGRESSION,
    detect_kind,
    is_single,
    noise_like,
    parse_output,
    part_of,
    refuse_wrong_count,
    run_beside_another,
    select,
    to_logits,
    write_output,
)
from phosphene.textfile import is_utf8
from phosphene.unwrapping import unwrap

UNREPEATABLE_NOTE = "it answers the same image differently each time (noise, dropout), so its maps cannot be made again"
LATE_IMPORT = "imports in its forward pass what is only found while it is made; import it at the top of its file"
REGRESSION_COMMANDS = "`phosphene map`, `check` and `score` (of maps of its outputs) work"


class Classifier:
    """An image classifier: a torch network with its input space and labels.

    Args:
        module: A network from normalised pixels (n, c, h, w) to logits (n, classes); what ``torch.compile`` and
            DataParallel put around it is taken off.
        size: Input height and width, or one number for both.
        mean: Subtracted from [0, 1] pixels, one per channel.
        std: Divided by after that, one per channel.
        labels: Class names in output order; without them classes are numbered.
        groups: Names of groups of classes, each a concept of its own: ``{"animal": ["cat", "dog"]}``.
        name: Name for reports and directories.
        spec: The model spec it was loaded from, if any.
        output: Kind of the module's output: ``auto`` to detect it, ``logits``, ``probabilities``,
            ``log-probabilities``; for independent outputs ``multi-label`` (logits) or ``multi-label-probabilities``;
            for a network with one output, ``logit`` or ``probability``; or ``regression``. Of several outputs, the position or key of
            the logits, with or without their kind: ``0``, ``out``, ``out:probabilities``. Of several levels of labels in
            one output, the part with one of them: ``[3:7]``, ``out[3:]:logits``.
        batch: Largest number of images that the module accepts at once, and it accepts fewer; by default any, or 1 if it refuses two.
        notes: Notes for the user about how it was loaded, one line each.
        origin: The fields of a card that build the module again, ``{"arch": "torchvision:vgg16"}``, if there are any.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> Classifier(net, size=32, name="tiny").num_classes
        5
    """

    @checked
    def __init__(
        self,
        module: nn.Module,
        *,
        size: "int | tuple[int, int]",
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        labels: "Sequence[str] | None" = None,
        groups: "Mapping[str, Sequence[str | int]] | None" = None,
        name: str = "classifier",
        spec: "str | None" = None,
        output: "str | int" = "auto",
        batch: "int | None" = None,
        notes: Sequence[str] = (),
        origin: "Mapping[str, str] | None" = None,
    ) -> None:
        self.module = unwrap(module)
        if any(one.is_meta for one in self.module.parameters()):
            raise CardError(f"weights of network {name} are on the meta device, without values: load them first.")
        self.input = InputSpace.of(size, mean, std)
        if batch is not None and batch < 1:
            raise CardError(f"batch of {name} is {batch}; it is a number of images, 1 or more, or left out.")
        self._batch = None if batch is None else int(batch)
        self.name, self.spec, self.origin = name, spec or name, dict(origin or {})
        self.trusted = False  # whether the user allowed code that comes with the model to run; the sources set it
        self.measures = ""  # why the outputs are measurements, for messages; the sources of two-tower models set it
        self._notes = tuple(notes)
        self._which, self._part, self._output = parse_output(output)  # which output, which part of it, and its kind
        if groups and labels is None:
            raise CardError(f"groups of {name} need labels: give labels, and name them in the groups.")
        self._labels = None if labels is None else Labels(check_labels(labels), groups)
        self._labels_from = labels.source if isinstance(labels, Labels) else ""
        if not is_utf8(name + self.spec):
            raise CardError(f"model {self.spec!r}: runs cannot hold a name that is not UTF-8: rename it.")

    def __repr__(self) -> str:
        c, h, w = self.input.shape
        classes = "classes unknown"
        with suppress(CardError):
            classes = f"{self.num_classes} classes"
        return f"Classifier({self.name!r}, {h} x {w} x {c}, {classes})"

    def logits(self, pixels: Tensor) -> Tensor:
        """Return logits (n, classes) for pixels (n, c, h, w) in [0, 1]; gradients flow through.

        Pixels get the type and device of the weights; probabilities are converted. An Engine puts the module in evaluation mode.

        Raises:
            CardError: the pixels are not floats of this shape, or the module returns another number of classes than before.
        """
        self.input.refuse_unfit(pixels, self.name)
        classes, kind = self._classes_and_kind
        parts = torch.split(like_weights(self.module, pixels), self._batch or max(1, len(pixels)))
        logits = torch.cat([to_logits(self._module_output(part), kind) for part in parts])
        if logits.shape[1] != classes:
            raise CardError(f"{self.name} had {classes} classes and has {logits.shape[1]} now: make a Classifier anew.")
        return logits

    def _module_output(self, pixels: Tensor) -> Tensor:
        """Return the module's output for pixels in [0, 1]: of several the one with the logits; else CardError."""
        outputs = self.module(self.input.normalise(pixels))
        try:
            label_count = None if self._labels is None or self._part is not None else len(self._labels)
            output, position = select(outputs, self._which, label_count)
            if output.ndim > 2 and output.shape[1:].numel() == max(output.shape[1:]):  # (n, c, 1, 1) or (n, 1, c)
                output = output.flatten(1)
            output = part_of(output, self._part, position)
        except CardError as error:
            raise CardError(f"network {self.name} {error}") from None
        if position != self._which:  # chosen at the first image
            self._which, self._notes = position, (*self._notes, f"of several outputs, {position!r} is used as logits")
        return output

    @cached_property
    def _classes_and_kind(self) -> tuple[int, str]:
        """Number of classes and kind of output, from running grey and other images; else CardError."""
        with self._evaluating() as grey:
            output = self._module_output(grey)
            if not output.is_floating_point():
                raise CardError(f"network {self.name} returns {output.dtype}: return the logits, without argmax.")
            if not is_single(output) and (output.ndim != 2 or len(output) != 1 or not output.numel()):
                raise CardError(f"network {self.name} returns {tuple(output.shape)}; {LOGITS_NEEDED}.")
            try:
                is_repeatable, self._batch = run_beside_another(self._module_output, grey, output, self._batch)
                self._notes = self._notes if is_repeatable else (*self._notes, UNREPEATABLE_NOTE)
                kind = self._output if self._output != "auto" else detect_kind(*self._test_outputs(output, grey))
                refuse_wrong_count(kind, output)
            except CardError as error:
                raise CardError(f"network {self.name} {error}") from None
        count = 2 if kind in ONE_NUMBER_KINDS else output.numel()
        if self._labels is not None and len(self._labels) != count:
            part = f" in its part {write_output(None, self._part)}" if self._part else ""
            order = "two for one output, negative first" if kind in ONE_NUMBER_KINDS else "in output order"
            text = f"{part}, and labels were given for {len(self._labels)}{self._labels_from}: give one per class, {order}."
            raise CardError(f"network {self.name} has {count} classes{text}")
        if self.groups and kind == REGRESSION:
            raise CardError(f"the outputs of {self.name} are measurements (regression), and groups are of classes.")
        return count, kind

    def _declared_otherwise(self) -> str:
        """Return the declared kind of output if running several images suggests another; empty if not."""
        kind = self._output
        if kind != "auto":
            with suppress(CardError), self._evaluating() as grey:
                kind = detect_kind(*self._test_outputs(self._module_output(grey), grey))
        return "" if self._output == kind else self._output

    @contextmanager
    def _evaluating(self) -> Iterator[Tensor]:
        """For a ``with`` block: have the module in evaluation mode, yield a grey image of its type; errors become CardErrors."""
        try:
            with evaluating(self.module):
                yield like_weights(self.module, torch.full((1, *self.input.shape), 0.5, dtype=torch.float32))
        except (CardError, torch.cuda.OutOfMemoryError):
            raise
        except Exception as error:  # noqa: BLE001  (the network is the user's: it may raise anything)
            flaw = LATE_IMPORT if isinstance(error, ImportError) else f"refuses its declared input {self.input.shape}"
            fix = fix_of_cast(error) or self.input.fix_of_channels(error)
            raise CardError(f"network {self.name} {flaw}: {first_line(error)}{fix}") from None

    def _test_outputs(self, grey_output: Tensor, grey: Tensor) -> tuple[Iterator[Tensor], Iterator[Tensor]]:
        """Return lazy outputs for grey (known), noise, black and white, and for images far outside [0, 1]."""
        noise = noise_like(grey)
        images = [noise, torch.zeros_like(grey), torch.ones_like(grey)]
        extreme = [1000 * noise, -1000 * noise]  # what is not bounded leaves [0, 1] far outside the range of pixels
        return chain([grey_output], map(self._module_output, images)), map(self._module_output, extreme)

    @property
    def num_classes(self) -> int:
        """Number of classes, found on first use by running the network on a grey image.

        Raises:
            CardError: the network does not accept the declared input, does not return (n, classes), or the labels do
                not match its classes.
        """
        return self._classes_and_kind[0]

    @property
    def batch(self) -> "int | None":
        """Largest number of images that the module accepts at once, ``None`` for any; raises like :attr:`num_classes`."""
        _ = self._classes_and_kind
        return self._batch

    @property
    def output(self) -> str:
        """Kind of the module's output, such as ``logits``, declared or detected; raises like :attr:`num_classes`."""
        return self._classes_and_kind[1]

    @property
    def card_output(self) -> str:
        """Text for a card's ``output``: the kind, after position, key or part if there are: ``out:logits``."""
        kind = self.output
        return write_output(self._which, self._part, kind)

    @property
    def multi_label(self) -> bool:
        """Whether the outputs are independent, each with a probability of its own; raises like :attr:`num_classes`."""
        return self.output in MULTI_LABEL

    @property
    def regression(self) -> bool:
        """Whether the outputs are measurements, such as an age, and no classes; raises like :attr:`num_classes`."""
        return self.output == REGRESSION

    def refuse_regression(self, what: str, fix: str = REGRESSION_COMMANDS) -> None:
        """Raise CardError, that ``what`` needs classes and what to do (``fix``), if the outputs are measurements.

        Raises:
            CardError: they are.
        """
        if self.regression:
            raise CardError(
                f"{what} needs classes, and {self.name} has none: {self.measures}."
                if self.measures
                else f"{what} needs classes, and the outputs of {self.name} are measurements (regression): {fix}."
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user, one line each: how it was loaded, and how its output is converted."""
        note = (self.regression and self.measures) or OUTPUT_KINDS[self.output]  # runs the network, which may add notes
        return (*self._notes, note) if note else self._notes

    @cached_property
    def labels(self) -> Labels:
        """Class names as Labels: given, else numbered, or ``negative``, ``positive`` with one output; cached."""
        count, kind = self._classes_and_kind
        if kind == REGRESSION:
            return Labels(self._labels or [f"output {index}" for index in range(count)], what=("output", "outputs"))
        if self._labels is not None:
            return self._labels
        return Labels(["negative", "positive"]) if kind in ONE_NUMBER_KINDS else Labels.numbered(count)

    @property
    def given_labels(self) -> tuple[str, ...]:
        """The class names that a card or Python code gave, if any. The network is not run."""
        return () if self._labels is None else tuple(self._labels)

    @property
    def groups(self) -> dict[str, list[str]]:
        """The groups of classes that were given: name -> what names its classes. The network is not run."""
        labels = self._labels
        return {} if labels is None else {key: list(map(labels.name, group)) for key, group in labels.groups.items()}

    @property
    def sha256(self) -> str:
        """Hash, as hex, of the weights, the input space and the output, with its kind if not the detected one.

        Computed anew, because weights can change in place: it takes 0.1 to 0.3 s per 100 MB, and up to four forward passes.
        """
        digest = hashlib.sha256(repr(self.input).encode())
        with suppress(CardError):  # a network that cannot be used still has weights
            _ = self.output  # of several outputs one is chosen when the network first runs
            position_and_part = write_output(self._which, self._part)
            digest.update(f"output {position_and_part}".encode() if position_and_part else b"")
            digest.update(self._declared_otherwise().encode())
        hash_weights(self.module, digest)
        return digest.hexdigest()

    @property
    def noise_logits(self) -> list[float]:
        """Up to 16 logits of one noise image: networks may differ in code alone. Empty if they vary or are not finite."""
        if UNREPEATABLE_NOTE in self.notes:
            return []
        with self._evaluating() as grey:
            logits = self.logits(noise_like(grey))[0].double()
        return logits[:: -(-len(logits) // 16)].tolist() if logits.isfinite().all() else []
