"""How much maps depend on the network, with or without an image: `python -m benchmarks.maps.weak_dependence`.

15 to 20 minutes on 2 idle cores; needs the extras `compare` and `checks`. Parts:

- explain: Captum's methods and two controls; 10 images, 3 networks, 5 depths of randomisation (about 3 minutes)
- map: our maps, two recipes with 480 passes per map; 5 classes, the same networks and depths (about 11 minutes)
- compare: similarities, shares and predictions (about 3 minutes)
- page: the tables and figures of docs/weak-dependence.md, from the result of compare (seconds)

Every map is cached below runs/weak-dependence/ under the hash of everything that determines it, so that a stopped
benchmark continues where it was. `--demo` does the same on the drawn world, in a minute or two.
"""

import argparse
import json
import sys
import time

from benchmarks.common import RESULTS, write_result
from benchmarks.maps.weak_dependence.compare import compare
from benchmarks.maps.weak_dependence.maps import concept_maps, image_maps
from benchmarks.maps.weak_dependence.setting import demo, zoo

NAME = "weak_dependence"
PARTS = ("explain", "map", "compare", "page")


def main() -> None:
    """Make the maps that are missing, compare them, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, nargs="*", default=PARTS)
    parser.add_argument(
        "--steps", type=int, default=30, help="of plain vivid; quick takes 7/10 of them and 3/10 of Eq. 2"
    )
    parser.add_argument("--demo", action="store_true", help="the drawn world, small")
    arguments = parser.parse_args()
    setting = (demo if arguments.demo else zoo)(arguments.steps)
    result = setting.folder / "compared.json" if arguments.demo else RESULTS / f"{NAME}.json"
    for part in arguments.part:
        began = time.perf_counter()
        if part == "explain":
            image_maps(setting)
        elif part == "map":
            concept_maps(setting)
        elif part == "compare" and arguments.demo:
            result.write_text(json.dumps(compare(setting), indent=1) + "\n")
        elif part == "compare":
            write_result(NAME, compare(setting))
        else:
            from benchmarks.maps.weak_dependence.page import write  # noqa: PLC0415  (needs matplotlib)

            write(json.loads(result.read_text()), setting.page, setting.figures)
        print(f"{part}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
