"""Samples from files and folders: what is read, what is skipped by name, what is refused."""

import io
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from phosphene.errors import SamplesError
from phosphene.labels import Labels
from phosphene.samples import default_samples, load_samples, synthetic
from phosphene.samples.images import fit
from phosphene.samples.labelled import examples_of, load_labelled
from phosphene.samples.pool import MAX_SAMPLES, make_pool, random_subset
from tests.hostile import Bomb
from tests.tiny import make_samples

SHAPE = (3, 8, 8)


def flat(*colour, size=(8, 8)):
    """An image of one colour, (h, w)."""
    return Image.new("RGB", size[::-1], colour)


def encoded(image, kind="PNG"):
    data = io.BytesIO()
    image.save(data, kind)
    return data.getvalue()


def everything(pool):
    return torch.cat([pool.pixels, pool.held_out])


def means(pool):
    """The mean of every sample, sorted: which images are in the pool, whatever their order."""
    return sorted(everything(pool).float().mean((1, 2, 3)).round().int().tolist())


# --- folders


def test_a_folder_is_searched_to_the_bottom_and_decoded(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    flat(10, 10, 10).save(tmp_path / "a.png")
    flat(20, 20, 20).save(tmp_path / "deep" / "b.BMP")
    flat(30, 30, 30).save(tmp_path / "deep" / "er" / "c.webp", lossless=True)
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    pool = load_samples(tmp_path, SHAPE)
    assert means(pool) == [10, 20, 30]
    assert pool.skipped == ()
    assert pool.spec == str(tmp_path)
    assert pool.pixels.dtype == torch.uint8
    assert tuple(pool.pixels.shape) == (2, *SHAPE)
    assert tuple(pool.held_out.shape) == (1, *SHAPE)


def test_channels_are_red_green_blue_and_first(tmp_path):
    for name in "ab":
        flat(200, 100, 50).save(tmp_path / f"{name}.png")
    assert everything(load_samples(tmp_path, SHAPE))[0, :, 3, 4].tolist() == [200, 100, 50]


def test_corrupt_files_are_counted_named_and_skipped(sample_folder):
    (sample_folder / "empty.png").touch()
    (sample_folder / "text.jpg").write_text("not a picture", encoding="utf-8")
    whole = (sample_folder / "sample00.png").read_bytes()
    (sample_folder / "sub").mkdir()
    (sample_folder / "sub" / "cut.png").write_bytes(whole[: len(whole) // 2])
    pool = load_samples(sample_folder, SHAPE)
    assert sorted(pool.skipped) == ["empty.png", os.path.join("sub", "cut.png"), "text.jpg"]  # noqa: PTH118
    assert len(pool) == 12


def test_run_directories_in_a_folder_are_no_samples(sample_folder):
    for name in ("run", "earlier/run"):
        (sample_folder / name / "maps" / "0").mkdir(parents=True)
        (sample_folder / name / "run.json").write_text("{}", encoding="utf-8")
        flat(1, 2, 3).save(sample_folder / name / "sheet.png")
        flat(1, 2, 3).save(sample_folder / name / "maps" / "0" / "map.png")
    pool = load_samples(sample_folder, SHAPE)
    assert len(pool) == 12
    run, earlier = Path("run"), Path("earlier", "run")
    assert sorted(pool.skipped) == [f"{earlier} (a run directory)", f"{run} (a run directory)"]
    for path in (sample_folder / "run", sample_folder / "earlier"):
        with pytest.raises(SamplesError, match=r"images in run directories only.*give a folder of natural images"):
            load_samples(path, SHAPE)


def test_linked_folders_are_searched_once_and_loops_end(tmp_path):
    """A subset of classes made of links, one of them there twice, and links back to the folder and to one above it."""
    folder, store = tmp_path / "subset", tmp_path / "store"
    for name, level in (("n01", 10), ("n02", 20)):
        (store / name).mkdir(parents=True)
        for number in range(2):
            flat(level, level, level).save(store / name / f"{number}.png")
    folder.mkdir()
    (store / "n02" / "up").symlink_to(store)
    for name, target in {"lion": "n01", "crane": "n02", "again": "n01", "gone": "n03"}.items():
        (folder / name).symlink_to(store / target)
    (folder / "loop").symlink_to(folder)
    pool = load_samples(folder, SHAPE)
    assert len(pool) == 4
    found = {Path(one.split(" (")[0]): one.partition(" (")[2] for one in pool.skipped}
    assert found == {Path("gone"): "a broken link, or not a regular file)"}
    assert load_labelled(str(folder), SHAPE, Labels(["again", "crane"]), 9)[1] == [0, 0, 1, 1]
    for name in ("lion", "crane", "again"):
        (folder / name).unlink()
    with pytest.raises(SamplesError, match=r"holds no image files .*; skipped: .*gone \(a broken link"):
        load_samples(folder, SHAPE)


def test_a_link_to_a_folder_never_takes_the_place_of_that_folder(tmp_path):
    for name, level in (("lion", 10), ("crane", 20)):
        (tmp_path / "data" / "by class" / name).mkdir(parents=True)
        flat(level, level, level).save(tmp_path / "data" / "by class" / name / "0.png")
    (tmp_path / "data" / "a link").symlink_to(tmp_path / "data" / "by class" / "lion")
    assert load_labelled(str(tmp_path / "data"), SHAPE, Labels(["lion", "crane"]), 9)[1] == [1, 0]
    assert len(load_samples(tmp_path / "data", SHAPE)) == 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
def test_a_damaged_file_never_stops_the_rest(tmp_path, kind):
    rng = np.random.default_rng(0)
    whole = np.frombuffer(encoded(Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)), kind), np.uint8)
    make_samples(tmp_path, 2)
    for number in range(30):
        data = whole.copy()
        places = rng.integers(2, len(data), 12)  # keep the mark that says what kind it is
        data[places] = rng.integers(0, 256, 12)
        (tmp_path / f"bad{number}.{kind.lower()}").write_bytes(data.tobytes())
    pool = load_samples(tmp_path, SHAPE)
    assert len(pool) + len(pool.skipped) == 32
    assert len(pool) >= 2


def test_a_folder_of_nothing_but_corrupt_files_is_refused_with_their_number(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(SamplesError, match=r"none of 2 files is a readable image \(a\.png"):
        load_samples(tmp_path, SHAPE)


@pytest.mark.parametrize("count", [0, 1])
def test_a_folder_with_too_few_is_refused(tmp_path, count):
    make_samples(tmp_path, count)
    with pytest.raises(
        SamplesError, match="holds no image files" if count == 0 else "contain 1 readable image; at least"
    ):
        load_samples(tmp_path, SHAPE)


def test_an_unreadable_folder_is_refused_and_an_unreadable_part_named(sample_folder, monkeypatch):
    """Root reads everything, so the refusal is put where the operating system would put it."""
    (sample_folder / "locked").mkdir()
    listing, shut = os.scandir, {str(sample_folder / "locked")}

    def scandir(path="."):
        if str(path) in shut:
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)
    pool = load_samples(sample_folder, SHAPE)
    assert pool.skipped == ("locked",)
    assert len(pool) == 12
    shut.add(str(sample_folder))
    with pytest.raises(SamplesError, match="cannot be read: Permission denied"):
        load_samples(sample_folder, SHAPE)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"])
def test_every_mode_of_a_image_is_read_without_a_warning(mode):
    image = flat(128, 128, 128).convert(mode) if mode not in ("LAB", "PA") else Image.new(mode, (8, 8))
    assert fit(image, SHAPE).shape == SHAPE


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 90, 90, 90])
    for name in "ab":
        image.save(tmp_path / f"{name}.png", transparency=b"\x80\x40")
    assert means(load_samples(tmp_path, SHAPE)) == [90, 90]


