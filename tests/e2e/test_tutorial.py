"""The tutorial is true: its commands and its Python run in order, in one folder, shortened only in steps."""

import re
import shlex
from pathlib import Path

from tests.contract.test_docs import DOCS, text_of

TUTORIAL = DOCS / "tutorial.md"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
STEPS = "4"


def test_the_tutorial_runs_as_it_stands(call, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    text, shortened = re.subn(r'(--set steps=|"steps": )\d+', rf"\g<1>{STEPS}", text_of(TUTORIAL))
    assert shortened >= 3  # and nothing else is changed
    kinds = []
    for kind, block in BLOCK.findall(text):
        kinds.append(kind)
        if kind == "python":
            exec(compile(block, TUTORIAL.name, "exec"), {})  # noqa: S102  (our own page)
            printed = capfd.readouterr().out.split()
            assert printed[0] == "star"
            assert 0 <= float(printed[-1]) <= 1
            continue
        for line in block.splitlines():
            program, *words = shlex.split(line)
            assert program == "phosphene"
            answer = call(*words)
            assert answer.code == 0, (line, answer.err)
    assert kinds.count("sh") >= 3
    assert kinds.count("python") == 1
    named = re.findall(r"`((?:runs/)?[\w/]+\.html)`", text)
    assert "runs/first/report.html" in named
    for page in [*named, "first.png"]:
        assert (tmp_path / page).stat().st_size > 500, page
    assert sorted(path.name for path in Path("runs").iterdir()) == ["first", "pair"]
