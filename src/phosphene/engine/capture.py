"""Steps that a GPU replays as one CUDA graph: thousands of kernels that Python starts one by one become one launch.

A step is a function of tensors that returns tensors. The first calls are eager. Then the step is recorded, and at the
call after that, on other inputs, the recording must give what the eager step gives, up to rounding. Where it does not,
or where recording fails, all further calls are eager, and one warning says why: a recording can make maps faster, but
never wrong.
"""

import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from weakref import WeakSet

import torch
from torch import Tensor

from phosphene.errors import SpeedWarning, first_line, warn

TensorFunction = Callable[..., tuple[Tensor, ...]]
Inputs = Sequence["Tensor | None"]
Recorder = Callable[[TensorFunction, Inputs], TensorFunction]

EAGER_CALLS = 3  # libraries choose kernels and allocate in the first calls
# Norm of the difference of an output, relative to its norm. Sums are added in any order on a GPU; a recording that
# misses an input or takes another branch differs by far more.
ROUNDING = {torch.float64: 1e-6, torch.float32: 0.02}


class CapturedSteps:
    """Cache of an engine open on a GPU, and of those that it makes to read units: ``get(step, key)`` returns the CapturedStep of a key.

    Args:
        name: The network's name, for the warning.
        record: Makes, from a step and example inputs, a function that repeats the step for other inputs.

    Attributes:
        failed: Whether a step of this network could not be replayed: then none is.
    """

    def __init__(self, name: str, record: Recorder) -> None:
        self.name, self.record = name, record
        self.steps: dict[tuple[Hashable, ...], CapturedStep] = {}
        self.failed = False

    def get(self, step: TensorFunction, key: tuple[Hashable, ...]) -> "CapturedStep":
        """Return the CapturedStep stored under ``key``; if there is none yet, make one of the function ``step`` and store it."""
        return self.steps.setdefault(key, CapturedStep(step, self))

    def drop(self, kept: Hashable = None) -> None:
        """Drop all steps except those whose key begins with ``kept``, and free the memory of their recordings at once.

        Steps, engines and this cache refer to each other: without this, they would live until Python searches for cycles.
        """
        for key in [one for one in self.steps if one[0] is not kept]:
            self.steps.pop(key).forget()

    def give_up(self, why: str) -> None:
        """Drop all recordings, compute all further calls as usual, and issue a SpeedWarning that says ``why``."""
        self.failed = True
        for step in self.steps.values():
            step.forget()
        line = f"{self.name} cannot be replayed as a CUDA graph ({why}): its maps are right, and take longer."
        warn(line, SpeedWarning)


class CapturedStep:
    """Calls a function of tensors: per input shape, first as it is, then as a replayed CUDA graph; after any failure, always as it is."""

    def __init__(self, step: TensorFunction, network: CapturedSteps) -> None:
        self.step, self.network = step, network
        self.calls: dict[Hashable, int] = {}
        self.recordings: dict[Hashable, TensorFunction] = {}
        self.proved: set[Hashable] = set()

    def __call__(self, *inputs: "Tensor | None") -> tuple[Tensor, ...]:
        """Return the step's outputs for ``inputs``: computed as usual, or by replaying a recording that has been checked."""
        signature = tuple(None if one is None else (one.shape, one.dtype) for one in inputs)
        if signature in self.proved:
            return self.recordings[signature](*inputs)
        outputs = self.step(*inputs)
        if not self.network.failed:
            self.calls[signature] = self.calls.get(signature, 0) + 1
            try:
                if signature in self.recordings:
                    self._prove(signature, inputs, outputs)
                elif self.calls[signature] > EAGER_CALLS:
                    self.recordings[signature] = self.network.record(self.step, inputs)
            except Exception as error:  # noqa: BLE001  (a network may raise anything: its eager step has just worked)
                self.network.give_up(first_line(error))
        return outputs

    def forget(self) -> None:
        """Drop the recordings of all shapes."""
        self.recordings.clear()
        self.proved.clear()

    def _prove(self, shape: Hashable, inputs: Inputs, expected: Sequence[Tensor]) -> None:
        """Replay a shape's recording; allow it if it gives ``expected``, the true outputs, else give up all recordings."""
        for output, expected_output in zip(self.recordings[shape](*inputs), expected, strict=True):
            if not (output - expected_output).norm() <= ROUNDING[expected_output.dtype] * expected_output.norm():
                self.network.give_up("replayed, it gives other numbers")
                return
        self.proved.add(shape)


class CudaGraphs:
    """Called with a step and its inputs, records it as a CUDA graph and returns its replay; all graphs share their memory.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream: torch.cuda.Stream | None = None
        # Weak, because torch refuses to record into the memory of graphs that are all gone.
        self.graphs: WeakSet[torch.cuda.CUDAGraph] = WeakSet()

    def __call__(self, step: TensorFunction, inputs: Inputs) -> TensorFunction:
        """Record ``step`` as a CUDA graph for inputs of these shapes; return a function that replays it for others.

        Raises:
            RuntimeError: the step waits for the device, as control flow that depends on data does, or the device has no
                memory for a second copy of its activations.
        """
        static_inputs = [None if one is None else one.clone() for one in inputs]
        with torch.cuda.device(self.device):
            self.stream = self.stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self.stream.wait_stream(torch.cuda.current_stream())
            graph, pool = torch.cuda.CUDAGraph(), next((one.pool() for one in self.graphs), None)
            with torch.cuda.stream(self.stream):  # outermost: a recording that fails leaves its stream set
                with waiting_forbidden():  # a rehearsal, because a recording that fails half-way is hard to clean up
                    step(*static_inputs)
                with torch.cuda.graph(graph, pool=pool, stream=self.stream, capture_error_mode="thread_local"):
                    outputs = step(*static_inputs)
            torch.cuda.current_stream().wait_stream(self.stream)
        self.graphs.add(graph)

        def replay(*inputs: "Tensor | None") -> tuple[Tensor, ...]:
            """Copy inputs into those of the recording, replay the graph, and return copies of its outputs."""
            for static_input, new_input in zip(static_inputs, inputs, strict=True):
                if static_input is not None and new_input is not None:
                    static_input.copy_(new_input)
            graph.replay()
            return tuple(one.clone() for one in outputs)  # the next replay overwrites them

        return replay


@contextmanager
def waiting_forbidden() -> Iterator[None]:
    """For a ``with`` block: let torch raise an error where the CPU would wait for a GPU; then restore the mode."""
    mode = torch.cuda.get_sync_debug_mode()
    try:
        with warnings.catch_warnings(action="ignore"):  # torch calls the mode a prototype
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode(mode)