@pytest.mark.parametrize("mode", ["I;16", "I"])
def test_sixteen_bits_keep_their_greys(tmp_path, mode):
    ramp = np.linspace(0, 65535, 64).reshape(8, 8)
    for name in "ab":
        Image.fromarray(ramp.astype(np.uint16 if mode == "I;16" else np.int32)).save(tmp_path / f"{name}.tif")
    found = everything(load_samples(tmp_path, SHAPE))[0].float()
    assert (found - torch.from_numpy(ramp / 257).float()).abs().max() <= 1


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint16", "bool"])
def test_whole_numbers_of_any_width_mean_the_same_in_a_file_and_in_a_stack(tmp_path, dtype):
    full = 1 if dtype == "bool" else 255
    values = (np.arange(64).reshape(8, 8) % 2 * full).astype(dtype)
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", values)
    found = everything(load_samples(tmp_path, (1, 8, 8)))[0, 0]
    assert torch.equal(found, torch.from_numpy(values.astype(np.uint8) * (255 // full)))
    if dtype != "bool":
        np.save(tmp_path / "all.npy", np.stack([values] * 2))
        assert torch.equal(everything(load_samples(tmp_path / "all.npy", (1, 8, 8)))[0, 0], found)


def test_a_dark_image_file_of_sixteen_bits_is_as_dark_with_one_brighter_pixel():
    dark = np.full((8, 8), 200, np.uint16)
    brighter = dark.copy()
    brighter[0, 0] = 300
    pixels = [fit(Image.fromarray(one), (1, 8, 8))[0, 4, 4] for one in (dark, brighter)]
    assert pixels == [12, 12]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_image_takes_the_network_s_channels(channels):
    assert fit(flat(9, 9, 9), (channels, 8, 8)).shape == (channels, 8, 8)


def test_channels_that_no_image_file_has_are_refused(sample_folder):
    with pytest.raises(SamplesError, match=r"network's input has 2.*npz"):
        load_samples(sample_folder, (2, 8, 8))


def test_pictures_are_resized_to_cover_and_cropped_in_the_middle():
    wide = Image.new("RGB", (32, 8), (0, 0, 0))
    wide.paste((255, 255, 255), (12, 0, 20, 8))  # the middle square
    assert fit(wide, SHAPE).min() == 255
    tall = wide.rotate(90, expand=True)
    assert fit(tall, SHAPE).min() == 255
    assert fit(flat(7, 7, 7, size=(3, 5)), (3, 16, 8)).shape == (3, 16, 8)


def test_a_square_image_is_resized_as_pillow_does():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (13, 13, 3), dtype=np.uint8))
    expected = np.asarray(image.resize((8, 8), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(fit(image, SHAPE), expected)


def test_a_image_like_a_thread_does_not_fill_the_memory():
    """Resized before it is cropped, it would be 224 x 4,480,000 pixels."""
    assert fit(Image.new("RGB", (1, 20_000), (5, 6, 7)), (3, 224, 224)).shape == (3, 224, 224)


# --- parquet


def parquet(folder, column, **columns):
    file = folder / "pictures.parquet"
    pq.write_table(pa.table({"label": list(range(len(column))), **columns, "image": column}), file)
    return file


@pytest.mark.parametrize("struct", [False, True])
def test_parquet_with_bytes_or_a_struct_of_bytes(tmp_path, struct):
    cells = [encoded(flat(v, v, v)) for v in (10, 20, 30)]
    column = [{"bytes": cell, "path": "x.png"} for cell in cells] if struct else cells
    pool = load_samples(parquet(tmp_path, column), SHAPE)
    assert means(pool) == [10, 20, 30]
    assert pool.skipped == ()


def test_parquet_rows_that_hold_no_image_are_named_and_skipped(tmp_path):
    cells = [encoded(flat(10, 10, 10)), b"garbage", None, encoded(flat(20, 20, 20)), b""]
    pool = load_samples(parquet(tmp_path, pa.array(cells, pa.binary())), SHAPE)
    assert means(pool) == [10, 20]
    assert pool.skipped == ("row 1", "row 2", "row 4")


def test_parquet_of_other_things_is_refused(tmp_path):
    with pytest.raises(SamplesError, match="none of 2 rows holds a readable image"):
        load_samples(parquet(tmp_path, [b"a", b"b"]), SHAPE)
    with pytest.raises(SamplesError, match="none of 2 rows"):
        load_samples(parquet(tmp_path, [1, 2]), SHAPE)
    pq.write_table(pa.table({"photo": [b"a"], "label": [1]}), tmp_path / "other.parquet")
    with pytest.raises(SamplesError, match="no column 'image', only photo, label"):
        load_samples(tmp_path / "other.parquet", SHAPE)


@pytest.mark.parametrize("data", [b"", b"garbage", b"PAR1garbagePAR1"])
def test_damaged_parquet_is_refused(tmp_path, data):
    (tmp_path / "bad.parquet").write_bytes(data)
    with pytest.raises(SamplesError, match=r"bad\.parquet is not readable parquet: \S"):
        load_samples(tmp_path / "bad.parquet", SHAPE)


# --- arrays

GREYS = np.arange(5, dtype=np.uint8) * 50


def stack(shape):
    """Five flat pictures of ``GREYS``."""
    return np.broadcast_to(GREYS.reshape(-1, *[1] * len(shape)), (5, *shape)).copy()


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (stack((3, 8, 8)), (3, 8, 8)),
        (stack((8, 8, 3)), (3, 8, 8)),
        (stack((8, 8)), (1, 8, 8)),
        (stack((1, 8, 8)), (1, 8, 8)),
        (stack((8, 8, 1)), (1, 8, 8)),
        (stack((8, 8, 2)), (2, 8, 8)),
        (stack((12, 10, 3)), (3, 8, 8)),
        (stack((3, 4, 4)), (3, 8, 8)),
        (stack((8, 8, 3)).astype(np.int64), (3, 8, 8)),
        (stack((3, 8, 8)).astype(">i4"), (3, 8, 8)),
        ((stack((8, 8, 3)) / 255).astype(np.float32), (3, 8, 8)),
        ((stack((8, 8, 3)) / 255).astype(np.float64), (3, 8, 8)),
        ((stack((8, 8, 3)) / 255).astype(np.float16), (3, 8, 8)),
        ((stack((8, 8, 3)) / 255).astype(">f4"), (3, 8, 8)),
        ((stack((8, 8, 3)) / 255).astype(np.longdouble), (3, 8, 8)),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_in_every_layout(tmp_path, array, shape, suffix):
    file = tmp_path / f"pictures{suffix}"
    if suffix == ".npy":
        np.save(file, array)
    else:
        np.savez_compressed(file, labels=np.arange(5), pictures=array)
    pool = load_samples(file, shape)
    assert everything(pool).dtype == torch.uint8
    assert tuple(everything(pool).shape) == (5, *shape)
    assert means(pool) == GREYS.tolist()


@pytest.mark.parametrize(
    ("size", "shape"), [((8, 24), (8, 8)), ((20, 8), (8, 8)), ((7, 50), (16, 24)), ((1, 9), (8, 8))]
)
def test_arrays_are_cropped_as_image_files_are(tmp_path, size, shape):
    """A gradient along the longer side keeps its slope, from the middle outwards, and is not squeezed."""
    rows, columns = np.indices(size)
    ramp = (rows if size[0] > size[1] else columns) * (250 / (max(size) - 1))
    image = np.repeat(ramp.round().astype(np.uint8)[..., None], 3, axis=2)
    np.save(tmp_path / "a.npy", np.stack([image] * 2))
    found = everything(load_samples(tmp_path / "a.npy", (3, *shape)))[0].float()
    expected = torch.from_numpy(fit(Image.fromarray(image), (3, *shape))).float()
    assert (found - expected).abs().max() <= 20  # whole pixels are cut


def test_channels_last_are_not_scrambled(tmp_path):
    array = np.zeros((2, 8, 8, 3), np.uint8)
    array[..., 0], array[:, :, :4, 1] = 200, 90
    np.save(tmp_path / "a.npy", array)
    found = everything(load_samples(tmp_path / "a.npy", SHAPE))[0]
    assert found[0].unique().tolist() == [200]
    assert found[1, :, :4].unique().tolist() == [90]
    assert found[1, :, 4:].unique().tolist() == [0]


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.full((5, 8, 8, 3), 2.0), "float64 from 2 to 2: give integers"),
        (np.full((5, 8, 8, 3), -0.1), r"from -0\.1 to -0\.1: give integers"),
        (np.full((5, 8, 8, 3), np.nan), "float64 with NaN: leave out such images"),
        (np.zeros((5, 8, 8, 4)), r"with 3 channels: .*float64\(5, 8, 8, 4\)"),
        (np.full((5, 8, 8, 3), 256), r"int64 from 256 to 256: give integers in \[0, 255\], or floats in \[0, 1\]"),
        (np.full((5, 8, 8, 3), -1, np.int8), "int8 from -1 to -1: give integers"),
        (
            np.zeros((5, 8, 8, 3), bool),
            r"no numeric array .* with 3 channels: .*bool.*Save bools as bytes: array\.astype",
        ),
        (np.zeros((8, 8)), "with 3 channels"),
        (np.float64(3), "with 3 channels"),
        (np.array([b"a"]), "with 3 channels"),
        (np.zeros((0, 8, 8, 3)), "contain 0 readable images"),
        (np.zeros((0, 9, 9, 3), np.uint8), "contain 0 readable images"),
        (np.zeros((5, 0, 8, 3), np.uint8), "with 3 channels"),
        (np.zeros((1, 8, 8, 3), np.uint8), "contain 1 readable image;"),
    ],
)
def test_arrays_that_hold_no_pictures_are_refused(tmp_path, array, says):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(SamplesError, match=says):
        load_samples(tmp_path / "a.npy", SHAPE)


