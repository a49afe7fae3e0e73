"""Sensitivity to the sample set: do natural images, pink noise and dead leaves lead to maps of the same classes?

With a recipe that keeps natural statistics of the features, maps from synthetic samples are made without.
"""

from phosphene.checks.context import CheckContext, Request
from phosphene.checks.finding import Finding, all_of, two_decimals
from phosphene.checks.words import sentence

SYNTHETIC = ("synthetic:pink", "synthetic:dead-leaves")


def needs(context: CheckContext) -> list[Request]:
    """Return requests for ``context.chosen`` from each other set of samples, and for second seeds."""
    return [*(request for requests in _by_set(context).values() for request in requests), *context.second_seeds()]


def find(context: CheckContext) -> Finding:
    """Judge maps made from other samples, which the network should recognise as well.

    Passed if the hits of each set are beyond chance, and at least half as frequent as those of the run.
    """
    run_predictions = context.predict(context.chosen)
    figures = run_predictions.figures("run")
    conditions, lines = [], []
    for name, requests in _by_set(context).items():
        maps = context.take(requests)
        similarity, predictions = context.similarity(maps), context.predict(maps)
        figures |= similarity.figures(name) | predictions.figures(name)
        conditions += [predictions.beyond_chance, predictions.top1 >= run_predictions.top1 / 2]
        lines.append(f"{predictions} from {name} (similarity {two_decimals(similarity.mean['hog'])})")
    figures |= context.reference()
    passed = all_of(*conditions) if run_predictions.beyond_chance else None
    words, of_run = context.words, f"{run_predictions} of the run's maps"
    facts = sentence(
        f"{words.recognised('the network', of_run)}, {', '.join(lines)}; two seeds of one {words.kind} "
        f"have a similarity of {two_decimals(context.within['hog'])} (HOG, 1 is the same image)"
    )
    if_passed = "So the network recognises maps that were made from other samples, too."
    if_failed = "So the maps depend on the samples: name those that were used, and compare only maps from the same."
    beyond_chance = [run_predictions.beyond_chance, *conditions]
    return context.judge("samples", figures, passed, facts, if_passed, if_failed, beyond_chance)


def _by_set(context: CheckContext) -> dict[str, list[Request]]:
    """Return sample spec -> requests for the ``chosen`` maps, for each other set of samples.

    They are synthetic sets, and the context's pool if it is not the run's.
    """
    pool_requests = {} if context.same_samples else {context.pool.spec: context.under()}
    return pool_requests | {spec: context.under(samples=spec) for spec in SYNTHETIC if spec != context.pool.spec}
