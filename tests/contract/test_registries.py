"""What every registered recipe, source, kind of samples and command must do. New entries are covered as they come."""

import dataclasses
import importlib
import inspect
import json
import tarfile

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from phosphene import samples, sources
from phosphene.classifier import Classifier
from phosphene.cli import COMMANDS
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.errors import PhospheneError
from phosphene.mapper import map_jobs, passes_per_map
from phosphene.recipe import DEFAULT_RECIPE, RECIPES, Recipe, resolve
from phosphene.samples import load_samples, tar
from phosphene.samples.synthetic import KINDS
from tests import tiny
from tests.twice import ROOM, distance

# --- recipes


@pytest.mark.parametrize("name", list(RECIPES))
class TestRecipes:
    def test_is_described_and_named_as_it_is_registered(self, name):
        recipe = RECIPES[name]
        assert recipe.description
        assert "\n" not in recipe.description
        assert recipe.replace(contrast=0.1).description == ""
        assert recipe.name == name
        assert resolve(name) is recipe or resolve(name) == recipe

    def test_survives_toml(self, name, tmp_path):
        (tmp_path / "own.toml").write_text(resolve(name).to_toml(), encoding="utf-8")
        assert resolve(tmp_path / "own.toml") == resolve(name)

    @pytest.mark.parametrize("refine_steps", [0, 2])
    def test_maps_a_tiny_network_within_its_ball_and_counts_its_passes(self, name, refine_steps):
        small = {"steps": 2, "refine_steps": refine_steps, "rounds": 2, "radius": 0.5}  # every step leaves this ball
        recipe = resolve(name, small | {"batch_size": 2})
        classifier = tiny.classifier()
        with Engine(classifier, device="cpu") as engine:
            pool = load_samples("synthetic:mixed", classifier.input.shape)
            first, second = map_jobs(engine, pool, [Job(0), Job(4)], recipe)
            again = map_jobs(engine, pool, [Job(4)], recipe)[0]
        for one in (first, second):
            assert one.nu.isfinite().all()
            assert one.nu.abs().max() > 0
            assert one.nu.norm() <= recipe.radius_for((3, 16, 16)) * (1 + 1e-5)
            assert one.xi.shape == (1, 16, 16)
            assert one.recipe_sha256 == recipe.sha256
            assert one.passes == passes_per_map(recipe, pool)
            assert len(one.loss) == 2 * (2 + refine_steps)
        assert distance(first.nu, second.nu) > 0.1
        assert distance(again.nu, second.nu) < ROOM  # other jobs of the group change nothing


def test_recipes_differ_and_the_default_is_one_of_them():
    assert len({recipe.sha256 for recipe in RECIPES.values()}) == len(RECIPES)
    assert DEFAULT_RECIPE in RECIPES
    assert RECIPES["paper"] == Recipe()


# --- sources


@pytest.mark.parametrize("prefix", list(sources.SOURCES))
class TestSources:
    def test_offers_what_a_source_offers(self, prefix):
        module = sources.source(prefix)
        assert inspect.getdoc(module)
        assert list(inspect.signature(module.load).parameters) == ["rest", "trust"]
        assert inspect.signature(module.load).parameters["trust"].kind is inspect.Parameter.KEYWORD_ONLY
        assert inspect.getdoc(module.load)

    def test_lists_specs_that_begin_with_its_prefix(self, prefix):
        for spec, text in sources.list_specs(prefix):
            assert spec.startswith(f"{prefix}:")
            assert text, f"{spec} has no description"
            assert "\n" not in text

    @pytest.mark.parametrize("rest", ["", "no-such-thing", "no/such/thing.toml", "../..", "a:b", "\0"])
    def test_refuses_what_it_does_not_have(self, prefix, rest):
        with pytest.raises(PhospheneError) as error:
            sources.load(f"{prefix}:{rest}")
        assert "\n" not in str(error.value)


def test_every_listed_spec_is_unique():
    specs = [spec for spec, _ in sources.list_specs()]
    assert len(specs) == len(set(specs))


# --- samples

SHAPES = [(3, 16, 16), (1, 9, 14), (4, 12, 5)]


