"""Fidelity: how well the source classifier recognises the maps, and how that changes with contrast.

No single contrast is right, and one can be chosen to flatter: so all are shown.
"""

import torch

from phosphene.checks.context import CheckContext
from phosphene.checks.finding import Finding
from phosphene.checks.map_predictions import predictions_of
from phosphene.checks.words import Words
from phosphene.formats import percent
from phosphene.mapper.measurements import targeting_rates
from phosphene.mapper.units import engine_and_targets
from phosphene.metrics.predictions import SCORE_CONTRAST, logits_at_contrasts
from phosphene.metrics.scores import CONTRASTS


def find(context: CheckContext) -> Finding:
    """Return a finding of figures only: mean class probability and targeting rate at seven contrasts.

    The image is ``clip(0.5 - q nu / std(nu))``, and ``q nu / std(nu)`` is subtracted from held-out samples, so that both
    have the same deviation. Samples that the network classifies as the class already are left out.
    """
    figures: dict[str, float] = {}
    with context.engine() as engine:
        held_out = context.pool.held_out.to(engine.device)
        nu = torch.stack([one.nu for one in context.chosen]).to(engine.device, engine.dtype)
        unit = nu / nu.flatten(1).std(1, correction=0).clamp_min(torch.finfo(nu.dtype).tiny).view(-1, 1, 1, 1)
        concepts = [one.concept for one in context.chosen]
        units_engine, targets = engine_and_targets(engine, concepts, context.pool.to(engine.device))
        for contrast, logits in zip(
            CONTRASTS, logits_at_contrasts(units_engine, context.chosen, CONTRASTS), strict=True
        ):
            figures |= predictions_of(logits, targets.cpu(), units_engine.classifier).figures(f"{contrast:g}")
            rates = [
                rate for rate in targeting_rates(units_engine, held_out, contrast * unit, targets) if rate is not None
            ]
            if rates:
                figures[f"targeting_at_{contrast:g}"] = sum(rates) / len(rates)
    return Finding("fidelity", figures, None, _explain(figures, context.words))


def _explain(figures: dict[str, float], words: Words) -> str:
    """Return sentences on how class probability and targeting rate change with contrast.

    Of units it is the percentile in place of the probability.
    """
    first, middle, last = (f"{contrast:g}" for contrast in (CONTRASTS[0], SCORE_CONTRAST, CONTRASTS[-1]))
    low, value, high = (words.number(figures[f"p_class_at_{contrast}"]) for contrast in (first, middle, last))
    subject = "the network gives a map's class p" if words.kind == "class" else f"the {words.confidence} of the maps is"
    facts = f"At contrast {middle} {subject} {value}"
    ranges = [f"{words.confidence if words.kind == 'class' else 'it'} goes from {low} to {high}"]
    if f"targeting_at_{middle}" in figures:
        rates = [percent(figures[f"targeting_at_{contrast}"]) for contrast in (first, middle, last)]
        facts += f", and subtracting the map moves {rates[1]} of held-out samples {words.moved_to}"
        ranges.append(f"the targeting rate from {rates[0]} to {rates[2]}")
    return f"{facts}. From contrast {first} to {last}, {' and '.join(ranges)}: compare figures at one contrast only."
