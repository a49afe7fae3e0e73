"""Would stopping early save anything? `python -m benchmarks.stopping` (about four minutes on 2 cores).

Every step of `vivid` draws samples and views that are new to the map, so its hits are a held-out measure for free. A
rule: stop once every sample was read as the class in so many steps in a row. The maps are made whole, and kept as they
were where each rule would have stopped; every network of the zoo reads them. Source mobilenet_v2_a, natural samples,
ten concepts, seed 0. Writes benchmarks/results/stopping.json.
"""

from dataclasses import replace
from typing import Any

from benchmarks.common import CONCEPTS, NETWORKS, hardware, images, keep, network, read_cells, readings, table
from phosphene.concept_map import ConceptMap, Job
from phosphene.engine import Engine
from phosphene.mapper import Step, map_jobs
from phosphene.recipe import resolve
from phosphene.samples import load_samples

SOURCE = "mobilenet_v2_a"
RULES = (1, 3, 5, 10, 20)  # steps in a row on which every sample was read
WHOLE = 0  # no rule


class Stops:
    """Watches one map grow and keeps it as it was where each rule would have stopped."""

    def __init__(self) -> None:
        self.streak = 0
        self.kept: dict[int, Step] = {}

    def __call__(self, step: Step) -> None:
        """Take note of a step."""
        self.streak = self.streak + 1 if step.hits == 1 else 0
        self.kept[WHOLE] = step
        for rule in RULES:
            if self.streak == rule:
                self.kept.setdefault(rule, step)


def main() -> None:
    """Make the maps, read what each rule would have kept, print and keep the table."""
    classifier, recipe = network(SOURCE), resolve("vivid")
    pool = load_samples(images(), classifier.input.shape)
    kept: dict[int, list[tuple[int, ConceptMap]]] = {rule: [] for rule in (*RULES, WHOLE)}
    with Engine(classifier) as engine:
        for name in CONCEPTS:  # each alone: hits are of the map's own samples
            stops = Stops()
            (made,) = map_jobs(engine, pool, [Job(classifier.labels.find(name))], recipe, stops)
            for rule, maps in kept.items():
                step = stops.kept.get(rule, stops.kept[WHOLE])
                maps.append((step.done, replace(made, nu=step.nu[0].float().cpu())))
    rows: list[dict[str, Any]] = []
    for rule, maps in kept.items():
        steps = sum(done for done, _ in maps) / len(maps)
        rows.append({"rule": rule, "steps": round(steps, 1), "readings": readings([one for _, one in maps])})
    keep("stopping", {"rows": rows})
    print(hardware())
    body = [[row["rule"] or "never", row["steps"], *read_cells(row["readings"])] for row in rows]
    print(table(["steps in a row", "stops at (mean)", *NETWORKS], body))


if __name__ == "__main__":
    main()