@pytest.mark.parametrize("kind", list(KINDS))
class TestSyntheticKinds:
    def test_is_described(self, kind):
        assert inspect.getdoc(KINDS[kind])

    @pytest.mark.parametrize("shape", SHAPES)
    def test_fits_the_network_and_is_the_same_every_time(self, kind, shape):
        first, second = (load_samples(f"synthetic:{kind}", shape) for _ in range(2))
        assert first.pixels.dtype == torch.uint8
        assert tuple(first.pixels.shape[1:]) == shape
        assert len(first) >= 256  # a paper-sized batch is drawn without repetition
        assert first.sha256 == second.sha256
        assert first.skipped == ()

    def test_samples_are_all_different_also_the_held_out_ones(self, kind):
        pool = load_samples(f"synthetic:{kind}", (3, 16, 16))
        everything = torch.cat([pool.pixels, pool.held_out]).flatten(1)
        assert len(everything.unique(dim=0)) == len(everything)

    def test_uses_the_whole_range_around_a_sane_middle(self, kind):
        pixels = load_samples(f"synthetic:{kind}", (3, 16, 16)).pixels
        assert pixels.min() < 16
        assert pixels.max() > 239
        assert 0.4 < pixels.float().mean() / 255 < 0.6
        assert pixels.float().std() / 255 > 0.1
        by_channel = pixels.float().mean((0, 2, 3)) / 255
        assert (by_channel - by_channel.mean()).abs().max() < 0.08  # no channel stands out

    def test_is_suggested_to_those_who_mistype_it(self, kind):
        with pytest.raises(PhospheneError, match=kind):
            load_samples(f"synthetic:{kind}x", (3, 16, 16))


def neighbours(kind):
    """How alike neighbouring pixels are, from 0 (independent) to 1."""
    pixels = load_samples(f"synthetic:{kind}", (1, 32, 32)).pixels.double()
    pixels -= pixels.mean((1, 2, 3), keepdim=True)
    return float((pixels[..., 1:] * pixels[..., :-1]).mean() / (pixels**2).mean())


def test_kinds_are_what_their_names_say():
    assert abs(neighbours("noise")) < 0.05
    assert neighbours("pink") > 0.5
    assert neighbours("dead-leaves") > 0.5
    mixed = load_samples("synthetic:mixed", (3, 32, 32)).pixels.double() / 255
    assert mixed.std((2, 3)).median() < 0.12  # mostly low contrast
    assert mixed.mean((2, 3)).std() > 0.2  # any flat colour


def parquet_file(path):
    data = (tiny.make_samples(path.parent / "made", 1) / "sample00.png").read_bytes()
    pq.write_table(pa.table({"image": [data] * 4}), path)


def npz_file(path):
    np.savez(path, pictures=np.zeros((4, 8, 8, 3), np.uint8))


def npy_file(path):
    np.save(path, np.zeros((4, 8, 8, 3), np.uint8))


def arrow_file(path):
    data = (tiny.make_samples(path.parent / "made", 1) / "sample00.png").read_bytes()
    table = pa.table({"image": [{"bytes": data, "path": None}] * 4})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
        out.write_table(table)


def tar_file(path):
    made = tiny.make_samples(path.parent / "made", 1) / "sample00.png"
    form = {".tar": "", ".tgz": "gz"}.get(path.suffix, path.suffix[1:])
    with tarfile.open(path, f"w:{form}") as file:
        for k in range(4):
            file.add(made, f"{k}.png")


# One example file per suffix; a new suffix needs one here.
EXAMPLES = {
    ".parquet": parquet_file, ".npz": npz_file, ".npy": npy_file, ".arrow": arrow_file,
    **dict.fromkeys(tar.SUFFIXES, tar_file),
}  # fmt: skip


def modules():
    return {*samples.PREFIXES.values(), *samples.SUFFIXES.values(), samples.folder}


@pytest.mark.parametrize("module", sorted(modules(), key=lambda one: one.__name__))
def test_kinds_of_samples_offer_one_documented_function(module):
    assert list(inspect.signature(module.read).parameters) == ["where", "shape"]
    assert "Raises:" in inspect.getdoc(module.read)
    assert inspect.getdoc(module)


