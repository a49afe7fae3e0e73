"""Speed on a GPU: `python -m benchmarks.engine.gpu [--quick]`.

- maps: `vivid` for one map alone and ten together, and `paper` for one map, by VGG-16, ResNet-50 and DenseNet-121 with
  random weights at 224 pixels (which cost the same), in single precision, with bf16 autocast, and compiled.
  Share of the bf16 matrix peak that the device reaches; time over a loop written by hand around the same network.
- commands: `phosphene map --all` of mobilenet_v2_a, `score` by three networks, `scan` of a network of 10 classes and
  one of 1,001, each timed from outside, files and report included.

`--quick` takes at most 8 minutes on one GPU with 16 cores and needs nothing but this repository and ../shared/zoo: only
bf16, `paper` with 20 of its 650 steps (its time is scaled up), 200 classes instead of 1,001, and no command runs longer
than 90 seconds. In full it takes about half an hour. Where there is no GPU, `--quick --networks demo:shapes` tries the
script out; nothing is written then.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import SHARED, hardware, markdown_table, write_result
from phosphene.classifier import Classifier
from phosphene.concept_map import ConceptMap, Job
from phosphene.engine import Engine
from phosphene.mapper import in_groups, map_jobs, passes_per_map
from phosphene.recipe import Recipe, resolve
from phosphene.samples import load_samples
from phosphene.sources import load

NETWORKS = ("torchvision:vgg16@random", "torchvision:resnet50@random", "torchvision:densenet121@random")
# recipe, maps made together
CASES = (("vivid", 1), ("vivid", 10), ("paper", 1))
PRECISIONS = ("fp32", "bf16", "bf16 compiled")
QUICK = {"paper": {"steps": 20, "refine_steps": 5}}
WARM_UP = {"steps": 3, "rounds": 1, "refine_steps": 0}
SIDE, REPEATS = 8192, 10  # of the matrices whose product is the peak, and how often
LOOP_BATCHES = (8, 32, 80)  # of the loop by hand; the best counts
COMMAND_SECONDS = 90


def synchronize() -> None:
    """Wait until the GPU has finished what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def best_seconds(run: Callable[[], object]) -> float:
    """Return the best of several repetitions, after one to warm up."""
    seconds = []
    for _ in range(REPEATS):
        synchronize()
        began = time.perf_counter()
        run()
        synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def matrix_peak(device: str) -> float:
    """Return the operations per second of a large bf16 matrix product."""
    side = SIDE if device == "cuda" else SIDE // 16
    matrix = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    return 2 * side**3 / best_seconds(lambda: matrix @ matrix)


