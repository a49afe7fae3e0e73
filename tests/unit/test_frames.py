"""Frames: as many as were asked for, the last one the finished map, and the map the same as without them."""

import io
import json
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import phosphene as ph
from phosphene.errors import ArgumentError, ConceptError, PhospheneWarning, RunError
from phosphene.mapper import FrameRecorder, Step, passes_per_map
from phosphene.recipe import Recipe
from phosphene.reports import write_report
from phosphene.reports.film import write_film
from phosphene.runs import RunDirectory
from phosphene.runs.frames import LAST_FRAME_MILLISECONDS, animation, frames_file, read_frames
from phosphene.samples import load_samples
from phosphene.workflows.map import execute
from phosphene.workflows.plan import plan
from tests import tiny
from tests.twice import assert_same_image, assert_same_map

LONG = Recipe(name="long", batch_size=2, steps=7, refine_steps=3, rounds=2)


def pool():
    return load_samples("synthetic:noise", (3, tiny.SIDE, tiny.SIDE))


def steps(total, recorder, first=1, seed=0):
    """Let a recorder watch steps ``first`` to ``total`` of two maps; return what the maps were in the end."""
    generator = torch.Generator().manual_seed(seed)
    nu = torch.zeros(2, 3, 8, 8)
    for number in range(first, total + 1):
        nu = nu + torch.randn(nu.shape, generator=generator)
        recorder(Step(number, total, 1.0, 0.0, nu))
    return nu


@pytest.mark.parametrize(
    ("total", "frames", "kept"), [(20, 5, 5), (20, 20, 20), (7, 3, 3), (4, 9, 4), (120, 24, 24), (9, 1, 1)]
)
def test_as_many_frames_as_asked_for_evenly_spaced_the_last_one_finished(total, frames, kept):
    recorder = FrameRecorder(frames, 0.2)
    nu = steps(total, recorder)
    assert [len(recorder.frames_of(row)) for row in (0, 1)] == [kept, kept]
    for row in (0, 1):
        last = ph.concept_map.to_image(ph.render(nu[row]))
        assert_same_image(recorder.frames_of(row)[-1], last)


