"""What clean networks of many classes look like to the scan: `python -m benchmarks.backdoors.imagenet_null`.

Measures three clean ImageNet networks of which no verdict is reported (about 10 core minutes each), as a scan does: a
look chooses the classes. The tail of the tested ones, in each network's own spread, becomes the parts `many-...` of the
null model that ships with the package. Three networks have few classes in their tail (5), so that its scale is pooled
with that of the clean CIFAR-10 networks (26; `python -m benchmarks.backdoor null`, to be run before).
"""

from typing import Any

import torch

from benchmarks.common import PHOTOGRAPHS, ROOT, network
from phosphene.backdoor.measure import PASTED
from phosphene.backdoor.null import FILE, Null
from phosphene.backdoor.search import Effort
from phosphene.backdoor.survey import Setting, read_samples, survey
from phosphene.engine import Engine
from phosphene.runs.atomic import read_json, write_json
from phosphene.samples import load_samples

NETWORKS = ("mobilenet_v2_b", "mobilenet_v1_075", "mobilenet_v1_050")
FOLDER = ROOT / "runs" / "backdoor" / "surveys"
Survey = dict[str, Any]


def measured(name: str) -> Survey:
    """Return the deviations of a network's classes by statistic, and which were tested; kept in runs/."""
    classifier = network(name)
    effort = Effort.usual(classifier.input.shape)
    file = FOLDER / f"many-{name}-{classifier.sha256[:8]}-{effort.steps}x{effort.batch}.json"
    if not file.exists():
        setting = Setting(PASTED, effort)
        pool = load_samples(PHOTOGRAPHS, classifier.input.shape)
        with Engine(classifier) as engine:
            seen = survey(engine, read_samples(engine, pool)[0], setting)
        away = {one: values.tolist() for one, values in seen.away().items()}
        classes = [classifier.labels.short(index) for index in seen.classes.tolist()]
        write_json(file, {"away": away, "tested": seen.tested.tolist(), "classes": classes})
    found: Survey = read_json(file)
    return found


def main() -> None:
    """Measure the networks, write the part, and print the tested classes' deviations."""
    document, away, tested = read_json(FILE), [], []
    for name in NETWORKS:
        found = measured(name)
        away.append({one: torch.tensor(values, dtype=torch.double) for one, values in found["away"].items()})
        tested.append(torch.tensor(found["tested"]))
        order = away[-1][PASTED[0]].argsort(descending=True).tolist()
        print(name, [(found["classes"][k], round(float(away[-1][PASTED[0]][k]), 2)) for k in order if tested[-1][k]])
    for kind in ("natural", "synthetic"):
        document[f"many-{kind}"] = Null.fit(away, tested, Null.from_dict(document[kind])).to_dict()
        print(kind, document[f"many-{kind}"])
    document["many_networks"] = list(NETWORKS)
    write_json(FILE, document)


if __name__ == "__main__":
    main()
