"""Fidelity: how far the maps carry on their own network, and how that moves with contrast.

No one contrast is right, and any can be chosen to flatter: so all are shown.
"""

import torch

from phosphene.checks.bench import Bench, Request
from phosphene.checks.chance import read
from phosphene.checks.finding import Finding
from phosphene.mapper.measurements import targeting_rates
from phosphene.metrics.predictions import SCORE_CONTRAST, logits_at_contrasts
from phosphene.metrics.scores import CONTRASTS

compares = False


def needs(bench: Bench) -> list[Request]:
    """Ask for nothing: the maps that are there are tried at other contrasts."""
    return []


def find(bench: Bench) -> Finding:
    """Measure probability of the class for the picture, and targeting rate on held-out samples, at every contrast q.

    The picture is ``clip(0.5 - q nu / std(nu))``, and what is subtracted from samples is ``q nu / std(nu)``, so that
    both have the same deviation. Samples that the network reads as the class already are left out. No rule, no verdict.
    """
    truth = [one.index for one in bench.chosen]
    figures: dict[str, float] = {}
    with bench.engine() as engine:
        held_out = bench.pool.held_out.to(engine.device)
        nu = torch.stack([one.nu for one in bench.chosen]).to(engine.device, engine.dtype)
        unit = nu / nu.flatten(1).std(1, correction=0).clamp_min(torch.finfo(nu.dtype).tiny).view(-1, 1, 1, 1)
        classes = torch.tensor(truth, device=engine.device)
        for contrast, logits in zip(CONTRASTS, logits_at_contrasts(engine, bench.chosen, CONTRASTS), strict=True):
            figures |= read(logits, truth).figures(f"{contrast:g}")
            rates = [rate for rate in targeting_rates(engine, held_out, contrast * unit, classes) if rate is not None]
            if rates:
                figures[f"targeting_at_{contrast:g}"] = sum(rates) / len(rates)
    return Finding("fidelity", figures, None, _words(figures))


def _words(figures: dict[str, float]) -> str:
    first, middle, last = (f"{contrast:g}" for contrast in (CONTRASTS[0], SCORE_CONTRAST, CONTRASTS[-1]))
    words = f"At contrast {middle} the network gives a map's class p {figures[f'p_class_at_{middle}']:.2f}"
    spans = [f"p from {figures[f'p_class_at_{first}']:.2f} to {figures[f'p_class_at_{last}']:.2f}"]
    if f"targeting_at_{middle}" in figures:
        moved = [f"{figures[f'targeting_at_{contrast}']:.0%}" for contrast in (first, middle, last)]
        words += f", and subtracting the map turns {moved[1]} of held-out samples into the class"
        spans.append(f"the share from {moved[0]} to {moved[2]}")
    return (
        f"{words}. From contrast {first} to {last}, {' and '.join(spans)}: a figure without its contrast says nothing."
    )