def test_frames_that_are_equal_are_all_read_back(tmp_path):
    """The writer of WebP merges them."""
    images = [Image.new("RGB", (8, 8), (level, 90, 40)) for level in (0, 0, 200, 100, 100, 100)]
    (tmp_path / "frames.webp").write_bytes(frames_file(images))
    assert [one.getpixel((4, 4))[0] // 50 for one in read_frames(tmp_path)] == [0, 0, 4, 2, 2, 2]
    (tmp_path / "frames.webp").write_bytes(frames_file(images[:1]))
    assert len(read_frames(tmp_path)) == 1


def test_a_map_that_goes_on_brings_the_frames_that_were_to_come():
    recorder = FrameRecorder(10, 0.2)
    steps(20, recorder, first=11)
    assert len(recorder.frames_of(0)) == 5


def test_frames_do_not_change_the_map():
    maps = [ph.map_concepts(tiny.classifier(), [0, 4], recipe=LONG, samples=pool(), frames=n) for n in (0, 5)]
    for without, with_frames in zip(*maps, strict=True):
        assert_same_map(with_frames, without)
        assert with_frames.passes == passes_per_map(LONG)
        assert without.frames == ()
        assert len(with_frames.frames) == 5
        assert_same_image(with_frames.frames[-1], with_frames.image)
        assert not np.array_equal(np.asarray(with_frames.frames[0]), np.asarray(with_frames.image))


def test_recording_costs_next_to_nothing():
    """24 looks at a map of 96 x 96 and their file: a demo map takes 5 s of one core, so 0.15 s would be 3 %."""
    recorder = FrameRecorder(24, 0.2)
    nu = torch.randn(1, 3, 96, 96)
    began = time.process_time()
    for number in range(1, 121):
        recorder(Step(number, 120, 1.0, 0.0, nu))
    frames_file(recorder.frames_of(0))
    assert time.process_time() - began < 0.5  # generous: a shared machine


def test_a_negative_number_of_frames_is_refused():
    with pytest.raises(ArgumentError, match="frames is -1; it must be 0 or more"):
        ph.map_concepts(tiny.classifier(), [0], recipe=LONG, samples=pool(), frames=-1)


# --- in a run


@pytest.fixture
def filmed(tmp_path):
    """A run of three maps with frames."""
    todo = plan(tiny.classifier(), LONG, pool(), tmp_path / "run", [0, 1, 4], frames=5)
    execute(todo)
    return todo.run


def test_a_run_keeps_frames_beside_the_map(filmed):
    assert sorted(path.parent.parent.name for path in filmed.path.rglob("frames.webp")) == [
        "crane-1",
        "lion-0",
        "maillot-4",
    ]
    for one in filmed.maps():
        frames = filmed.frames(one)
        assert len(frames) == 5
        assert {frame.size for frame in frames} == {(tiny.SIDE, tiny.SIDE)}
        # WebP halves the resolution of colour, which noise of single pixels does not survive; brightness it keeps.
        last, image = (np.asarray(picture.convert("L"), float) for picture in (frames[-1], one.image))
        assert np.corrcoef(last.ravel(), image.ravel())[0, 1] > 0.8
    assert not list(filmed.path.rglob("*.part"))


def test_a_run_without_frames_has_no_file_and_the_same_map(filmed, tmp_path):
    todo = plan(tiny.classifier(), LONG, pool(), tmp_path / "plain", [0, 1, 4])
    execute(todo)
    assert not list(todo.run.path.rglob("frames.webp"))
    for place in ("lion-0", "crane-1", "maillot-4"):
        assert_same_map(*(run.read(run.path / "maps" / place / "seed-0") for run in (filmed, todo.run)))
    with pytest.raises(RunError, match=r"no frames.*--frames 24, or frames=24 in Python"):
        write_film(todo.run)


def test_a_damaged_film_is_named(filmed):
    (filmed.path / "maps" / "lion-0" / "seed-0" / "frames.webp").write_bytes(b"RIFF")
    one = next(filmed.maps())
    with pytest.raises(RunError, match=r"frames\.webp is damaged.*map itself is whole"):
        filmed.frames(one)


def test_large_frames_are_scaled_down_and_grey_ones_kept():
    large = [Image.new("L", (600, 300), tone) for tone in (10, 200)]
    with Image.open(io.BytesIO(frames_file(large))) as film:
        assert film.size == (256, 128)
        assert film.n_frames == 2


# --- films


def durations(path):
    with Image.open(path) as film:
        found = []
        for number in range(film.n_frames):
            film.seek(number)
            film.load()
            found.append(film.info["duration"])
        return film.format, film.info.get("loop"), film.size, found


@pytest.mark.parametrize(("suffix", "kind"), [(".webp", "WEBP"), (".gif", "GIF"), (".GIF", "GIF")])
def test_a_film_loops_and_holds_its_last_frame(filmed, tmp_path, suffix, kind):
    out = write_film(filmed, tmp_path / f"film{suffix}", fps=10)
    assert durations(out)[0] == kind
    _, loop, _, times = durations(out)
    assert loop == 0
    if kind == "GIF":
        assert times == [100] * 4 + [LAST_FRAME_MILLISECONDS]
    else:  # Pillow tells when a frame ends, not for how long it stands, where it reads durations from WebP
        assert len(times) == 5
        assert times[-1] == LAST_FRAME_MILLISECONDS


def test_a_film_of_some_concepts_is_smaller_and_goes_to_the_run_by_default(filmed):
    every = write_film(filmed)
    assert every == filmed.path / "film.webp"
    size = durations(every)[2]
    assert durations(write_film(filmed, concepts=["Panthera LEO"]))[2] != size
    assert durations(write_film(filmed, concepts=["4", "1"]))[2] != durations(write_film(filmed, concepts=["4"]))[2]


def test_films_of_different_length_end_together(filmed, tmp_path):
    (filmed.path / "maps" / "lion-0" / "seed-0" / "frames.webp").write_bytes(
        frames_file([Image.new("RGB", (16, 16))] * 1)
    )
    (filmed.path / "maps" / "crane-1" / "seed-0" / "frames.webp").unlink()
    with pytest.warns(PhospheneWarning, match="^1 of 3 maps have no frames, and the film leaves them out"):
        film = write_film(filmed, tmp_path / "film.gif")
    assert len(durations(film)[3]) == 5


def test_frames_of_maps_that_are_finished_are_not_asked_for_in_vain(tmp_path):
    execute(plan(tiny.classifier(), LONG, pool(), tmp_path / "run", [0, 1]))
    with pytest.warns(
        PhospheneWarning, match=r"^1 map was made without frames in .*run: make them anew in another directory"
    ):
        execute(plan(tiny.classifier(), LONG, pool(), tmp_path / "run", [1, 4], frames=5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        execute(plan(tiny.classifier(), LONG, pool(), tmp_path / "run", [4], frames=5))


def test_what_is_written_of_a_run_does_not_overwrite_its_own_files(filmed):
    write_report(filmed)
    frames = filmed.path / "maps" / "lion-0" / "seed-0" / "frames.webp"
    before = {path: path.read_bytes() for path in filmed.path.rglob("*") if path.is_file()}
    for write in (
        lambda: ph.compare(filmed.path, filmed.path, out=filmed.path / "report.html"),
        lambda: ph.compare(filmed.path, filmed.path, out=filmed.path / "maps" / "page.html"),
        lambda: ph.film(filmed.path, frames),
        lambda: ph.site(filmed.path, filmed.path / "maps" / "site", progress=False),
        lambda: ph.open_run(filmed.path)[:].grid().save(filmed.path / "sheet.png"),
    ):
        with pytest.raises(RunError, match=r"is among the files of the run .*run itself: choose another path\.$"):
            write()
    assert {path: path.read_bytes() for path in filmed.path.rglob("*") if path.is_file()} == before
    for _ in range(2):
        ph.compare(filmed.path, filmed.path, out=filmed.path / "compare.html")
    inner = filmed.path / "scans" / "inner"  # a run in the folder of another: its own files alone are refused
    inner.mkdir(parents=True)
    (inner / "run.json").write_text("{}")
    ph.compare(filmed.path, filmed.path, out=inner / "compare.html")


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"out": "film.mp4"}, RunError, r"\.webp or \.gif"),
        ({"fps": 0}, RunError, r"0\.5 to 50"),
        ({"fps": float("nan")}, RunError, r"0\.5 to 50"),
        ({"concepts": ["castle"]}, ConceptError, r"no map of 'castle': it has 0 \(lion\)"),
        ({"concepts": ["3"]}, ConceptError, r"no map of '3'"),
        ({"concepts": ["-1"]}, ConceptError, r"no map of '-1'"),
    ],
)
def test_what_cannot_be_filmed_is_refused(filmed, options, kind, says):
    with pytest.raises(kind, match=says):
        write_film(filmed, **options)
    assert not list(filmed.path.glob("film*"))


