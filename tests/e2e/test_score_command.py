"""``phosphene score`` as a user calls it: two runs of the drawn world, two targets, and every way to be refused."""

import json
import os
import re
import shutil
import subprocess

import pytest
import torch

import phosphene as ph
from phosphene.formats import percent
from phosphene.recipe import resolve
from phosphene.runs import RunDirectory
from phosphene.samples import load_samples
from phosphene.samples.pool import make_pool
from phosphene.workflows.map import execute
from phosphene.workflows.plan import plan
from tests import tiny
from tests.conftest import PATIENCE, command
from tests.files import contents
from tests.reference import paper

CONCEPTS = ["star", "spiral", "stripes"]
FEW = {"batch_size": 4, "steps": 4, "refine_steps": 2, "rounds": 1}
TITLE = "How other classifiers classify these maps"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs on the drawn world: three concepts, two seeds, a recipe that costs nothing."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("shapes", "shapes-plain"):
        classifier = ph.load(f"demo:{name}")
        pool = load_samples("synthetic:pink", classifier.input.shape)
        execute(plan(classifier, resolve("quick", FEW), pool, folder / name, CONCEPTS, range(2), device="cpu"))
    return folder


@pytest.fixture
def runs(made, tmp_path):
    """A copy of both runs that a test may spoil."""
    return [shutil.copytree(made / name, tmp_path / name) for name in ("shapes", "shapes-plain")]


def rows(run):
    return json.loads((run / "scores.json").read_text(encoding="utf-8"))["rows"]


def targets(run):
    return [row["target"] for row in rows(run)]


def report(run):
    return (run / "report.html").read_text(encoding="utf-8")


def logits_by_hand(run, spec):
    """Answers of a demo network to the pictures of a run, all 96 x 96, without the library's own reading."""
    target, maps = ph.load(spec), list(RunDirectory(run).maps())
    deviation = torch.stack([one.nu.std(correction=0) for one in maps])[:, None, None, None]
    pictures = (0.5 - 0.2 * torch.stack([one.nu for one in maps]) / deviation).clamp(0, 1)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (target.input.mean, target.input.std))
    with torch.no_grad():
        return target.module.eval()((pictures - mean) / std), [one.index for one in maps]


def test_two_runs_by_two_targets(runs, call):
    specs = ["demo:shapes", "demo:shapes-plain"]
    answer = call("score", *runs, "--target", specs[0], "--target", specs[1], "--device", "cpu")
    assert answer.code == 0, answer.err
    scored = [line for line in answer.err.splitlines() if line.startswith("score ")]
    assert "score 2 of 4: shapes on maps by shapes-plain (quick with changes)" in scored
    assert "score 3 of 4: shapes-plain on maps by shapes (quick with changes)" in scored
    assert "\x1b" not in answer.out + answer.err
    for run in runs:
        found = rows(run)
        assert [row["target_spec"] for row in found] == specs
        for row in found:
            wanted, truth = logits_by_hand(run, row["target_spec"])
            concepts = sorted(set(truth))
            assert row["m_score"] == pytest.approx(paper.m_score(wanted.double(), concepts), abs=1e-5)
            assert row["top1_all"] == (wanted.argmax(1) == torch.tensor(truth)).double().mean()
            among = torch.tensor(concepts)[wanted[:, concepts].argmax(1)]
            assert row["top1_concepts"] == (among == torch.tensor(truth)).double().mean()
            low, high = row["interval"]
            assert 1 / 3 <= low <= row["m_score"] <= high <= 1
            assert (row["source"], row["maps"], row["concepts"]) == (run.name, 6, 3)
            assert (row["recipe"], row["target_sha256"]) == ("quick with changes", ph.load(row["target_spec"]).sha256)
            assert [point["contrast"] for point in row["contrast_sweep"]] == [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4]
            assert sum(one["maps"] for one in row["per_concept"]) == 6
            shown = f"{row['m_score']:.2f} [{low:.2f}, {high:.2f}]"
            assert shown in answer.out
            share = row["top1_all_interval"]
            assert f"{percent(row['top1_all'])} [{100 * share[0]:.0f}, {100 * share[1]:.0f}]" in answer.out
        assert TITLE in report(run)
        assert f"open {run / 'report.html'}" in answer.out
    # A line a source, a column a target, in the order in which they were given.
    head, _, *lines = [line for line in answer.out.splitlines() if line.strip()]
    assert head.split() == ["maps", "of", "measure", "shapes", "shapes-plain"]
    assert lines[0].split()[:2] == ["shapes", "M_score"]
    assert lines[1].startswith(" quick") or lines[1].startswith("quick")
    assert lines[3].split()[:2] == ["shapes-plain", "M_score"]
    assert [float(value) for value in re.findall(r"(\d\.\d\d) \[", lines[0])] == [
        round(row["m_score"], 2) for row in rows(runs[0])
    ]


