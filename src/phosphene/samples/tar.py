"""A tar file of images, as webdataset writes them: ``KEY.jpg`` beside ``KEY.cls``, the index or name of its class; may be compressed."""

import io
import tarfile
import weakref
from pathlib import Path

import numpy as np
from torch import Tensor

from phosphene.errors import SamplesError, one_line
from phosphene.samples.images import IMAGE_SUFFIXES, decode, read_some

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MEMBER_SUFFIXES = IMAGE_SUFFIXES - {".dcm", ".npy"}  # which are read from files of their own only
MAX_LABEL_BYTES = 1000


class ImageArchive:
    """The images and labels in a tar file; images are decoded when asked for, fastest in rising order.

    Attributes:
        labels: Per image, what the ``.cls`` file of the same key holds, a whole number or text; ``None`` if there is none.

    Raises:
        SamplesError: the file cannot be read, or holds no images.
    """

    def __init__(self, path: str) -> None:
        with one_line(SamplesError, f"sample file {path} is no readable tar file"):
            self._archive = tarfile.open(path)  # noqa: SIM115  (a compressed one is read from its beginning when reopened)
            weakref.finalize(self, self._archive.close)
            members = [one for one in self._archive.getmembers() if one.isfile()]
        self._images = [one for one in members if Path(one.name).suffix.lower() in MEMBER_SUFFIXES]
        if not self._images:
            raise SamplesError(f"sample file {path} holds no image files ({', '.join(sorted(MEMBER_SUFFIXES))}).")
        texts = {_key(one): one for one in members if one.name.endswith(".cls") and one.size <= MAX_LABEL_BYTES}
        with one_line(SamplesError, f"sample file {path} has damaged labels"):
            self.labels = [self._label(texts.get(_key(one))) for one in self._images]

    def __len__(self) -> int:
        return len(self._images)

    def image(self, position: int, shape: tuple[int, int, int]) -> "np.ndarray | None":
        """Return the image at a position, fitted to ``shape``, uint8 (c, h, w); ``None`` if it is not readable."""
        return decode(io.BytesIO(self._bytes(self._images[position])), shape)

    def name(self, position: int) -> str:
        """Return the name of the image at a position."""
        return self._images[position].name

    def _label(self, member: "tarfile.TarInfo | None") -> "int | str | None":
        """Return the content of a ``.cls`` file: an int if it is digits, else text; ``None`` if there is none."""
        text = None if member is None else self._bytes(member).decode().strip()
        return int(text) if text and text.isdecimal() else text

    def _bytes(self, member: tarfile.TarInfo) -> bytes:
        """Return the bytes of one file of the archive."""
        file = self._archive.extractfile(member)
        assert file is not None  # noqa: S101  (only files are members)
        return file.read()


def read(where: str, shape: tuple[int, int, int]) -> tuple[Tensor, list[str]]:
    """Return at most 2,048 images of a tar file, uint8 (n, c, h, w) fitted to ``shape``, and skipped files.

    The latter are their names.

    Raises:
        SamplesError: the file or all of its images are unreadable.
    """
    archive = ImageArchive(where)
    images, skipped = read_some(len(archive), lambda position: archive.image(position, shape), archive.name, shape)
    if not len(images):
        raise SamplesError(f"sample file {where}: none of {len(skipped)} files is a readable image.")
    return images, skipped


def _key(member: tarfile.TarInfo) -> str:
    """Return what webdataset calls the key of an archive's member: its path up to the first dot of its name."""
    folder, _, name = member.name.rpartition("/")
    return f"{folder}/{name.partition('.')[0]}"
