"""A permuted-labels control: ``M_score`` cannot see that classes are mixed up, top-1 must."""

import torch

from phosphene.checks.bench import Bench, Request
from phosphene.checks.chance import read
from phosphene.checks.finding import TOO_LITTLE, Finding, verdict
from phosphene.metrics.m_score import m_score_of_logits
from phosphene.metrics.predictions import logits_of_maps, top1

compares = False
# So many permutations are tried, of those that leave no class in its place.
MOST = 16
TOLERANCE = 1e-9


def needs(bench: Bench) -> list[Request]:
    """Ask for nothing: the maps that are there are read under wrong names."""
    return []


def find(bench: Bench) -> Finding:
    """Move every concept's answer to another concept, in up to 16 ways, and score again.

    Passed when ``M_score`` stays what it was to 1e-9, and top-1 falls from beyond chance to 1 over the number of
    concepts or below.
    """
    truth = [one.index for one in bench.maps]
    concepts = sorted(set(truth))
    count = len(concepts)
    if count < 2:
        return Finding("permuted-labels", {}, None, "With one class there is nothing to mix up: map at least two.")
    with bench.engine() as engine:
        logits = logits_of_maps(engine, bench.maps).double()
    score, right = m_score_of_logits(logits, concepts), top1(logits, truth)
    shifts = sorted({1 + round(place * (count - 2) / (MOST - 1)) for place in range(MOST)})
    scores, rights = [], []
    for shift in shifts:
        order = torch.arange(logits.shape[1])
        order[concepts] = torch.tensor(concepts).roll(shift)
        scores.append(m_score_of_logits(logits[:, order], concepts))
        rights.append(top1(logits[:, order], truth))
    figures = {
        "m_score_at_true": score,
        "m_score_at_permuted": sum(scores) / len(scores),
        "top1_at_true": right,
        "top1_at_permuted": sum(rights) / len(rights),
        "largest_change": max(abs(other - score) for other in scores),
        "chance": 1 / count,
        "concepts": float(count),
    }
    blind, wrong = figures["largest_change"] <= TOLERANCE, figures["top1_at_permuted"]
    facts = (
        f"With the classes' names mixed up, M_score goes from {score:.2f} to {figures['m_score_at_permuted']:.2f} and "
        f"top-1 from {right:.0%} to {wrong:.0%} (chance is {1 / count:.0%})."
    )
    passed = verdict(blind, wrong <= 1 / count, read(logits, truth).beyond_chance)
    if passed:
        meaning = (
            "So M_score says how sure and how varied the answers are, and only top-1 says that they are right: "
            "read them together."
        )
    elif not blind:
        meaning = "M_score should not have moved: this build computes something else."
    elif passed is None:
        meaning = TOO_LITTLE
    else:
        meaning = "So top-1 does not tell right names from wrong ones here: the network does not read these maps."
    return Finding("permuted-labels", figures, passed, f"{facts} {meaning}")
