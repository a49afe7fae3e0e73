"""The commands of a page of docs/ as a reader gives them, with output and seconds: `python -m benchmarks.pages tutorial`.

They run in an empty folder, or in `--into FOLDER`, which stays. `--figures` makes the figures of the page afterwards, from
what it wrote there: images as they are, and screenshots by chromium.
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from benchmarks.common import FIGURES, hardware

BLOCK = re.compile(r"^```(sh|python|toml|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# The first line of a block that is a file, which is written and not run
FILE = re.compile(r"# ([\w.]+\.(?:py|toml))\n")
# A command that is not run: it downloads a network, or does not end
ELSEWHERE = re.compile(r"phosphene serve|(torchvision|timm|hf):")
# Figure, whose name begins with its page -> the file of the page that it shows, and how many times as large
IMAGES = {
    "tutorial-first": ("runs/first/sheet.png", 1),
    "tutorial-grid": ("grid.png", 1),
    "tutorial-scan": ("runs/scan/scan/heart-6/pasted.png", 2),
    "tutorial-contrast": ("runs/contrast/sheet.png", 1),
    "concepts-pair": ("runs/pair/sheet.png", 1),
    "concepts-confused": ("runs/confused/sheet.png", 1),
    "concepts-texts": ("runs/text/sheet.png", 1),
    "concepts-union": ("runs/union/sheet.png", 1),
    "concepts-channels": ("runs/units/sheet.png", 1),
    "concepts-direction": ("direction.png", 1),
}
# Figure -> the page that it is a screenshot of, 1,000 pixels wide, and its height
SCREENSHOTS = {"tutorial-report": ("runs/first/report.html", 1240), "tutorial-compare": ("compare.html", 620)}


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the kind and the text of every block of a page: shell, Python, TOML, and text, which is output."""
    return BLOCK.findall(page)


def commands(block: str) -> list[str]:
    """Return the commands of phosphene in a shell block; those that download a network, or do not end, are left out."""
    lines = block.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("phosphene") and not ELSEWHERE.search(line)]


def run(page: str) -> None:
    """Run the blocks of a page in the working directory, and print output, exit codes and seconds."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    names: dict[str, object] = {}
    for kind, block in blocks(page):
        if name := FILE.match(block):
            Path(name[1]).write_text(block, encoding="utf-8")
            continue
        for command in commands(block) if kind == "sh" else [block] if kind == "python" else []:
            print(f"\n$ {command}", flush=True)
            began = time.perf_counter()
            if kind == "sh":
                code = subprocess.run(
                    ["sh", "-c", command], env=os.environ | {"PATH": path}, stderr=subprocess.STDOUT, check=False
                ).returncode
                print(f"-> exit code {code}", flush=True)
            else:
                exec(compile(block, "page", "exec"), names)  # noqa: S102  (our own page)
            print(f"-> {time.perf_counter() - began:.0f} s", flush=True)


def write_figures(page_name: str, folder: Path) -> None:
    """Write the figures of a page from the files that it made in a folder."""
    for name, (file, scale) in IMAGES.items():
        if not name.startswith(page_name):
            continue
        with Image.open(folder / file) as image:
            larger = image.convert("RGB").resize((scale * image.width, scale * image.height), Image.Resampling.NEAREST)
        larger.save(FIGURES / f"{name}.webp", quality=90, method=6)
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as tool:
        chromium = tool.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for name, (file, height) in SCREENSHOTS.items():
            if not name.startswith(page_name):
                continue
            page = chromium.new_page(viewport={"width": 1000, "height": height}, color_scheme="light")
            page.goto((folder / file).resolve().as_uri())
            shot = folder / f"{name}.png"
            page.screenshot(path=shot)
            with Image.open(shot) as image:
                image.convert("RGB").save(FIGURES / f"{name}.webp", quality=85, method=6)


def main() -> None:
    """Run a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", help="tutorial, howto/audit ...")
    parser.add_argument("--into", type=Path, help="the folder to run in; by default a temporary one")
    parser.add_argument("--figures", action="store_true", help="write the page's figures afterwards")
    given = parser.parse_args()
    print(hardware())
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.into or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        page = (FIGURES.parent / f"{given.page}.md").read_text(encoding="utf-8")
        with contextlib.chdir(folder):
            sys.path.insert(0, str(Path.cwd()))  # for modules that the page writes
            run(page)
        if given.figures:
            write_figures(given.page, folder)


if __name__ == "__main__":
    main()