def test_on_a_narrow_terminal_figures_stand_beside_their_measure(runs, call, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich then writes as to a terminal, of this width
    monkeypatch.setenv("COLUMNS", "58")
    answer = call("score", runs[0], "--target", "demo:shapes", "--target", "demo:shapes-plain")
    assert answer.code == 0, answer.err
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in answer.out.splitlines()]
    (beside,) = (line for line in lines if "top-1, the" in line)
    assert "concepts" not in beside, "the measure's name fits: the test shows nothing"
    assert all(percent(row["top1_concepts"]) in beside for row in rows(runs[0])), lines


@pytest.mark.filterwarnings("default")
@pytest.mark.filterwarnings("default")
def test_scores_of_a_run_that_has_grown_stay_and_say_what_they_are_of(tmp_path, call):
    run, settings = tmp_path / "run", [f"--set={field}={value}" for field, value in FEW.items()]
    words = ["map", "demo:shapes", "--recipe", "quick", *settings, "--samples", "synthetic:pink", "--out", run]
    assert call(*words, "-c", "star").code == 0
    assert call("score", run, "--target", "demo:shapes-plain").code == 0
    for more, maps in ((["-c", "heart"], 2), (["-c", "star", "--seeds", 2], 3)):
        answer = call(*words, *more)
        command = "`phosphene score run --target demo:shapes-plain`"
        note = f"The scores are of 1 of {maps} maps in this run: {command} scores all of them."
        assert f"phosphene: warning: {note}" in answer.err
        page = report(run)
        assert f"{note}" in page
        assert TITLE in page
        assert "The images of 1 map of 1 concept" in page
        assert "shapes-plain classifies" in page
    assert call("score", run, "--target", "demo:shapes-plain").code == 0
    assert "scores all of them" not in report(run)
    assert [row["maps"] for row in rows(run)] == [3]


@pytest.mark.parametrize(("option", "measure"), [("--min-top1", "top1_all"), ("--min-m-score", "m_score")])
def test_a_target_below_the_minimum_gives_a_code_of_its_own_and_the_results_are_there(runs, call, option, measure):
    words = ["score", runs[1], "--target", "demo:shapes-plain", "--target", "demo:shapes-vit", "--device", "cpu"]
    plain = call(*words)
    best, worst = (row[measure] for row in rows(runs[1]))
    assert best > worst + 0.1
    reached = call(*words, option, worst - 0.01)
    assert (reached.code, reached.out) == (0, plain.out)
    (runs[1] / "scores.json").unlink()
    short = call(*words, option, worst + 0.01)
    assert (short.code, short.out) == (4, plain.out)
    assert targets(runs[1]) == ["shapes-plain", "shapes-vit"]
    line = short.err.splitlines()[-1]
    assert [one for one in short.err.splitlines() if one.startswith("phosphene: ")] == [line]
    assert line.startswith("phosphene: fell short: ")
    assert "shapes-vit" in line
    assert "shapes-plain recognises" not in line
    assert "M_score of shapes-plain" not in line
    as_json = call(*words, option, worst + 0.01, "--json")
    assert as_json.code == 4
    assert len(json.loads(as_json.out)["scores"]) == 2


@pytest.mark.parametrize("share", ["80", "80%", "-0.1", "nan", "most"])
def test_a_minimum_that_is_no_share_is_refused_before_any_work(runs, call, share):
    before = contents(runs[0])
    line = call("score", runs[0], "--target", "demo:shapes", "--min-top1", share).complaint
    assert line.endswith(f"{share} is no share: give a number from 0 to 1, such as 0.8.")
    assert contents(runs[0]) == before


def test_misread_concepts_are_named(runs, call):
    answer = call("score", *runs, "--target", "demo:shapes-trojan")
    for run in runs:
        wrong = [one for one in rows(run)[0]["per_concept"] if one["misread"]]
        if wrong:
            said = f"shapes-trojan misclassifies {len(wrong)} of 3 concepts of {run.name}, quick with changes: "
            assert said in answer.out
            for one in wrong:
                first = one["misread"][0]
                assert f"{one['label']} as {first['label']} ({first['count']} of 2)" in answer.out
    assert "misclassifies" in answer.out