def test_frames_are_those_of_the_runs_own_maps(filmed):
    own = next(filmed.maps())
    for other in (replace(own), tiny.concept_map(own.index, own.seed), 0):
        with pytest.raises(RunError, match=r"is no map of .*: give one that was read from it"):
            filmed.frames(other)


def test_a_name_of_two_classes_is_refused_with_their_indices(filmed):
    note = filmed.path / "run.json"
    facts = json.loads(note.read_text(encoding="utf-8"))
    facts["jobs"].append({"index": 2, "label": "crane", "seed": 0})
    note.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(ConceptError, match=r"'crane' names 2 classes: write 'crane \(1\)' or 'crane \(2\)'"):
        write_film(filmed, concepts=["crane"])


def test_no_run_and_no_frames_are_errors(tmp_path):
    with pytest.raises(RunError, match="is not a run directory"):
        write_film(RunDirectory(tmp_path))
    with pytest.raises(ValueError, match="at least one"):
        animation([])


def test_the_command(call, card, tmp_path):
    out = tmp_path / "out"
    words = ["map", card.path, "--trust", "-c", 0, "--set=steps=6", "--set=refine_steps=0", "--set=batch_size=2"]
    assert call(*words, "--frames", 3, "--out", out).code == 0
    answer = call("film", out, "--out", tmp_path / "film.gif", "--json")
    assert json.loads(answer.out) == {"film": str(tmp_path / "film.gif"), "warnings": []}
    assert len(durations(tmp_path / "film.gif")[3]) == 3
    assert call(*words, "--out", tmp_path / "still").code == 0
    assert "--frames 24" in call("film", tmp_path / "still").complaint
    assert call(*words, "--frames", -1, "--out", out).code == 2