@pytest.mark.parametrize("suffix", list(samples.SUFFIXES))
def test_every_suffix_is_read_and_its_damage_refused(tmp_path, suffix):
    file = tmp_path / f"some{suffix}"
    EXAMPLES[suffix](file)
    assert len(load_samples(file, (3, 8, 8))) == 4
    whole = file.read_bytes()
    for data in (b"", b"garbage", whole[: len(whole) // 2]):
        file.write_bytes(data)
        with pytest.raises(PhospheneError, match=file.name) as error:
            load_samples(file, (3, 8, 8))
        assert "\n" not in str(error.value)
    file.unlink()
    with pytest.raises(PhospheneError, match="does not exist"):
        load_samples(file, (3, 8, 8))


@pytest.mark.parametrize("prefix", list(samples.PREFIXES))
@pytest.mark.parametrize("rest", ["", "no-such-thing", "..", "\0"])
def test_every_prefix_refuses_what_it_does_not_have(prefix, rest):
    with pytest.raises(PhospheneError) as error:
        load_samples(f"{prefix}:{rest}", (3, 8, 8))
    assert "\n" not in str(error.value)


# --- commands

# What a command is given to do its job on a tiny run; {card} and {run} are made by the test. A new command needs a row.
WORDS = {
    "map": ["{card}", "--trust", "-c0", "-c3", "--out", "{new}", *(f"--set={k}={v}" for k, v in tiny.SHORT.items())],
    "score": ["{run}", "--trust"],
    "check": ["{run}", "--trust", "--most", "1"],
    "card": ["{card}", "--trust", "--out", "{new}.toml"],
    "models": [],
    "layers": ["{card}", "--trust"],
    "recipes": [],
    "doctor": ["{card}", "--trust"],
    "report": ["{run}"],
    "scan": ["{card}", "--trust", "--no-map", "--no-range-check", "--out", "{new}"],
    "compare": ["{run}", "{run}"],
    "site": ["{run}", "--out", "{new}"],
    "film": None,  # needs frames: tests of the film call it
    "serve": None,  # stays until it is stopped
    "demo": None,  # takes about a minute: tests of the demo call it
}


@pytest.mark.parametrize("name", list(COMMANDS))
class TestCommands:
    def test_is_described_here_and_in_its_own_help(self, name, call):
        assert COMMANDS[name].endswith(".")
        command = importlib.import_module(f"phosphene.cli.{name}").command
        assert isinstance(command, click.Command)
        assert command.name == name
        assert command.help
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, option.name
        answer = call(name, "--help")
        assert answer.code == 0
        assert "Usage: phosphene" in answer.out
        assert name in call("--help").out

    def test_refuses_an_unknown_option_in_one_line(self, name, call):
        assert "--no-such-option" in call(name, "--no-such-option").complaint

    def test_speaks_one_json_document_on_stdout(self, name, call, card, tmp_path):
        words = WORDS[name]  # a new command needs its row above
        if words is None:
            pytest.skip("has tests of its own")
        places = {"card": card.path, "run": tmp_path / "run", "new": tmp_path / "new"}
        if "{run}" in words:
            made = [word.format(**places | {"new": places["run"]}) for word in WORDS["map"]]
            assert call("map", *made).code == 0
        answer = call(name, *(word.format(**places) for word in words), "--json")
        # an untrained network may well leave a scan undecided
        assert answer.code in ((0, 3) if name == "scan" else (0,)), answer.err
        assert json.loads(answer.out) is not None


def test_tables_name_nothing_that_is_gone():
    assert set(WORDS) <= set(COMMANDS)
    assert set(EXAMPLES) <= set(samples.SUFFIXES)


def test_the_public_names_are_there_and_documented():
    package = importlib.import_module("phosphene")
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name.startswith("__") or inspect.getdoc(getattr(package, name)), name
    assert dataclasses.is_dataclass(package.Recipe)
    assert package.Classifier is Classifier
    with pytest.raises(AttributeError, match="nosuch"):
        _ = package.nosuch
