"""A real browser for the tests: Debian's chromium through Playwright, and axe-core, which judges accessibility.

Neither is in this repository. Where one is missing a test is skipped; in CI it fails with the line that mends it,
unless .ci/run has tried to install it in vain, and says so.
"""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PATIENCE

AXE = "axe-core@4.14.1"
# Beside the tests' other caches; `make clean` removes it.
CACHE = Path(__file__).parent.parent.parent / ".pytest_cache" / "axe"
# Chromium must not call home while it is tested.
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


def lacking(what: str, fix: str) -> None:
    """Skip the test that needs ``what``; fail it in CI."""
    line = f"{what} is missing: {fix}"
    tried = os.environ.get("PHOSPHENE_NO_BROWSER")  # .ci/run could not install it
    if os.environ.get("CI") == "true" and not tried:
        pytest.fail(line)
    pytest.skip(line)


@pytest.fixture(scope="module")
def chromium() -> Iterator[object]:
    """A running chromium; for one module at a time, because Playwright's event loop keeps all others from running."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        lacking("chromium", "apt-get install -y chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("Playwright", "pip install playwright")
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def new_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open an empty page, whose ``asked`` lists what it requests; whatever the browser complains of fails the test."""
    contexts, complaints = [], []

    def new_page(*, scheme: str = "light", width: int = 1440, scripts: bool = True, offline: bool = False) -> Any:
        """Open a page in a context of its own."""
        size = {"width": width, "height": 900}
        context = chromium.new_context(color_scheme=scheme, viewport=size, java_script_enabled=scripts, offline=offline)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.on("console", lambda note: complaints.append(note.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.asked = []
        page.on("request", lambda request: page.asked.append(request.url))
        return page

    yield new_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, fetched once by `npm pack` into a cache that git ignores."""
    file = CACHE / AXE / "package" / "axe.min.js"
    if not file.exists():
        npm = shutil.which("npm")
        if npm is None:
            lacking("npm", "apt-get install -y npm")
        folder = tmp_path_factory.mktemp("axe")
        words = [str(npm), "pack", AXE, "--silent", "--pack-destination", str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
        if done.returncode:
            lacking(AXE, f"`npm pack {AXE}` must work ({done.stderr.strip().splitlines()[-1:]})")
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            archive.extract("package/axe.min.js", folder, filter="data")
        file.parent.mkdir(parents=True, exist_ok=True)
        whole = file.with_suffix(f".{os.getpid()}")  # several processes may fetch it at once
        shutil.copyfile(folder / "package" / "axe.min.js", whole)
        whole.replace(file)
    return file.read_text(encoding="utf-8")


def faults(page: object, axe: str) -> list[str]:
    """Return the serious and critical faults that axe-core finds on a page, as lines."""
    page.evaluate(axe)  # type: ignore[attr-defined]
    # A page's policy forbids what "preload" does: fetch its style sheets again.
    found = page.evaluate("() => axe.run(document, { preload: false })")  # type: ignore[attr-defined]
    assert len(found["passes"]) > 10, "axe-core has looked at nothing"
    return [
        f"{fault['id']}: {fault['help']}: {node['html'][:200]}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"][:3]
    ]
