"""Hostile samples: bombs, loops, pipes and pickles in place of images."""

import json
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.hostile import ESCAPE, Bomb

# --- samples


def png(width, height):
    """A PNG that declares a size and holds nothing of it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


BAD = 11


def bad_files(folder):
    """Fill a folder with ``BAD`` files that are no images, whatever their names say."""
    (folder / "bomb.png").write_bytes(png(60_000, 60_000))
    (folder / "larger.png").write_bytes(png(2**31 - 1, 2**31 - 1))
    (folder / "large.png").write_bytes(png(13_000, 13_000))
    Image.new("RGB", (64, 64)).save(folder / "whole.jpeg")
    (folder / "short.jpeg").write_bytes((folder / "whole.jpeg").read_bytes()[:300])
    (folder / "whole.jpeg").unlink()
    (folder / "drawn.png").write_text("<svg onload='alert(1)'><script>alert(1)</script></svg>", encoding="utf-8")
    (folder / "empty.gif").write_bytes(b"")
    (folder / "self.png").symlink_to("self.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder.png").mkdir()
    (folder / "loop").symlink_to(".")
    (folder / f"{ESCAPE}<script>.png").write_bytes(b"no image")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes(b"no image")


def test_a_folder_of_bad_files_among_good_ones(odd, sample_folder):
    bad_files(sample_folder)
    run = odd("--samples", sample_folder)
    samples = json.loads((run / "run.json").read_text(encoding="utf-8"))["samples"]
    assert samples["count"] + samples["held_out"] == 12
    assert len(samples["skipped"]) == BAD


def test_a_folder_of_bad_files_alone(hostile, tmp_path):
    (tmp_path / "bad").mkdir()
    bad_files(tmp_path / "bad")
    # a pipe, a device and a broken link are not opened
    assert f"none of {BAD - 3} files is a readable image" in hostile("--samples", tmp_path / "bad")


def lying(shape):
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + b"\0" * 100


ARRAYS = {
    "a shape beyond the data": lying((10**12, 16, 16, 3)),
    "a shape that overflows": lying((2**62, 2**62, 16, 3)),
    "a negative shape": lying((-1, 16, 16, 3)),
    "a shape of code": lying("__import__('os').mkdir('mark')"),
    "a header of 4 GB": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{",
    "nested brackets": b"\x93NUMPY\x02\x00" + struct.pack("<I", 9000) + b"(" * 9000,
    "nothing": b"",
}


@pytest.mark.parametrize("data", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("packed", [False, True])
def test_arrays(hostile, tmp_path, data, packed):
    file = tmp_path / ("a.npz" if packed else "a.npy")
    file.write_bytes(data)
    if packed:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.npy", data)
    assert file.name in hostile("--samples", file)


@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_arrays_of_pickled_objects(hostile, tmp_path, name):
    mark, objects = tmp_path / "mark", np.empty(1, object)
    objects[0] = Bomb(mark)
    (np.save if name == "a.npy" else np.savez)(tmp_path / name, objects, allow_pickle=True)
    assert name in hostile("--samples", tmp_path / name)
    assert not mark.exists()


def test_an_archive_of_arrays_that_unpacks_to_much_more(hostile, tmp_path):
    file = tmp_path / "a.npz"
    with zipfile.ZipFile(file, "w") as archive, archive.open("a.npy", "w", force_zip64=True) as inner:
        inner.write(lying((5 * 10**9 // 768, 16, 16, 3)))
    _claim(file, 5 * 10**9)
    assert "a.npz" in hostile("--samples", file)


def _claim(file, size):
    """Let the directory of an archive with one member claim that it unpacks to ``size`` bytes."""
    data = bytearray(file.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", min(size, 2**32 - 2))
    file.write_bytes(data)


@pytest.mark.parametrize(
    "column", [[1, 2, 3], ["a", "b", "c"], [[1], [2], [3]], [None, None, None], [b"", b"x", b"GIF89a"]]
)
def test_parquet_columns_of_other_things(hostile, tmp_path, column):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"image": column}), tmp_path / "a.parquet")
    assert "a.parquet" in hostile("--samples", tmp_path / "a.parquet")