def damaged():
    good = io.BytesIO()
    np.savez_compressed(good, pictures=np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8))
    whole = good.getvalue()
    middle = len(whole) // 2
    return {
        "empty": b"",
        "garbage": b"garbage",
        "cut": whole[:middle],
        "only a mark": b"PK\x03\x04",
        "flipped": whole[:middle] + bytes(byte ^ 0xFF for byte in whole[middle : middle + 64]) + whole[middle + 64 :],
        "header": b"\x93NUMPY\x01\x00",
    }


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("kind", list(damaged()))
def test_damaged_arrays_are_refused(tmp_path, suffix, kind):
    (tmp_path / f"bad{suffix}").write_bytes(damaged()[kind])
    with pytest.raises(SamplesError, match=rf"bad\{suffix} holds no readable arrays: \S"):
        load_samples(tmp_path / f"bad{suffix}", SHAPE)


def test_a_pickled_array_is_refused_and_runs_nothing(tmp_path):
    np.save(tmp_path / "a.npy", np.array([Bomb(tmp_path / "mark")], dtype=object), allow_pickle=True)
    with pytest.raises(SamplesError, match=r"a\.npy"):
        load_samples(tmp_path / "a.npy", SHAPE)
    assert not (tmp_path / "mark").exists()
    np.load(tmp_path / "a.npy", allow_pickle=True)
    assert (tmp_path / "mark").exists()  # so the mark shows what it should


