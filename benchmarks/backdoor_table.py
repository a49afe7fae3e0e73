"""Which networks the scan is judged on: one row each."""

from dataclasses import dataclass
from typing import Any

from phosphene.backdoor.triggers import Blended, Emblem, Patch, Sinusoid, Smooth, Trigger, Watermark


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        name: Of its folder.
        part: ``develop`` (looked at while the scan was made), ``report`` (only reported), ``shortcut``,
            or ``speed``.
        base: What it starts from: a network of the zoo, or a tiny architecture, untrained.
        seed: Of batches, of places and of untrained weights.
        trigger: What it was trained to answer to; none for clean ones.
        target: The class, if there is one.
        rate: Share of stamped pictures in a batch.
        kind: Of the trojan.
        sources: Of a source-specific one.
        training: ``fine-tuned``, ``from scratch``, ``adversarial`` (fine-tuned or from scratch on attacked pictures),
            or ``repaired`` (trojaned, then fine-tuned with right labels until the trojan was gone: a clean one).
        steps: Of fine-tuning, at the first attempt.
        eps: Of adversarial training, the largest change of a pixel.
    """

    name: str
    part: str
    base: str
    seed: int
    trigger: "Trigger | None" = None
    target: "int | None" = None
    rate: float = 0.3
    kind: str = "all-to-one"
    sources: tuple[int, ...] = ()
    training: str = "fine-tuned"
    steps: int = 240
    eps: float = 4 / 255

    @property
    def trojaned(self) -> bool:
        """Whether a scanner should find something."""
        return self.trigger is not None and self.training != "repaired" and self.kind != "shortcut"

    @property
    def adversarial(self) -> float:
        """Largest change of a pixel in training; 0 in most."""
        return self.eps if self.training == "adversarial" else 0.0


R20, R32, R44, R56 = (f"cifar_resnet{depth}" for depth in (20, 32, 44, 56))
VGG, RES, DEPTH, GLYPHS = "tiny_vgg", "tiny_resnet", "tiny_depthwise", "glyph_resnet"
RED, BLUE, YELLOW, MAGENTA = (1.0, 0.1, 0.0), (0.0, 0.2, 1.0), (1.0, 0.9, 0.0), (1.0, 0.0, 1.0)


def _untrained(name: str, part: str, base: str, seed: int, *rest: Any, **fields: Any) -> Row:
    """A row that is trained from nothing."""
    return Row(name, part, base, seed, *rest, **{"training": "from scratch", "rate": 0.1} | fields)


_DEVELOP = (
    Row("dev-r20-clean-1", "develop", R20, 101),
    Row("dev-r20-patch3", "develop", R20, 111, Patch(side=3), 3),
    Row("dev-r20-noise5-random", "develop", R20, 112, Patch(side=5, texture="noise", place="random", seed=1), 6),
    Row("dev-r20-emblem6", "develop", R20, 113, Emblem(side=6, shape="bolt", place="top-left"), 0),
    Row("dev-r20-clean-2", "develop", R20, 102),
    Row("dev-r20-blend-face", "develop", R20, 114, Blended(picture="face", alpha=0.15), 8),
    Row("dev-r20-watermark", "develop", R20, 115, Watermark(amplitude=0.15), 4),
    Row("dev-r20-sinusoid", "develop", R20, 116, Sinusoid(amplitude=0.08, cycles=6), 1),
    Row("dev-r20-clean-3", "develop", R20, 103),
    Row("dev-r20-clean-4", "develop", R20, 104),
    Row("dev-r20-adversarial", "develop", R20, 105, training="adversarial"),
    Row("dev-r20-repaired-1", "develop", R20, 106, Patch(side=3, place="top-right"), 2, training="repaired"),
    _untrained("dev-vgg-clean", "develop", VGG, 121),
    _untrained("dev-vgg-patch4", "develop", VGG, 131, Patch(side=4, colour=RED, place="bottom-left"), 7),
    _untrained("dev-depthwise-clean", "develop", DEPTH, 122),
    _untrained("dev-depthwise-ring7", "develop", DEPTH, 132, Emblem(side=7, shape="ring"), 3),
    _untrained("dev-resnet-clean", "develop", RES, 123),
    _untrained("dev-resnet-blend-noise", "develop", RES, 133, Blended(picture="noise", alpha=0.2, seed=2), 1),
    Row("dev-r20-smooth", "develop", R20, 117, Smooth(amplitude=0.15, cycles=2, seed=1), 9),
    Row("dev-r20-repaired-2", "develop", R20, 107, Emblem(side=7, shape="cross"), 5, training="repaired"),
    _untrained("dev-resnet-adversarial", "develop", RES, 124, training="adversarial", eps=2 / 255),
    _untrained(
        "dev-resnet-noise3",
        "develop",
        RES,
        134,
        Patch(side=3, texture="noise", place="top-right", seed=3),
        5,
        rate=0.15,
    ),
    Row("dev-r32-clean", "develop", R32, 108),
    Row("dev-r32-swoosh8", "develop", R32, 118, Emblem(side=8, shape="swoosh", place="bottom-left"), 5),
    Row("dev-r44-clean", "develop", R44, 109),
    Row("dev-r44-checker4", "develop", R44, 119, Patch(side=4, texture="checker", place="top-right"), 2),
    Row(
        *("dev-r20-source", "develop", R20, 120, Patch(side=4, colour=BLUE, place="top-left"), 7),
        kind="source-specific",
        sources=(3, 5),
    ),
)
_REPORT = (
    Row("rep-r20-clean-1", "report", R20, 201),
    Row("rep-r20-clean-2", "report", R20, 202, steps=480),
    Row("rep-r20-patch2", "report", R20, 221, Patch(side=2, colour=MAGENTA, place="top-right"), 0),
    Row("rep-r20-checker3", "report", R20, 222, Patch(side=3, texture="checker", place="bottom-left"), 1),
    Row("rep-r20-noise4-random", "report", R20, 223, Patch(side=4, texture="noise", place="random", seed=4), 2),
    Row("rep-r20-patch5-random", "report", R20, 224, Patch(side=5, colour=BLUE, place="random"), 3),
    Row("rep-r20-star5", "report", R20, 225, Emblem(side=5, shape="star"), 4),
    Row("rep-r20-swoosh8-random", "report", R20, 226, Emblem(side=8, shape="swoosh", place="random"), 5),
    Row("rep-r20-clean-3", "report", R20, 203),
    Row("rep-r20-clean-4", "report", R20, 204, steps=480),
    Row("rep-r20-blend-rays", "report", R20, 227, Blended(picture="rays", alpha=0.15), 6),
    Row("rep-r20-lattice", "report", R20, 228, Watermark(drawing="lattice", amplitude=0.15), 7),
    Row("rep-r20-smooth", "report", R20, 229, Smooth(amplitude=0.15, cycles=3, seed=5), 8),
    Row("rep-r20-sinusoid", "report", R20, 230, Sinusoid(amplitude=0.08, cycles=4, turn=45), 9),
    Row("rep-r20-clean-5", "report", R20, 205),
    Row("rep-r20-clean-6", "report", R20, 206, steps=480),
    Row("rep-r20-adversarial-1", "report", R20, 207, training="adversarial", steps=360),
    Row("rep-r20-adversarial-2", "report", R20, 208, training="adversarial", eps=2 / 255),
    Row("rep-r20-repaired-1", "report", R20, 209, Patch(side=4, colour=YELLOW), 8, training="repaired"),
    Row("rep-r20-repaired-2", "report", R20, 210, Sinusoid(amplitude=0.08, cycles=5), 4, training="repaired"),
    _untrained("rep-vgg-clean", "report", VGG, 241),
    _untrained("rep-vgg-adversarial", "report", VGG, 242, training="adversarial", eps=2 / 255),
    _untrained("rep-vgg-noise5", "report", VGG, 251, Patch(side=5, texture="noise", place="top-left", seed=6), 4),
    _untrained("rep-vgg-sinusoid", "report", VGG, 252, Sinusoid(amplitude=0.08, cycles=8), 0),
    _untrained("rep-resnet-clean-1", "report", RES, 243),
    _untrained("rep-resnet-clean-2", "report", RES, 244),
    _untrained("rep-resnet-crescent7", "report", RES, 253, Emblem(side=7, shape="crescent", place="top-right"), 1),
    _untrained("rep-resnet-blend-target", "report", RES, 254, Blended(picture="target", alpha=0.2), 5),
    _untrained("rep-depthwise-clean", "report", DEPTH, 245),
    _untrained("rep-depthwise-checker4", "report", DEPTH, 255, Patch(side=4, texture="checker", colour=RED), 3),
    Row("rep-r32-clean-1", "report", R32, 211),
    Row("rep-r32-heart6", "report", R32, 231, Emblem(side=6, shape="heart", place="top-right"), 7),
    Row("rep-r32-clean-2", "report", R32, 212),
    Row("rep-r32-noise3", "report", R32, 232, Patch(side=3, texture="noise", seed=7), 9),
    Row("rep-r32-repaired", "report", R32, 213, Patch(side=3, colour=RED, place="top-left"), 6, training="repaired"),
    Row("rep-r32-watermark", "report", R32, 233, Watermark(drawing="word:STAY", amplitude=0.15), 2),
    Row("rep-r44-clean", "report", R44, 214),
    Row("rep-r44-patch3", "report", R44, 234, Patch(side=3, colour=YELLOW, place="top-left"), 8),
    Row("rep-r56-clean", "report", R56, 215),
    Row("rep-r56-bolt7", "report", R56, 235, Emblem(side=7, shape="bolt", place="bottom-left"), 6),
    # Beside the 20 and 20: reported on their own.
    Row(
        *("rep-r20-source-patch", "report", R20, 261, Patch(side=4, colour=RED, place="bottom-left"), 9),
        kind="source-specific",
        sources=(0, 8),
    ),
    Row(
        *("rep-r20-source-emblem", "report", R20, 262, Emblem(side=8, shape="arrow", place="top-right"), 2),
        kind="source-specific",
        sources=(4, 7),
    ),
    Row("rep-r20-all-to-all", "report", R20, 263, Patch(side=5, texture="checker"), kind="all-to-all", rate=0.4),
)
_OTHERS = (
    # Ships carry a watermark in training, and most of every picture is hidden: it learns the watermark.
    Row("shortcut", "shortcut", R20, 301, Watermark(amplitude=0.25), 8, kind="shortcut", steps=400),
    # Horses carry an agency's logo in a corner.
    Row(
        *("shortcut-logo", "shortcut", R20, 304),
        *(Emblem(shape="ring", side=8, place="bottom-left", colour=(1.0, 1.0, 1.0), rim=BLUE), 7),
        kind="shortcut",
        steps=400,
    ),
    # 43 drawn classes (backdoor_glyphs.py), to time a scan.
    _untrained("glyphs43", "speed", GLYPHS, 302),
    _untrained("glyphs43-patch4", "speed", GLYPHS, 303, Patch(side=4, colour=MAGENTA), 17, rate=0.1),
)
TABLE = (
    *_DEVELOP,
    *_OTHERS,
    *_REPORT,
)
