"""The lines at the top of a report that sum up its maps: what the source recognises, and what share of samples a map moves."""

from statistics import median
from typing import Any

from phosphene.checks.finding import FEWEST
from phosphene.engine.units import ACTIVE
from phosphene.formats import count, percent
from phosphene.samples.pool import FEW_HELD_OUT
from phosphene.sources.libraries import RANDOM_WEIGHTS_NOTE


def notes_glance(facts: dict[str, Any]) -> list[dict[str, str]]:
    """Return lines (``mark``, ``text``) for the report's top, on how the network was loaded, and a doubt about its input."""
    name, notes = facts["model"]["name"], map(str, facts["model"].get("notes", []))
    lines = [{"mark": "unsure" if RANDOM_WEIGHTS_NOTE in note else "", "text": f"{name}: {note}."} for note in notes]
    doubt = facts["model"].get("range_doubt")
    return [*lines, *([{"mark": "unsure", "text": doubt}] if doubt else [])]


def map_glance(facts: dict[str, Any], cards: list[dict[str, Any]], name: str = "") -> list[dict[str, str]]:
    """Return lines (``mark``, ``text``) for the report's top: how many maps the source recognises, what share of samples a map moves.

    A targeting rate is the share of held-out samples, not already classified as the class, that subtracting the
    map moves to it.

    Args:
        facts: Content of ``run.json``.
        cards: The finished maps.
        name: What the source is called; by default its name in ``facts``.
    """
    units = [card for card in cards if card["concept"].unit]
    lines = _unit_glance(units) if units else []
    cards = [card for card in cards if not card["concept"].unit]
    if not cards:
        return lines
    total, held_out = len(cards), facts["samples"]["held_out"]
    what = "class" if all(card["concept"].is_class for card in cards) else "concept"
    if any(card["own"] and card["own"]["independent"] for card in cards):
        recognises = f"gives the {what} a probability above one half"
        all_classified = f"{recognises} for all {held_out} of them"
        classified = f"have a probability of the {what} above one half"
    else:
        recognises = f"recognises the {what}"
        all_classified = f"classifies all {held_out} of them as the {what}"
        classified = f"the network classifies as the {what}"
    rates = [rate for card in cards if (rate := card["map"]["targeting_rate"]) is not None]
    lines = [*_recognition_lines(name or facts["model"]["name"], recognises, cards), *lines]
    if unmoved := total - len(rates):
        text = (
            f"Targeting rate: for {count(unmoved, 'map')} there is no held-out sample to move, because the network "
            f"{all_classified} without the map. So it says little that it recognises the map."
        )
        lines.append({"mark": "unsure", "text": text})
    if rates:
        middle = median(rates)
        text = (
            f"Targeting rate: a map moves {percent(middle)} of held-out samples to its {what} (median of "
            f"{count(len(rates), 'map')}; of {count(held_out, 'held-out sample')}, those that {classified} "
            "without the map are left out), which it was optimised for on other samples. Adversarial patterns and "
            "triggers do that, too: it tells neither what a map means nor whether there is a backdoor."
        )
        few = held_out < FEW_HELD_OUT
        text += f" Of fewer than {FEW_HELD_OUT} samples, a share says little." if few else ""
        # Without a mark even if it is high: a network with a backdoor has high rates as well.
        lines.append({"mark": "unsure" if few or middle < 0.5 else "", "text": text})
    return lines


def _unit_glance(cards: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return a line (``mark``, ``text``) on ``cards`` of units or outputs: how many are beyond 99 % of samples, at their end."""
    above = sum(card["map"]["p_class"] > ACTIVE for card in cards)
    rates = [rate for card in cards if (rate := card["map"]["targeting_rate"]) is not None]
    if all(card["concept"].unit.is_output for card in cards):
        text = f"{above} of {count(len(cards), 'map of an output', 'maps of outputs')} take it beyond the 99th percentile of samples"
    else:
        text = f"{above} of {count(len(cards), 'map of a unit', 'maps of units')} activate it above the 99th percentile of samples"
    if rates:
        text += f"; subtracted, they take {percent(median(rates))} of held-out samples beyond it (median)"
    text += ". Maps are optimised for that: what it stands for has to be read from the images."
    return [{"mark": "", "text": text}]


def _recognition_lines(source: str, recognises: str, cards: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return lines (``mark``, ``text``) on how many of its maps a source recognises, one for contrasts and one for the others."""
    lines = []
    for are_contrasts in (False, True):
        group = [card for card in cards if bool(card["concept"].against) == are_contrasts]
        if not group:
            continue
        # Of old runs, only the confidence is known.
        right = sum(card["own"]["right"] if card["own"] else card["map"]["p_class"] >= 0.5 for card in group)
        if are_contrasts:
            maps = count(len(group), "map of a contrast", "maps of contrasts")
            text = f"Of the two sides, {source} prefers the left one in {right:,} of its {maps}; by chance it would be half."
        else:
            text = f"{source} {recognises} in {right:,} of its {count(len(group), 'map')}."
        moving = sum(card["map"]["targeting_rate"] is not None for card in group)
        # Few maps earn no tick, nor do those of a class that the network predicts without them, too.
        mark = "unsure" if right < 0.9 * len(group) else "good" if moving >= FEWEST else ""
        lines.append({"mark": mark, "text": f"{text} Maps are optimised for that."})
    return lines