def operations(classifier: Classifier) -> float:
    """Return the operations per pass, the mean of a forward and a backward to the input."""
    image = torch.rand(1, *classifier.input.shape, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(classifier.logits(image)[0, 0], image)
    return counter.get_total_flops() / 2


def loop_passes_per_second(classifier: Classifier, device: str, precision: str) -> float:
    """Return the speed of a forward and backward loop that is written by hand around the same network."""
    module = classifier.module.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    module.requires_grad_(requires_grad=False)
    speeds = []
    for size in LOOP_BATCHES:
        images = torch.rand(size, *classifier.input.shape, device=device).contiguous(memory_format=torch.channels_last)
        images.requires_grad_()
        labels = torch.zeros(size, dtype=torch.int64, device=device)

        def step(images: torch.Tensor = images, labels: torch.Tensor = labels) -> None:
            with torch.autocast(device, torch.bfloat16, enabled=precision != "fp32"):
                logits = module(images)
            torch.autograd.grad(functional.cross_entropy(logits.float(), labels), images)

        speeds.append(2 * size / best_seconds(step))
    return max(speeds)


def make(classifier: Classifier, recipe: Recipe, count: int, precision: str) -> tuple[float, list[ConceptMap]]:
    """Make maps of the first classes together; return the seconds per map, and the maps."""
    kind, _, compiled = precision.partition(" ")
    jobs = [Job(index) for index in range(count)]
    with Engine(classifier, precision=kind, compile="on" if compiled else "off") as engine:
        pool = load_samples("synthetic:mixed", classifier.input.shape).to(engine.device)
        first = next(iter(in_groups(jobs, engine, recipe)))
        map_jobs(engine, pool, first, recipe.replace(**WARM_UP))  # compilation and tuning are not counted
        synchronize()
        began = time.perf_counter()
        maps = [one for group in in_groups(jobs, engine, recipe) for one in map_jobs(engine, pool, group, recipe)]
        synchronize()
        return (time.perf_counter() - began) / count, maps


def measure_maps(spec: str, precisions: Sequence[str], peak: float, *, quick: bool) -> list[dict[str, Any]]:
    """Return a row per recipe, number of maps and precision for one network."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    classifier = load(spec)
    per_pass, rows = operations(classifier), []
    for name, count in CASES:
        published = resolve(name)
        recipe = resolve(name, QUICK.get(name)) if quick else published
        scale = passes_per_map(published) / passes_per_map(recipe)
        for precision in precisions:
            seconds, maps = make(classifier, recipe, count, precision)
            loop = loop_passes_per_second(classifier, device, precision)
            row = {
                "network": classifier.name,
                "recipe": name,
                "maps": count,
                "precision": precision,
                "seconds_per_map": seconds * scale,
                "scaled_up": scale > 1,
                "share_of_peak": per_pass * passes_per_map(recipe) / seconds / peak,
                "over_loop": seconds * loop / passes_per_map(recipe),
                "p_class": sum(one.p_class for one in maps) / count,
            }
            rows.append(row)
            print({key: round(one, 3) if isinstance(one, float) else one for key, one in row.items()}, flush=True)
    return rows


def measure_commands(*, quick: bool) -> list[dict[str, Any]]:
    """Return the wall time of commands, as a user would give them."""
    zoo = SHARED / "zoo"
    source = str(zoo / "mobilenet_v2_a.toml")
    targets = [str(zoo / f"{name}.toml") for name in ("mobilenet_v2_b", "mobilenet_v1_075", "efficientnet_lite0")]
    classes = [word for index in range(200) for word in ("-c", str(index))] if quick else ["--all"]
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            f"map, {200 if quick else '1,001'} classes": ["map", source, *classes, "--out", f"{folder}/maps"],
            "score by three networks": ["score", f"{folder}/maps", *(w for one in targets for w in ("--target", one))],
            "scan, 10 classes": ["scan", str(zoo / "cifar_resnet20.toml"), "--out", f"{folder}/scan10", "--no-map"],
            "scan, 1,001 classes": ["scan", source, "--out", f"{folder}/scan1001", "--no-map"],
        }
        return [measure_command(name, words, COMMAND_SECONDS if quick else None) for name, words in commands.items()]


def measure_command(name: str, words: list[str], limit: "float | None") -> dict[str, Any]:
    """Return a command's wall time and exit code; none where it ran into the limit."""
    began = time.perf_counter()
    try:
        command = [sys.executable, "-m", "phosphene", *words, "--trust"]
        code: int | None = subprocess.run(command, check=False, timeout=limit, capture_output=True).returncode
    except subprocess.TimeoutExpired:
        code = None
    row = {"command": name, "seconds": round(time.perf_counter() - began, 1), "exit": code}
    print(row, flush=True)
    return row


def main() -> None:
    """Measure and print; write the result if a GPU was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, metavar="SPEC")
    parser.add_argument("--no-commands", action="store_true")
    arguments = parser.parse_args()
    print(hardware())
    peak = matrix_peak("cuda" if torch.cuda.is_available() else "cpu")
    print(f"bf16 matrix product: {peak / 1e12:.1f} TFLOP/s")
    precisions = ("bf16",) if arguments.quick else PRECISIONS
    maps = [row for spec in arguments.networks for row in measure_maps(spec, precisions, peak, quick=arguments.quick)]
    commands = [] if arguments.no_commands else measure_commands(quick=arguments.quick)
    head = ("network", "recipe", "maps", "precision", "seconds per map", "share of peak", "over the loop by hand")
    cells = [
        [
            *(row[key] for key in ("network", "recipe", "maps", "precision")),
            f"{row['seconds_per_map']:.2f}" + " (scaled up)" * row["scaled_up"],
            f"{row['share_of_peak']:.2f}",
            f"{row['over_loop']:.2f}",
        ]
        for row in maps
    ]
    print(markdown_table(head, cells))
    if commands:
        print(markdown_table(("command", "seconds", "exit code"), [list(row.values()) for row in commands]))
    if torch.cuda.is_available():
        write_result("gpu-quick" if arguments.quick else "gpu", {"peak": peak, "maps": maps, "commands": commands})


if __name__ == "__main__":
    main()
