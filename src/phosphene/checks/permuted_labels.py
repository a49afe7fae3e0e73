"""A permuted-labels control: ``M_score`` cannot notice that classes are permuted, top-1 must."""

import torch

from phosphene.checks.context import CheckContext
from phosphene.checks.finding import FEWEST, Finding, all_of, judged
from phosphene.checks.map_predictions import predictions_of
from phosphene.formats import percent
from phosphene.metrics.m_score import m_score_of_logits
from phosphene.metrics.predictions import logits_of_maps, top1

# Permutations that are tried, of those that leave no class in its place.
PERMUTATIONS = 16
TOLERANCE = 1e-9


def find(context: CheckContext) -> Finding:
    """Judge the M_score and top-1 of the run's maps on its own network, with permuted classes.

    Passed when ``M_score`` stays what it was to 1e-9, and top-1 falls from beyond chance to 1 over the number of
    concepts or below.
    """
    if context.classifier.multi_label:
        return Finding("permuted-labels", {}, None, "Classes are permuted, and this network's are independent.")
    if any(one.expression for one in context.maps):
        return Finding(
            "permuted-labels", {}, None, "Classes are permuted, and this run has unions, contrasts, units or outputs."
        )
    truth = [one.index for one in context.maps]
    concepts = sorted(set(truth))
    count = len(concepts)
    if count < 2:
        return Finding(
            "permuted-labels", {}, None, f"With one class there is nothing to permute: map at least {FEWEST}."
        )
    with context.engine() as engine:
        logits = logits_of_maps(engine, context.maps).double()
    score, top1_true = m_score_of_logits(logits, concepts), top1(logits, truth)
    shifts = sorted({1 + round(place * (count - 2) / (PERMUTATIONS - 1)) for place in range(PERMUTATIONS)})
    scores, top1_permuted = [], []
    for shift in shifts:
        order = torch.arange(logits.shape[1])
        order[concepts] = torch.tensor(concepts).roll(shift)
        scores.append(m_score_of_logits(logits[:, order], concepts))
        top1_permuted.append(top1(logits[:, order], truth))
    figures = {
        "m_score_at_true": score,
        "m_score_at_permuted": sum(scores) / len(scores),
        "top1_at_true": top1_true,
        "top1_at_permuted": sum(top1_permuted) / len(top1_permuted),
        "largest_change": max(abs(other - score) for other in scores),
        "chance": 1 / count,
        "concepts": float(count),
    }
    unchanged, mean_top1_permuted = figures["largest_change"] <= TOLERANCE, figures["top1_at_permuted"]
    score_text, permuted_text = f"{score:.2f}", f"{figures['m_score_at_permuted']:.2f}"
    change = f"stays at {score_text}" if score_text == permuted_text else f"goes from {score_text} to {permuted_text}"
    facts = (
        f"With the labels permuted, M_score {change}, and "
        f"top-1 goes from {percent(top1_true)} to {percent(mean_top1_permuted)} (chance is {percent(1 / count)})."
    )
    beyond_chance = predictions_of(logits, torch.tensor(truth)).beyond_chance
    passed = all_of(unchanged, mean_top1_permuted <= 1 / count, beyond_chance)
    if_passed = (
        "So M_score measures how sure and how varied the predictions are, and only top-1 whether they are correct: "
        "compare both."
    )
    if_failed = "M_score should not have changed: this installation computes something else."
    if unchanged:
        if_failed = "So top-1 does not distinguish right labels from wrong: the network does not recognise these maps."
    return judged("permuted-labels", figures, count, passed, facts, if_passed, if_failed, beyond_chance=[beyond_chance])
