"""Hostile weights and code: nothing that came with a model runs unasked, and sizes are checked first."""

import json
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save

from tests import tiny
from tests.hostile import ESCAPE, Bomb
from tests.tiny import SETTINGS

# --- weights: damaged, lying, or more than weights


def header(data, body=b""):
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return struct.pack("<Q", len(text)) + text + body


def tensors(**changes):
    return save({**tiny.network().state_dict(), **changes})


def one(dtype="F32", shape=(5,), offsets=(0, 20)):
    return {"7.bias": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


SAFETENSORS = {
    "empty": lambda: b"",
    "seven bytes": lambda: b"\0" * 7,
    "truncated in the header": lambda: tensors()[:100],
    "truncated in the data": lambda: tensors()[:-8],
    "bytes after the end": lambda: tensors() + b"\0" * 64,
    "header of 2^60 bytes": lambda: struct.pack("<Q", 2**60) + b"{}",
    "header longer than the file": lambda: struct.pack("<Q", 10**6) + b"{}",
    "header that is no JSON": lambda: header(b"{ not json"),
    "header that is no UTF-8": lambda: header(b"\xff\xfe\xff"),
    "header of nested lists": lambda: header(b"[" * 100_000),
    "header that is a list": lambda: header([1, 2]),
    "offsets beyond the end": lambda: header(one(offsets=(0, 10**9)), b"\0" * 20),
    "offsets backwards": lambda: header(one(offsets=(20, 0)), b"\0" * 20),
    "negative offsets": lambda: header(one(offsets=(-20, 0)), b"\0" * 20),
    "offsets that overlap": lambda: header(one() | {"7.weight": one()["7.bias"]}, b"\0" * 20),
    "unknown dtype": lambda: header(one(dtype="F31"), b"\0" * 20),
    "shape that overflows": lambda: header(one(shape=(2**40, 2**40)), b"\0" * 20),
    "negative shape": lambda: header(one(shape=(-5,)), b"\0" * 20),
    "a million million elements": lambda: header(one(shape=(10**12,), offsets=(0, 4 * 10**12)), b"\0" * 20),
    "other names": lambda: save({f"{ESCAPE}{k}": v for k, v in tiny.network().state_dict().items()}),
    "other shapes": lambda: tensors(**{"7.bias": torch.zeros(6)}),
    "whole numbers": lambda: tensors(**{"7.weight": torch.ones((5, 8), dtype=torch.int64)}),
    "booleans": lambda: tensors(**{"7.bias": torch.ones(5, dtype=torch.bool)}),
    "complex numbers": lambda: tensors(**{"7.bias": torch.ones(5, dtype=torch.complex64)}),
}


@pytest.mark.parametrize("made", SAFETENSORS.values(), ids=SAFETENSORS)
def test_safetensors(hostile, card, made):
    (card.folder / "tiny.safetensors").write_bytes(made())
    assert "tiny.safetensors" in hostile()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(call, card, tmp_path, limited, value):
    """Only the network's answer shows them: the run is begun, and holds no map."""
    card.weigh(card.state() | {"0.weight": torch.full((6, 3, 3, 3), value)})
    out = tmp_path / "out"
    assert "NaN or infinity" in call("map", card.path, "--trust", "-c", 0, *SETTINGS, "--out", out).complaint
    assert not (out / "maps").exists()


@pytest.mark.parametrize("name", ["tiny.safetensors", "tiny.pt", "model.safetensors.index.json"])
def test_a_folder_in_place_of_weights(hostile, card, name):
    (card.folder / "tiny.safetensors").unlink()
    (card.folder / name).mkdir()
    card.write(weights=name)
    assert name in hostile()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("place", ["beside the tensors", "instead of them"])
def test_a_pickle_with_code(hostile, card, tmp_path, suffix, old, place):
    """Not even --trust runs the code in a file of weights."""
    mark, file = tmp_path / "mark", card.folder / f"tiny{suffix}"
    state = card.state() | {"bomb": Bomb(mark)} if place == "beside the tensors" else Bomb(mark)
    torch.save(state, file, _use_new_zipfile_serialization=not old)
    card.write(weights=file.name)
    for trust in (False, True):
        line = hostile(trust=trust)
        assert "safetensors" in line if trust else "--trust" in line
    assert not mark.exists()
    torch.load(file, weights_only=False)
    assert mark.exists()  # so the mark shows what it should


def test_a_zip_bomb(hostile, card):
    torch.save(card.state(), card.folder / "whole.pt")
    with zipfile.ZipFile(card.folder / "whole.pt") as whole, zipfile.ZipFile(card.folder / "tiny.pt", "w") as bomb:
        for entry in whole.namelist():
            data = b"\0" * 200_000_000 if entry.endswith("data/0") else whole.read(entry)
            bomb.writestr(entry, data, zipfile.ZIP_DEFLATED, 1)
    card.write(weights="tiny.pt")
    assert "tiny.pt" in hostile()


@pytest.mark.parametrize(
    "shard", ["../../secret.safetensors", "/etc/passwd", "a/b.safetensors", "", "..", "x.index.json"]
)
def test_an_index_of_shards_leads_nowhere_else(hostile, card, shard):
    text = json.dumps({"weight_map": {"7.bias": shard}})
    (card.folder / "m.safetensors.index.json").write_text(text, encoding="utf-8")
    assert "weights" in hostile(spec=card.write(weights="m.safetensors.index.json").path)


# --- code: nothing runs without --trust


@pytest.mark.parametrize(
    "factory",
    [
        "nets.py:tiny",
        "./nets.py:tiny",
        "../card/nets.py:tiny",
        "../outside.py:tiny",
        "{folder}/nets.py:tiny",
        "nets.py:__import__('os').system('touch it_ran')",
        "nets:tiny",
        "package.nets:tiny",
        "http://example.org/nets.py:tiny",
        "//example.org/nets.py:tiny",
        "builtins:breakpoint",
        "os:abort",
        "signal:pause",
        "pdb:set_trace",
        "antigravity:antigravity",
        "_io:open",
        "..nets:tiny",
        "nets\0.py:tiny",
    ],
)
def test_factories_without_trust(hostile, card, tmp_path, monkeypatch, factory):
    monkeypatch.syspath_prepend(tmp_path / "work")
    (card.folder / "package").mkdir()
    for place in (card.folder / "package", card.folder.parent / "outside", tmp_path / "work" / "nets"):
        place.with_suffix(".py").write_text(tiny.FACTORY, encoding="utf-8")
    (card.folder / "package" / "nets.py").write_text(tiny.FACTORY, encoding="utf-8")
    card.write(factory=factory.format(folder=card.folder))
    hostile(trust=False)
    assert not list(tmp_path.rglob("it_ran"))


@pytest.mark.filterwarnings("ignore:.*torch.jit.:DeprecationWarning")
@pytest.mark.parametrize("suffix", [".pt2", ".pt", ".torchscript", ".onnx"])
@pytest.mark.parametrize("trust", [False, True])
def test_exported_programs_that_are_pickles(hostile, card, tmp_path, suffix, trust):
    mark, file = tmp_path / "mark", card.folder / f"program{suffix}"
    torch.save(Bomb(mark), file)
    card.write(factory=None, weights=None, exported=file.name)
    line = hostile(trust=trust)
    assert file.name in line or "onnx" in line  # the library for it may be missing
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:.*torch.jit.:DeprecationWarning")
def test_torchscript_without_trust(hostile, card):
    torch.jit.trace(tiny.network(), torch.zeros(1, 3, 16, 16)).save(str(card.folder / "net.pt"))
    card.write(factory=None, weights=None, exported="net.pt")
    line = hostile(trust=False)
    assert "--trust" in line
    assert "safetensors" in line
    assert "needs a card" in hostile(trust=False, spec=card.folder / "net.pt")