# --- specs


@pytest.mark.parametrize("name", ["none", "none.parquet", "none.npz", "none.npy"])
def test_missing_samples_are_refused(tmp_path, name):
    with pytest.raises(SamplesError, match=f"{name} do(es)? not exist"):
        load_samples(tmp_path / name, SHAPE)


def test_a_file_of_another_kind_is_refused(sample_folder):
    with pytest.raises(SamplesError, match=r"sample00\.png is not one of \.parquet, .*\.npz, \.npy.*folder"):
        load_samples(sample_folder / "sample00.png", SHAPE)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("synthetic:zzz", "'zzz'.*mixed, noise, pink, dead-leaves"),
        ("synthetic:pnik", "pink"),
        ("synthetic:", "synthetic:mixed"),
        ("demo:nosuch", "demo:shapes"),
        ("nosuch:thing", "do not exist"),
    ],
)
def test_unknown_specs_are_refused_with_what_there_is(spec, says):
    with pytest.raises(SamplesError, match=says):
        load_samples(spec, SHAPE)


def test_a_folder_whose_name_is_not_utf8_is_refused(tmp_path):
    with pytest.raises(SamplesError, match=r"samples .*sl\\udce9': .* a name that is not UTF-8: rename it\."):
        load_samples(tmp_path / "sl\udce9", SHAPE)


