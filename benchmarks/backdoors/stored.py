"""What the tables are made from, per network: `benchmarks/results/backdoor.json` holds it."""

from typing import Any

TRUTH = ("name", "data", "side", "family", "training", "kind", "mode", "trojaned", "target", "accuracy", "success")
SCAN = ("verdict", "p_value", "figure", "first", "core_seconds")
SUSPECT = ("index", "works", "success", "additive", "overlap")
EASIEST = 2  # pairs of classes
DIGITS = 6  # of p-values and shares; figures are kept whole, since they are ranked


def stored(one: dict[str, Any], variants: tuple[str, ...]) -> dict[str, Any]:
    """Return of a network's record what the tables need."""
    truth = {name: one["truth"][name] for name in TRUTH}
    single = bool(one["truth"]["sources"])
    if single:
        truth["sources"] = one["truth"]["sources"]
    scans = {name: one[name] and of_scan(one[name], pairs=single) for name in variants}
    asked = one["baselines"] and {name: answer for name, answer in one["baselines"].items() if name != "name"}
    return {"truth": truth, **scans, "baselines": asked}


def of_scan(found: dict[str, Any], *, pairs: bool) -> dict[str, Any]:
    """Return of a scan's line what the tables need, and how the figure of the first class is made up.

    The targets of an all-to-all window are left out where it does not work, and pairs of classes where none is planted.
    """
    short: dict[str, Any] = {name: found[name] for name in SCAN}
    short["p_value"] = round(found["p_value"], DIGITS)
    short["deviations"] = found["classes"][str(found["first"])]
    short["classes"] = len(found["classes"])
    short["suspects"] = [
        {name: suspect[name] for name in SUSPECT} | {"success": round(suspect["success"], DIGITS)}
        for suspect in found["suspects"]
    ]
    if pairs:
        short["easiest"] = found["easiest"][:EASIEST]
    exchange = found["all_to_all"]
    if exchange is not None:
        exchange = {"figure": round(exchange["figure"], DIGITS), "works": exchange["works"]}
        if exchange["works"]:
            exchange["targets"] = found["all_to_all"]["targets"]
    short["all_to_all"] = exchange
    if found.get("anywhere") is not None:
        short["anywhere"] = found["anywhere"]
    return short