def test_json_is_one_document(runs, call):
    answer = call("score", runs[0], "--target", "demo:shapes", "--json")
    document = json.loads(answer.out)
    assert answer.err == ""
    assert [row["run"] for row in document["scores"]] == [str(runs[0])]
    assert document["reports"] == [str(runs[0] / "report.html")]
    assert {key: value for key, value in document["scores"][0].items() if key != "run"} == rows(runs[0])[0]


def test_without_a_target_the_models_of_the_runs_read_each_other(runs, call):
    assert call("score", runs[0]).code == 0
    assert targets(runs[0]) == ["shapes"]
    assert call("score", *runs).code == 0
    assert [targets(run) for run in runs] == [["shapes", "shapes-plain"]] * 2


def test_a_target_and_a_run_that_are_given_twice_count_once(runs, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cards = [tiny.make_card(tmp_path / "card").path, "card/tiny.toml"]
    pool = make_pool((torch.rand(6, 3, 16, 16) * 255).byte(), "noise")
    execute(plan(tiny.classifier(), resolve("quick", FEW), pool, "tiny", [0, 3], device="cpu"))
    answer = call("score", "tiny", tmp_path / "tiny", "--trust", *[f"--target={card}" for card in cards])
    assert answer.code == 0, answer.err
    assert len(rows(tmp_path / "tiny")) == 1
    assert [line for line in answer.err.splitlines() if line.startswith("score ")] == ["score 1 of 1: tiny"]
    assert "Without --target" not in answer.err


def test_without_targets_it_says_that_the_models_of_the_runs_are_the_targets(runs, call):
    answer = call("score", runs[0], "--device", "cpu")
    assert answer.code == 0, answer.err
    assert "Without --target, the models of the runs are the targets" in answer.err
    low, high = (f"{end:.2f}" for end in rows(runs[0])[0]["interval"])
    assert ("without width" in answer.err) == (low == high)


@pytest.mark.filterwarnings("default")
def test_rows_are_merged_replaced_and_dropped(runs, call):
    run = runs[0]
    call("score", run, "--target", "demo:shapes")
    call("score", run, "--target", "demo:shapes-plain")
    assert sorted(targets(run)) == ["shapes", "shapes-plain"]
    data = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    true = {row["target"]: row["m_score"] for row in data["rows"]}
    for row in data["rows"]:
        row["m_score"] = 0.123
    (run / "scores.json").write_text(json.dumps(data), encoding="utf-8")
    call("score", run, "--target", "demo:shapes")
    assert {row["target"]: row["m_score"] for row in rows(run)} == {"shapes": true["shapes"], "shapes-plain": 0.123}

    settings = [f"--set={field}={value}" for field, value in FEW.items()]
    more = ["map", "demo:shapes", "-c", "ring", "--recipe", "quick", *settings, "--samples", "synthetic:pink"]
    assert TITLE in report(run)
    assert call(*more, "--device", "cpu", "--out", run).code == 0
    assert "scores all of them" in report(run)
    assert call("score", run, "--target", "demo:shapes-plain").code == 0
    assert targets(run) == ["shapes-plain"]
    assert rows(run)[0]["maps"] == 7
    assert TITLE in report(run)


def test_a_target_of_another_size_and_other_labels(runs, call, tmp_path):
    """A card of the same network at 64 pixels whose labels stand in another order, in capitals, with synonyms."""
    labels = list(ph.load("demo:shapes").labels)
    (tmp_path / "nets.py").write_text(
        "import torch\nimport phosphene as ph\n\n\n"
        "class Turned(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.net = ph.load('demo:shapes').module\n\n"
        "    def forward(self, pixels):\n        return self.net(pixels).flip(1)\n",
        encoding="utf-8",
    )
    (tmp_path / "labels.txt").write_text(
        "\n".join(f"{label.upper()} , thing {number}" for number, label in enumerate(reversed(labels))),
        encoding="utf-8",
    )
    space = ph.load("demo:shapes").input
    (tmp_path / "turned.toml").write_text(
        'name = "turned"\nfactory = "nets.py:Turned"\nlabels = "labels.txt"\n'
        f"[input]\nsize = [64, 80]\nmean = {list(space.mean)}\nstd = {list(space.std)}\n",
        encoding="utf-8",
    )
    answer = call("score", runs[0], "--trust", "--target", tmp_path / "turned.toml", "--device", "cpu")
    assert answer.code == 0, answer.err
    (row,) = rows(runs[0])
    maps = list(RunDirectory(runs[0]).maps())
    resized = ph.Classifier(ph.load("demo:shapes").module, size=(64, 80), mean=space.mean, std=space.std, labels=labels)
    (wanted,) = ph.score(maps, resized, device="cpu")
    assert row["m_score"] == pytest.approx(wanted.m_score)
    assert row["top1_all"] == wanted.top1_all
    for one in row["per_concept"]:
        assert one["target_index"] == len(labels) - 1 - one["index"]


HOSTILE = "\x1b[2J\x1b]0;owned\x07[bold red]<script>alert(1)</script>\u202e{number}\x9b31m"


def test_hostile_names_and_labels_reach_neither_terminal_nor_page(call, tmp_path):
    labels = [HOSTILE.replace("{number}", str(number)) for number in range(5)]
    card = tiny.make_card(tmp_path / "card", seed=3).write(labels="labels.json", name="net" + HOSTILE)
    (card.folder / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    run, pool = tmp_path / "run", make_pool((torch.rand(6, 3, 16, 16) * 255).byte(), "noise")
    source = tiny.classifier(labels=labels, name="source" + HOSTILE)
    execute(plan(source, resolve("quick", FEW), pool, run, None, device="cpu"))
    answer = call("score", run, "--trust", "--target", card.path)
    assert answer.code == 0, answer.err
    assert "misclassifies" in answer.out
    for line in (answer.out.splitlines()[1], answer.out.splitlines()[3]):  # shown as it is, less what a terminal obeys
        assert "[bold red]<script>" in line
    (card.folder / "labels.json").write_text(json.dumps(["x" + label for label in labels]), encoding="utf-8")
    refusal = call("score", run, "--trust", "--target", card.path)
    assert "no class of their own" in refusal.complaint
    for sign in ("\x1b", "\x07", "\x9b", "\u202e"):
        assert sign not in answer.out + answer.err + refusal.err
    assert report(run).count("<script") == 1  # ours


def test_a_closed_pipe_is_exit_code_141_without_a_traceback(runs):
    read, write = os.pipe()
    os.close(read)
    words = command("score", runs[0], "--target", "demo:shapes")
    done = subprocess.run(words, stdout=write, stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE)
    os.close(write)
    assert done.returncode == 141
    assert done.stderr.splitlines()[-1] == "score 1 of 1: shapes"  # a slow machine prints more progress before
    assert "Traceback" not in done.stderr


def test_help_says_what_is_read_when_no_target_is_named(call):
    answer = call("score", "--help")
    assert "the models of the runs themselves" in " ".join(answer.out.split())
    assert re.search(r"^  score +Score how well", call("--help").out, re.MULTILINE)


# --- bad input: one line, exit code 2, nothing written


@pytest.fixture
def refused(call, runs, tmp_path):
    """Score with the given words and return the one line that refuses it; nothing may be written."""

    def refused(*words):
        before = contents(tmp_path)
        answer = call("score", *words, "--device", "cpu")
        assert contents(tmp_path) == before
        return answer.complaint

    return refused


def edit(path, **changes):
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(data | changes), encoding="utf-8")


def test_no_run_and_what_is_no_run(refused, tmp_path):
    assert "RUN" in refused()
    assert "is not a run directory" in refused(tmp_path / "none")
    assert "is not a run directory" in refused(tmp_path)


def test_a_run_without_maps(refused, runs):
    edit(runs[0] / "run.json", jobs=[])
    assert f"{runs[0]} has no maps: run `phosphene map` first" in refused(runs[0])


def test_unfinished_maps_are_counted(refused, runs):
    for seed in (0, 1):
        (runs[0] / "maps" / "star-0" / f"seed-{seed}" / "map.json").unlink()
    line = refused(*runs)
    assert f"2 of 6 maps of {runs[0]} are not finished" in line
    assert "`phosphene map` command once more" in line


def test_damaged_maps(refused, runs):
    file = runs[1] / "maps" / "star-0" / "seed-1" / "map.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    assert "map.safetensors is damaged" in refused(*runs)
    file.unlink()
    assert "seed-1 is damaged" in refused(*runs)


def test_damaged_scores(refused, runs):
    (runs[1] / "scores.json").write_text("{", encoding="utf-8")
    line = refused(*runs, "--target", "demo:shapes")
    assert "scores.json is damaged" in line
    assert "Delete it and score again" in line


def test_one_concept_has_top_1_and_no_m_score(call, tmp_path):
    settings = [f"--set={field}={value}" for field, value in FEW.items()]
    words = ["map", "demo:shapes", "-c", "star", "--seeds", 2, "--recipe", "quick", *settings]
    assert call(*words, "--samples", "synthetic:pink", "--out", tmp_path / "one").code == 0
    answer = call("score", tmp_path / "one", "--target", "demo:shapes-plain")
    assert answer.code == 0, answer.err
    table = answer.out.splitlines()
    assert next(line for line in table if "M_score" in line).split() == ["shapes", "M_score", "-"]
    assert any("top-1, all classes" in line for line in table)
    assert "the 1 concepts" not in answer.out
    assert "M_score tells concepts apart, and all these maps are of one: map another." in answer.err
    assert "there is no M<sub>score</sub>" in (tmp_path / "one" / "report.html").read_text(encoding="utf-8")


def test_a_target_with_other_labels(refused, runs, card):
    line = refused(*runs, "--target", "demo:shapes", "--trust", "--target", card.path)
    assert "3 of 3 concepts have no class of their own in tiny: 'star', 'spiral', 'stripes'" in line
    assert "labels" in line


def test_a_label_file_of_the_wrong_length(refused, runs, card):
    (card.folder / "labels.txt").write_text("\n".join(CONCEPTS), encoding="utf-8")
    assert "5 classes, and labels were given for 3" in refused(runs[0], "--trust", "--target", card.path)


def test_a_target_of_other_channels(refused, runs, card):
    (card.folder / "labels.txt").write_text("\n".join([*CONCEPTS, "a", "b"]), encoding="utf-8")
    text = (card.folder / "nets.py").read_text(encoding="utf-8")
    (card.folder / "nets.py").write_text(text.replace("nn.Conv2d(3,", "nn.Conv2d(1,"), encoding="utf-8")
    state = card.state()
    card.weigh(state | {"0.weight": state["0.weight"][:, :1]})
    card.write(input={"size": [16, 16], "mean": [0.5], "std": [0.25]})
    assert "tiny takes images of 1 channel(s), the maps have 3" in refused(runs[0], "--trust", "--target", card.path)


def test_classes_known_by_number_alone(refused, call, card, sample_folder, tmp_path):
    """Two networks without labels: the numbers mean something only where there are as many."""
    card.write(labels=None)
    settings = [f"--set={field}={value}" for field, value in FEW.items()]
    words = ["map", card.path, "--trust", "-c", 0, "-c", 1, "--recipe", "quick", *settings, "--samples", sample_folder]
    assert call(*words, "--out", tmp_path / "run").code == 0
    assert call("score", tmp_path / "run", "--trust").code == 0
    other = tiny.make_card(tmp_path / "other")
    text = (other.folder / "nets.py").read_text(encoding="utf-8")
    (other.folder / "nets.py").write_text(text.replace("nn.Linear(8, 5)", "nn.Linear(8, 7)"), encoding="utf-8")
    other.write(labels=None, weights=None, name="wider")
    line = refused(tmp_path / "run", "--trust", "--target", other.path)
    assert "tiny and wider number their classes without names, 5 and 7 of them" in line


def test_the_own_model_that_has_changed(refused, call, card, sample_folder, tmp_path):
    settings = [f"--set={field}={value}" for field, value in FEW.items()]
    words = ["map", card.path, "--trust", "-c", 0, "-c", 3, "--recipe", "quick", *settings, "--samples", sample_folder]
    assert call(*words, "--out", tmp_path / "run").code == 0
    card.weigh(tiny.network(9).state_dict())
    line = refused(tmp_path / "run", "--trust")
    assert re.search(
        rf"tiny.toml has other weights .* the maps of {tmp_path / 'run'} .* another model \(--target, or targets= in Python\)",
        line,
    )
    assert "--trust" in refused(tmp_path / "run")
    assert call("score", tmp_path / "run", "--trust", "--target", card.path).code == 0  # named, it is a target as any


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--target", "demo:shape"], "Did you mean shapes"),
        (["--target", "nosuch"], "there is no model 'nosuch'"),
        (["--target", "none.toml"], "none.toml does not exist"),
        (["--target"], "--target"),
        (["--device", "tpu"], "device"),
        (["--nosuch"], "--nosuch"),
    ],
)
def test_the_command_line(call, runs, words, says):
    line = call("score", runs[0], *words).complaint
    assert says in line
    assert not (runs[0] / "scores.json").exists()


def test_a_target_that_answers_with_nan_leaves_the_rows_that_were_there(call, runs, card):
    (card.folder / "labels.txt").write_text("\n".join([*CONCEPTS, "a", "b"]), encoding="utf-8")
    state = card.state()
    state["7.bias"][2] = float("nan")
    card.weigh(state)
    words = ["score", runs[0], "--trust", "--target", "demo:shapes", "--target", card.path]
    assert "network tiny returns NaN or infinity" in call(*words).complaint_after_progress
    assert targets(runs[0]) == ["shapes"]
