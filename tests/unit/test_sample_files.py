"""Samples as people have them: many bands, grey ranges of scanners, tar files of webdataset, datasets of Hugging Face."""

import errno
import io
import json
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest
import tifffile
import torch
from PIL import Image

from phosphene import samples
from phosphene.errors import ExtraError, SamplesError
from phosphene.labels import Labels
from phosphene.samples import load_samples
from phosphene.samples.folder import read
from phosphene.samples.labelled import load_labelled

LABELS = Labels(["cat", "dog", "owl"])


def pixels_of(spec, shape):
    pool = load_samples(spec, shape)
    return torch.cat([pool.pixels, pool.held_out])


def png(level, size=(20, 30)):
    file = io.BytesIO()
    Image.fromarray(np.full((*size, 3), level, np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(("top", "dtype"), [(1.0, "float32"), (255.0, "float32"), (4095, "uint16"), (65535, "uint16")])
def test_the_grey_range_is_the_smallest_usual_one(tmp_path, top, dtype):
    """The F mode of TIFF, 12 bits of a scanner in a file of 16, and all 16."""
    ramp = np.linspace(0, top, 64).reshape(8, 8).astype(dtype)
    for name in "ab":
        Image.fromarray(ramp).save(tmp_path / f"{name}.tif")
    expected = torch.linspace(0, 255, 64).reshape(8, 8)
    assert (pixels_of(tmp_path, (1, 8, 8))[0, 0].float() - expected).abs().max() <= 1
    np.save(
        tmp_path / "all.npy", np.stack([ramp, ramp])[..., None] if dtype == "uint16" else np.stack([ramp, ramp]) / top
    )
    assert (pixels_of(tmp_path / "all.npy", (1, 8, 8))[0, 0].float() - expected).abs().max() <= 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_images_with_values_that_are_not_finite_are_skipped_by_name(tmp_path, bad):
    values = np.full((8, 8), 0.5, np.float32)
    for name, corner in (("a", 0), ("b", 0), ("c", bad)):
        values[0, 0] = corner
        Image.fromarray(values).save(tmp_path / f"{name}.tif")
        np.save(tmp_path / f"{name}.npy", np.stack([values] * 7))
    for shape, skipped in (((1, 8, 8), "c.tif"), ((7, 8, 8), "c.npy")):
        pool = load_samples(tmp_path, shape)
        assert skipped in pool.skipped
        assert not {"a" + skipped[1:], "b" + skipped[1:]} & set(pool.skipped)
        assert float(pool.pixels.float().mean()) > 100


@pytest.mark.parametrize("form", ["npy", "npy, bands last", "tif", "tif, bands last", "one npy"])
def test_images_of_many_bands(tmp_path, form):
    """Seven bands of 16 bits, for an input that is not square."""
    bands = np.stack([np.full((20, 40), 9000 * band, np.uint16) for band in range(1, 8)])
    bands = bands.transpose(1, 2, 0) if "last" in form else bands
    where = tmp_path
    for name in "abc":
        if "tif" in form:
            planar = {"planarconfig": "contig" if "last" in form else "separate", "photometric": "minisblack"}
            tifffile.imwrite(tmp_path / f"{name}.tif", bands, **planar)
        else:
            np.save(tmp_path / f"{name}.npy", bands)
    if form == "one npy":
        where = tmp_path / "all.npy"
        np.save(where, np.stack([bands] * 3))
    found = pixels_of(where, (7, 8, 16))
    assert found.shape == (3, 7, 8, 16)
    levels = found.float().mean((0, 2, 3))
    assert (levels - torch.arange(1, 8) * 9000 / 257).abs().max() <= 1


def test_images_of_other_bands_are_skipped_by_name(tmp_path):
    for name, count in (("a", 7), ("b", 7), ("c", 5)):
        np.save(tmp_path / f"{name}.npy", np.zeros((count, 9, 9), np.uint8))
    (tmp_path / "d.npy").write_bytes(b"no array")
    pool = load_samples(tmp_path, (7, 8, 8))
    assert len(pool) == 2
    assert pool.skipped == ("c.npy", "d.npy")


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("form", ["pages", "separate", "contig"])
def test_bands_of_a_tiff_are_the_channels_of_the_network(tmp_path, form, dtype, channels):
    """Pillow reads the first page alone, and few kinds of bands."""
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    bands = np.stack([np.full((20, 40), top * (band + 1) / 5).astype(dtype) for band in range(channels)])
    planar = {} if form == "pages" else {"planarconfig": form}
    for name in "ab":
        file = tmp_path / f"{name}.tif"
        tifffile.imwrite(
            file, bands.transpose(1, 2, 0) if form == "contig" else bands, photometric="minisblack", **planar
        )
    with Image.open(file) if form == "pages" else Image.new("L", (1, 1)) as image:
        assert getattr(image, "n_frames", 1) == (channels if form == "pages" else 1)
    levels = pixels_of(tmp_path, (channels, 8, 16)).float().mean((0, 2, 3))
    assert (levels - (torch.arange(channels) + 1) * 51).abs().max() <= 1


def save_pages(path, *pages):
    pages[0].save(path, save_all=True, append_images=pages[1:])


def test_of_pages_of_a_tiff_the_one_that_is_larger_than_all_others_is_the_image(tmp_path):
    image, small = Image.new("RGB", (30, 20), (40, 0, 0)), Image.new("RGB", (15, 10))
    save_pages(tmp_path / "a.tif", image, small)
    save_pages(tmp_path / "b.tif", small, image, small)
    assert pixels_of(tmp_path, (3, 8, 8))[:, 0].unique().tolist() == [40]
    floats = np.full((7, 20, 30), 0.5)
    for name in "ab":  # Pillow reads none of these
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as file:
            file.write(floats[:, :9, :9] * 0, photometric="minisblack")
            file.write(floats, photometric="minisblack")
    assert pixels_of(tmp_path, (7, 8, 8)).unique().tolist() == [128]


@pytest.mark.parametrize("mode", ["RGB", "P", "1", "L of two sizes"])
def test_pages_that_are_neither_bands_nor_smaller_copies_are_skipped_by_name(tmp_path, mode):
    pages = [Image.new(mode.partition(" ")[0], (30, 20)) for _ in range(3)]
    if "sizes" in mode:
        pages[1] = pages[1].resize((30, 19))
    for name in "ab":
        Image.new("L", (9, 9)).save(tmp_path / f"{name}.png")
    save_pages(tmp_path / "stack.tif", *pages)
    assert load_samples(tmp_path, (3, 8, 8)).skipped == ("stack.tif",)
    for name in "ab":
        (tmp_path / f"{name}.png").unlink()
    with pytest.raises(SamplesError, match=r"stack\.tif: it holds several images: 3 pages, which are not the 3 bands"):
        load_samples(tmp_path, (3, 8, 8))


@pytest.mark.parametrize("channels", [3, 7])
def test_a_tiff_of_too_many_pixels_is_not_read(tmp_path, monkeypatch, channels):
    """Small files may hold billions of equal pixels; those for which Pillow refuses any image are not left to tifffile."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for name, side in (("a", 14), ("b", 14), ("bomb", 15)):
        levels = np.zeros((side, side, 3) if channels == 3 else (7, side, side), np.uint8)
        tifffile.imwrite(tmp_path / f"{name}.tif", levels, photometric="rgb" if channels == 3 else "minisblack")
    assert load_samples(tmp_path, (channels, 8, 8)).skipped == ("bomb.tif",)


def test_photos_stand_upright(tmp_path):
    """Cameras store an image as they were held, and say how in EXIF; damaged EXIF is passed over."""
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    image.paste((0, 0, 255), (0, 0, 20, 20))
    exif = image.getexif()
    exif[274] = 6  # a quarter turn clockwise: what is left comes to the top
    image.save(tmp_path / "a.jpg", exif=exif, quality=100)
    image.rotate(-90, expand=True).save(tmp_path / "b.jpg", exif=b"Exif\0\0garbage", quality=100)
    first, second = pixels_of(tmp_path, (3, 20, 10)).float()
    assert (first - second).abs().mean() < 4


def test_suffixes_in_capitals_and_grey_arrays(tmp_path):
    for name in "ab":
        np.save(tmp_path / f"{name}.npy", np.full((9, 9), 100, np.uint8))
        (tmp_path / f"{name}.npy").rename(tmp_path / f"{name}.NPY")
    assert pixels_of(tmp_path, (3, 8, 8)).unique().tolist() == [100]
    with tarfile.open(tmp_path / "S.TAR", "w") as archive:
        for name in "ab":
            member = tarfile.TarInfo(f"{name}.png")
            member.size = len(png(50))
            archive.addfile(member, io.BytesIO(png(50)))
    assert pixels_of(tmp_path / "S.TAR", (3, 8, 8)).unique().tolist() == [50]
    for name in "ab":
        (tmp_path / f"{name}.NPY").unlink()
    with pytest.raises(SamplesError, match=r"holds no image files.*such as S\.TAR"):
        load_samples(tmp_path, (3, 8, 8))


def write_dicom(path, levels, kind="MONOCHROME2", **fields):
    """Write an image of grey levels, 16 bits (h, w) or a stack (n, h, w), or of colours, 8 bits (h, w, 3), as a scanner does."""
    made = pydicom.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = pydicom.uid.generate_uid()
    bits = 8 * levels.itemsize
    made.set_pixel_data(levels, kind, bits, generate_instance_uid=False)
    for name, value in fields.items():
        setattr(made, name, value)
    made.save_as(path, enforce_file_format=True)


def test_a_dicom_file_is_shown_as_a_viewer_shows_it(tmp_path):
    """Levels 0 to 4000: the window 900 to 1100 that a file names, the whole range without one, inverted for MONOCHROME1."""
    ramp = np.linspace(0, 4000, 64, dtype=np.uint16).reshape(8, 8)
    window = {"WindowCenter": 1000, "WindowWidth": 200, "RescaleSlope": 1, "RescaleIntercept": 0}
    write_dicom(tmp_path / "a.dcm", ramp)
    write_dicom(tmp_path / "b.dcm", ramp, **window)
    write_dicom(tmp_path / "c.DCM", ramp, "MONOCHROME1")
    write_dicom(tmp_path / "d.dcm", np.stack([0 * ramp, ramp, 0 * ramp]))
    write_dicom(tmp_path / "e.dcm", np.full((8, 8, 3), (200, 100, 50), np.uint8), "RGB")
    yellow = np.asarray(Image.new("RGB", (8, 8), (200, 100, 50)).convert("YCbCr"))
    write_dicom(tmp_path / "e2.dcm", yellow, "YBR_FULL")
    write_dicom(tmp_path / "e3.dcm", ramp // 4 + 500, **{**window, "WindowWidth": 4000})
    (tmp_path / "f.dcm").write_bytes(b"no image")
    images, _ = read(str(tmp_path), (1, 8, 8))
    whole, narrow, inverted, middle, _, _, wide = images.flatten(1).float()
    assert (whole[0], whole[-1]) == (0, 255)
    assert (whole.diff() > 0).all()
    assert torch.equal(middle, whole)
    assert (inverted - (255 - whole)).abs().max() <= 1
    assert set(narrow[:14].tolist()) == {0}
    assert set(narrow[18:].tolist()) == {255}
    assert 85 <= wide.min() < wide.max() <= 170  # levels 500 to 1500 in a window from -1000 to 3000
    colours, skipped = read(str(tmp_path), (3, 8, 8))
    assert (colours[4:6, :, 0, 0].int() - torch.tensor([200, 100, 50])).abs().max() <= 2
    assert skipped == ["f.dcm"]


def test_dicom_files_without_pydicom_name_the_extra(tmp_path, monkeypatch):
    write_dicom(tmp_path / "a.dcm", np.zeros((8, 8), np.uint16))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ExtraError, match=r"pydicom is not installed: .*phosphene\[dicom\]"):
        load_samples(tmp_path, (1, 8, 8))


def write_tar(path, images, labels=()):
    form = {".tar": "", ".tgz": "gz"}.get(path.suffix, path.suffix[1:])
    with tarfile.open(path, f"w:{form}") as archive:
        files = [(f"shard/{number:03}.png", data) for number, data in enumerate(images)]
        files += [(f"shard/{number:03}.cls", str(label).encode()) for number, label in enumerate(labels)]
        for name, data in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("suffix", samples.tar.SUFFIXES)
@pytest.mark.parametrize("labels", [[0, 1, 2], ["cat", "dog", "owl"]])
def test_a_tar_file_of_webdataset_brings_its_classes(tmp_path, labels, suffix):
    file = write_tar(tmp_path / f"train-000{suffix}", [png(50), png(100), png(150)], labels)
    assert sorted(pixels_of(file, (3, 8, 12)).float().mean((1, 2, 3)).tolist()) == [50, 100, 150]
    images, classes = load_labelled(str(file), (3, 8, 12), LABELS, 9)
    assert images.shape == (3, 3, 8, 12)
    assert classes == [0, 1, 2]


def test_damaged_tar_files_are_one_line(tmp_path):
    file = write_tar(tmp_path / "a.tar", [png(1), b"no image", png(3)])
    assert load_samples(file, (3, 8, 8)).skipped == ("shard/001.png",)
    assert load_labelled(str(file), (3, 8, 8), LABELS, 9)[1] is None
    for data, says in (
        (b"garbage" * 99, "no readable tar"),
        (write_tar(tmp_path / "b.tar", []).read_bytes(), "no image"),
    ):
        file.write_bytes(data)
        with pytest.raises(SamplesError, match=says):
            load_samples(file, (3, 8, 8))
    write_tar(file, [b"no", b"image"])
    with pytest.raises(SamplesError, match="none of 2 files is a readable image"):
        load_samples(file, (3, 8, 8))


def table(levels, classes):
    features = {"info": {"features": {"label": {"names": list(LABELS), "_type": "ClassLabel"}}}}
    made = pa.table({"image": [{"bytes": png(level), "path": None} for level in levels], "label": classes})
    return made.replace_schema_metadata({b"huggingface": json.dumps(features).encode()})


@pytest.mark.parametrize("form", ["hub", "saved to disk", "saved with splits", "hub, linked"])
def test_a_folder_of_a_dataset_of_hugging_face(tmp_path, form):
    parts = [table([50, 100], [0, 1]), table([150, 200], [2, 0])]
    places = ["data/train-0.parquet", "data/test-0.parquet"]
    if "linked" in form:
        (tmp_path / "elsewhere").mkdir()
        tmp_path = tmp_path / "subset"
        tmp_path.mkdir()
        (tmp_path / "data").symlink_to(tmp_path.parent / "elsewhere")
    if "saved" in form:
        (tmp_path / ("dataset_dict.json" if "splits" in form else "dataset_info.json")).write_text(
            "{}", encoding="utf-8"
        )
        places = ["train/data-0.arrow", "test/data-0.arrow"] if "splits" in form else ["data-0.arrow", "data-1.arrow"]
    for place, part in zip(places, parts, strict=True):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        if place.endswith(".parquet"):
            pq.write_table(part, tmp_path / place)
        else:
            with pa.OSFile(str(tmp_path / place), "wb") as sink, pa.ipc.new_stream(sink, part.schema) as writer:
                writer.write_table(part)
    assert sorted(pixels_of(tmp_path, (3, 8, 12)).float().mean((1, 2, 3)).tolist()) == [50, 100, 150, 200]
    _, classes = load_labelled(str(tmp_path), (3, 8, 12), LABELS, 9)
    assert sorted(classes) == [0, 0, 1, 2]


def test_a_dataset_without_its_files_and_one_without_images_are_refused(tmp_path):
    (tmp_path / "dataset_info.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SamplesError, match=r"holds no files \.parquet or \.arrow"):
        load_samples(tmp_path, (3, 8, 8))
    pq.write_table(pa.table({"text": ["a"], "label": [1]}), tmp_path / "a.parquet")
    with pytest.raises(SamplesError, match="no column 'image', only text, label"):
        load_samples(tmp_path, (3, 8, 8))


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    """The refusals are the system's own, made up here because root may read everything."""
    folder = tmp_path / "secret"
    folder.mkdir()

    def refusing(function, where):
        def refuse(path, *args, **keys):
            if where(Path(str(path))) == folder:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return function(path, *args, **keys)

        return refuse

    monkeypatch.setattr(os, "stat", refusing(os.stat, lambda path: path.parent))
    monkeypatch.setattr(os, "scandir", refusing(os.scandir, lambda path: path))
    with pytest.raises(SamplesError, match=r"secret cannot be read: Permission denied\.$"):
        load_samples(str(folder), (3, 8, 8))


def test_every_kind_of_file_has_one_reader():
    assert set(samples.SUFFIXES) == {".parquet", ".arrow", *samples.tar.SUFFIXES, ".npz", ".npy"}