def test_a_folder_whose_name_looks_like_a_file_is_still_a_folder(tmp_path):
    assert len(load_samples(make_samples(tmp_path / "x.npz", 3), SHAPE)) == 3


def test_defaults_need_no_data():
    assert default_samples("demo:anything") == "demo:shapes"
    assert default_samples("path/card.toml") == "synthetic:mixed"


def test_drawn_samples_take_little_more_memory_than_their_noise():
    shape, count = (3, 64, 64), 60
    tracemalloc.start()
    drawn = synthetic.mixed(np.random.default_rng(0), count, shape)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 4 * drawn.size  # four bytes per value


# --- the pool


def numbered(count):
    """Pictures that say which they are: number n is made of n's two bytes."""
    values = torch.arange(count)
    return torch.stack([values // 256, values % 256], 1).to(torch.uint8).view(count, 2, 1, 1)


def numbers(pictures):
    return (pictures[:, 0, 0, 0].int() * 256 + pictures[:, 1, 0, 0].int()).tolist()


@pytest.mark.parametrize(
    ("count", "held"), [(2, 1), (9, 1), (10, 1), (20, 2), (500, 50), (640, 64), (650, 64), (3000, 64)]
)
def test_the_held_out_part_is_a_tenth_apart_from_the_rest_and_always_the_same(count, held):
    pool, again = make_pool(numbered(count), "x"), make_pool(numbered(count), "x")
    kept, out = numbers(pool.pixels), numbers(pool.held_out)
    assert len(out) == held
    assert sorted(kept + out) == list(range(count))
    assert numbers(again.held_out) == out
    assert pool.sha256 == again.sha256


def test_the_held_out_part_is_not_the_head_of_the_list():
    assert numbers(make_pool(numbered(100), "x").held_out) != list(range(10))


def test_identity_is_the_pixels_and_which_are_held_out():
    pictures = numbered(20)
    other = pictures.clone()
    other[3, 0] += 1
    assert make_pool(pictures, "x").sha256 == make_pool(pictures, "y", ["z"]).sha256
    assert make_pool(pictures, "x").sha256 != make_pool(other, "x").sha256
    assert make_pool(pictures, "x").sha256 != make_pool(pictures.flip(0), "x").sha256


def test_draws_follow_each_map_s_own_generator():
    pool = make_pool(numbered(50), "x")

    def draw(*seeds):
        return pool.draw_rows(8, [torch.Generator().manual_seed(seed) for seed in seeds])

    both = draw(1, 2)
    assert tuple(both.shape) == (2, 8)
    assert torch.equal(both[0], draw(1)[0])
    assert torch.equal(both[1], draw(2)[0])
    assert not torch.equal(both[0], both[1])


def test_draws_come_from_the_pool_without_repetition_and_never_from_the_held_out():
    pool = make_pool(numbered(40), "x")
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        drawn = numbers(pool.pixels[pool.draw_rows(30, [generator])[0]])
        assert len(set(drawn)) == 30
        assert not set(drawn) & set(numbers(pool.held_out))


def test_a_batch_larger_than_the_pool_repeats():
    drawn = make_pool(numbered(3), "x").draw_rows(50, [torch.Generator().manual_seed(0)])[0].tolist()
    assert len(drawn) == 50
    assert len(set(drawn)) == 2


def test_very_many_files_are_thinned_out_evenly_and_always_the_same():
    assert random_subset(MAX_SAMPLES) == list(range(MAX_SAMPLES))
    positions = random_subset(100_000)
    assert len(set(positions)) == MAX_SAMPLES
    assert positions == sorted(positions) == random_subset(100_000)
    assert abs(np.mean(positions) - 50_000) < 3_000  # not the head of the list


def test_the_limit_holds_for_files(sample_folder, monkeypatch):
    monkeypatch.setattr("phosphene.samples.pool.MAX_SAMPLES", 4)
    assert len(load_samples(sample_folder, SHAPE)) == 4


# --- labels


def test_of_several_arrays_of_images_none_is_chosen(tmp_path):
    images, masks = np.zeros((5, *SHAPE), np.uint8), np.zeros((5, *SHAPE[1:]), np.uint8)
    np.savez(tmp_path / "a.npz", train=images, test=images, labels=np.arange(5))
    with pytest.raises(
        SamplesError,
        match=r"a\.npz holds several arrays that may be images \(train, test\): call the one to take 'images'",
    ):
        load_samples(tmp_path / "a.npz", SHAPE)
    np.savez(tmp_path / "b.npz", masks=masks, train=images)
    assert len(load_samples(tmp_path / "b.npz", SHAPE)) == 5


@pytest.mark.parametrize("name", ["images", "X"])
def test_of_several_arrays_of_images_the_one_of_that_name_is_taken(tmp_path, name):
    images, masks = np.full((5, *SHAPE[1:]), 7, np.uint8), np.zeros((5, *SHAPE[1:]), np.uint8)
    np.savez(tmp_path / "a.npz", masks=masks, **{name: images})
    pool = load_samples(tmp_path / "a.npz", SHAPE)
    assert (len(pool), pool.pixels.unique().tolist()) == (5, [7])
    np.savez(tmp_path / "a.npz", image=masks, **{name: images})
    with pytest.raises(SamplesError, match="several arrays that may be images"):
        load_samples(tmp_path / "a.npz", SHAPE)


def test_examples_of_classes_come_from_the_labels_of_arrays(tmp_path):
    labels = Labels(["zero", "one", "two"])
    images = np.stack([np.full((3, 8, 8), 10 * k, np.uint8) for k in range(6)])
    np.savez(tmp_path / "a.npz", images=images, labels=np.array([2, 0, 1, 2, 0, 1]))
    found = examples_of(str(tmp_path / "a.npz"), SHAPE, labels, [0, 2])
    assert {index: int(image.mean()) for index, image in found.items()} == {0: 10, 2: 0}
    np.savez(tmp_path / "b.npz", images=images)
    with pytest.raises(SamplesError, match="has no labels"):
        examples_of(str(tmp_path / "b.npz"), SHAPE, labels, [0])
    np.save(tmp_path / "c.npy", images)
    (tmp_path / "c.npy").rename(tmp_path / "c.npz")  # it loads as samples, too
    with pytest.raises(SamplesError, match=r"c\.npz has no labels"):
        examples_of(str(tmp_path / "c.npz"), SHAPE, labels, [0])


def test_missing_samples_name_the_folders_that_are_called_alike_and_no_others(tmp_path):
    for name in ("photos", "proc"):
        (tmp_path / name).mkdir()
    with pytest.raises(SamplesError, match=r"photo do not exist\. The folders beside it: photos\. Give a folder"):
        load_samples(tmp_path / "photo", SHAPE)
    with pytest.raises(SamplesError, match=r"nosuch do not exist\. Give a folder"):
        load_samples(tmp_path / "nosuch", SHAPE)
