"""``hf:OWNER/NAME``, ``@REVISION``, or ``hf:FOLDER``: an image classifier or a two-tower model as ``save_pretrained`` writes it.

A classifier's labels come from ``id2label``, the input space from what the image processor does to images.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from phosphene.classifier import Classifier
from phosphene.errors import CardError, ExtraError, SpecError, TrustError, WeightsError, first_line, one_line
from phosphene.extras import install_command, require
from phosphene.sources.hf_two_tower import HubTwoTower, is_two_tower
from phosphene.sources.libraries import ChangedInput, fixed_seed, offline_if_unreachable, what_to_give
from phosphene.textfile import is_dir, is_file, missing, read_text

MAX_CONFIG_BYTES = 10_000_000  # bytes
# problem_type of a config -> kind of output
OUTPUTS = {"multi_label_classification": "multi-label", "regression": "regression"}
# Where image processors say how large an image is.
SIDE_KEYS = ("shortest_edge", "longest_edge")
PIXELS = "pixel_values"  # what an image processor calls the input of a network


def load(rest: str, *, trust: bool) -> Classifier:
    """Load the transformers model that ``rest`` names, from the Hugging Face hub, its cache, or a folder.

    A two-tower model (CLIP, SigLIP) is returned as a Classifier without classes, whose module is a TwoTower:
    :func:`phosphene.sources.add_prompts` gives it some.

    Raises:
        CardError: it is not an image classifier, or does not say what input it takes.
        ExtraError: transformers is missing or broken.
        SpecError: it is neither a name on the hub nor a folder.
        TrustError: it comes with code of its own, and ``trust`` was not given.
        WeightsError: it cannot be fetched, or its weights cannot be read as plain tensors.
    """
    name, revision = _split(rest)
    library = require("transformers", "hf")
    options: dict[str, Any] = {"trust_remote_code": trust, **({"revision": revision} if revision else {})}
    with offline_if_unreachable("hf"), _without_progress_bars(), _one_line(name):
        facts, _ = library.PretrainedConfig.get_config_dict(name, **options)
        _check_code(facts, name, trust=trust)
        config = library.AutoConfig.from_pretrained(name, **options)
        two_towers = is_two_tower(config, facts, name)
        kind = library.AutoModel if two_towers else library.AutoModelForImageClassification
        module, info = kind.from_pretrained(name, config=config, weights_only=True, output_loading_info=True, **options)
        _check_weights(module, info["missing_keys"], name, two_towers=two_towers)
        module = module.float().eval()
        processor = library.AutoImageProcessor.from_pretrained(name, **options)
        if two_towers:
            module = HubTwoTower(module, _tokenizer(name, options), name)
    size, mean, std, order = read_processor(processor, config.vision_config if two_towers else config)
    is_reordered = order != tuple(range(len(order)))
    if is_reordered and two_towers:
        module.images = ChangedInput(module.images, partial(_reordered, order=list(order)))
    elif is_reordered:
        module = ChangedInput(module, partial(_reordered, order=list(order)))
    return Classifier(
        module.eval(),
        size=size,
        mean=mean,
        std=std,
        labels=None if two_towers else _labels(config),
        output=OUTPUTS.get(str(getattr(config, "problem_type", "")), "auto"),
        name=Path(name).name,
        origin={}
        if facts.get("auto_map") or two_towers or is_reordered
        else {"config": config.to_json_string(use_diff=False)},
    )


def _tokenizer(name: str, options: dict[str, Any]) -> Any:
    """Return the tokenizer of a model.

    Raises:
        CardError: there is none.
        ExtraError: it needs a library that is missing.
    """
    try:
        return require("transformers", "hf").AutoTokenizer.from_pretrained(name, **options)
    except (OSError, ValueError) as error:
        raise CardError(f"hf:{name} has no tokenizer that transformers can load ({first_line(error)}).") from error


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """For a ``with`` block: switch the progress bars of transformers off, then restore them."""
    logs = require("transformers.utils.logging", "hf")
    was_enabled = logs.is_progress_bar_enabled()
    logs.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logs.enable_progress_bar()


def build(name: str, *, classes: int, size: tuple[int, int], channels: int = 3) -> nn.Module:
    """Return the network of a transformers config file ``name``, with the same random weights every time.

    The other arguments are ignored.

    Raises:
        CardError: the file is missing or no config of an image classifier that transformers itself knows.
    """
    library = require("transformers", "hf")
    path = Path(name)
    if not path.exists():
        raise CardError(f"arch hf:{name}: {missing('config file', path)}")
    with one_line(CardError, f"arch hf:{name} is not a config of transformers"):
        config = library.AutoConfig.for_model(**json.loads(read_text(path, MAX_CONFIG_BYTES)))
    with one_line(CardError, f"hf:{name} failed"), fixed_seed():
        network: nn.Module = library.AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    return network


def _reordered(pixels: Tensor, order: list[int]) -> Tensor:
    """Return pixels (n, c, h, w) with their channels in another order, such as BGR."""
    return pixels[:, order]


def read_processor(
    processor: Any, config: Any
) -> tuple[tuple[int, int], tuple[float, ...], tuple[float, ...], tuple[int, ...]]:
    """Return (height, width), mean and std, for pixels in [0, 1], and the order in which a network gets the channels.

    They are found from what an image processor makes of images of one colour each, whatever its fields say.

    Raises:
        CardError: it fails, does something else to pixels, or neither it nor the config says the size.
    """
    name = f"the image processor ({type(processor).__name__})"
    fix = 'write a card with arch = "hf:config.json", weights and a table [input] (docs/cards.md).'
    channels = int(getattr(config, "num_channels", 3) or 3)
    sizes = map(_sides, (getattr(config, "image_size", None), getattr(processor, "size", None)))
    stated = next(filter(None, sizes), None)
    height, width = stated or (512, 512)
    # A dark image, one per channel in which this channel is light, and a larger one of another colour as a test.
    colours = np.full((channels + 2, channels), 51, dtype=np.uint8)
    colours[1:-1] += 204 * np.eye(channels, dtype=np.uint8)
    colours[-1] = np.linspace(20, 235, channels)
    layout = {} if channels in (1, 3) else {"input_data_format": "channels_last"}
    with one_line(CardError, f"{name} failed on a {channels}-channel image", fix):
        images = [np.tile(colour, (height, width, 1)) for colour in colours]
        images[-1] = np.tile(images[-1], (2, 2, 1))
        made = [np.asarray(processor(image, return_tensors="pt", **layout)[PIXELS]) for image in images]
    if any(one.ndim != 4 or one.shape[:2] != (1, channels) for one in made):
        raise CardError(f"{name} makes {PIXELS} {made[0].shape} of one image; (1, {channels}, h, w) is needed: {fix}")
    if made[0].shape != made[-1].shape and not stated:
        raise CardError(f"{name} does not say how large an image is: {fix}")
    values = np.stack([one[0, :, one.shape[2] // 2, one.shape[3] // 2] for one in made]).astype(float)
    slopes = (values[1:-1] - values[0]).T / 0.8  # per channel of the network, and of the image
    order = np.abs(slopes).argmax(1)
    scale = slopes[range(channels), order]
    offset = values[0] - 0.2 * scale
    others = np.abs(slopes).sum(1) - np.abs(scale)
    test = colours[-1][order] / 255 * scale + offset
    if not (np.all(others < 1e-3 * np.abs(scale)) and np.allclose(values[-1], test, rtol=1e-3, atol=1e-3)):
        raise CardError(f"{name} does more to colours than scaling each channel and changing their order: {fix}")
    means = np.where(np.abs(offset) < 1e-6, 0.0, -offset / scale)
    mean, std = _exact(means, processor, "image_mean", order), _exact(1 / scale, processor, "image_std", order)
    height, width = made[0].shape[2:]
    return (height, width), mean, std, tuple(order.tolist())


def _exact(values: Any, processor: Any, field: str, order: Any) -> tuple[float, ...]:
    """Return measured values without the error of single precision: the processor's field if it agrees, or five digits."""
    stated = getattr(processor, field, None)
    with suppress(TypeError, ValueError):  # None, or for another number of channels
        stated = np.broadcast_to(np.asarray(stated, dtype=float), values.shape)[order]
        if np.allclose(stated, values, rtol=1e-5, atol=1e-6):
            return tuple(stated.tolist())
    return tuple(float(f"{value:.5g}") for value in values)


def _sides(size: Any) -> "tuple[int, int] | None":
    """Return (height, width) from what processors and configs call a size; ``None`` if it states none."""
    if isinstance(size, int):
        return size, size
    if isinstance(size, list | tuple) and len(size) == 2:
        return int(size[0]), int(size[1])
    keys = ("height", "width", *SIDE_KEYS)
    sides: dict[str, Any] = {key: size.get(key) if isinstance(size, dict) else getattr(size, key, None) for key in keys}
    if sides["height"] and sides["width"]:
        return int(sides["height"]), int(sides["width"])
    side = next((int(sides[key]) for key in SIDE_KEYS if sides[key]), None)
    return (side, side) if side else None


def _split(rest: str) -> tuple[str, str]:
    """Split ``OWNER/NAME@REVISION`` into name and revision; a folder stays whole, with revision ``""``.

    Raises:
        SpecError: it is malformed, or a folder of something else.
    """
    if rest and is_dir(rest):
        if not is_file(Path(rest, "config.json")):
            raise SpecError(f"hf:{rest} is no model: {what_to_give(Path(rest))}")
        return rest, ""
    name, _, revision = rest.partition("@")
    if not all(part.strip(".") for part in name.split("/")) or name.count("/") > 1 or not name.isprintable():
        raise SpecError(f"hf:{rest} is neither OWNER/NAME on the hub nor a folder written by save_pretrained.")
    return name, revision


def _check_code(facts: dict[str, Any], name: str, *, trust: bool) -> None:
    """Raise TrustError if a model's config, ``facts``, lists Python files to run and ``trust`` is false."""
    code = facts.get("auto_map")
    if code and not trust:
        references = code.values() if isinstance(code, dict) else [code]
        files = sorted({str(one).rpartition("--")[2].partition(".")[0] + ".py" for one in references})
        raise TrustError(
            f"hf:{name} would run the code that came with it ({', '.join(files)}): read it, then add --trust (trust=True "
            "in Python), or have its weights saved as .safetensors for a card with arch or factory."
        )


def _check_weights(module: nn.Module, missing: Iterable[str], name: str, *, two_towers: bool) -> None:
    """Raise WeightsError if parameters of a model are ``missing`` in its file.

    Transformers would leave them random, with a warning.
    """
    missing_names = {key for key, _ in module.named_parameters()} & set(missing)
    if missing_names:
        what = f"hf:{name} has no weights for {min(missing_names)}{' and others' * (len(missing_names) > 1)}"
        if two_towers:
            raise WeightsError(f"{what}: its file lacks a part of the two towers. Give a complete one.")
        raise WeightsError(f"{what}: it was not trained as an image classifier. Give a fine-tuned one.")


def _labels(config: Any) -> "list[str] | None":
    """Return the labels of a config; ``None`` if it has only the placeholders ``LABEL_0``, ``LABEL_1`` ..."""
    names = [str(config.id2label[index]) for index in sorted(config.id2label)]
    return None if all(name == f"LABEL_{index}" for index, name in enumerate(names)) else names


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    """For a ``with`` block: turn what transformers raises into one-line errors of ours."""
    with one_line(CardError, f"hf:{name} is not a model that transformers can load for images"):
        try:
            yield
        except ImportError as error:  # such as the library of a tokenizer
            if isinstance(error, ExtraError):
                raise
            why = first_line(error).partition(". ")[0]  # the rest names a web page
            raise ExtraError(f"hf:{name} needs a library ({why}): {install_command('hf')}.") from error
        except OSError as error:  # so transformers reports whatever it cannot fetch
            if is_dir(name) and "preprocessor_config.json" in str(error):
                raise WeightsError(
                    f"folder {name} has no preprocessor_config.json, which says what input its network takes: copy it "
                    "from the model that was fine-tuned, or write it with save_pretrained of its image processor."
                ) from error
            raise WeightsError(
                f"hf:{name} cannot be fetched ({first_line(error)}): check the name and the network, or give a folder "
                "written by save_pretrained: hf:FOLDER. A model of open_clip alone is a phosphene.TwoTower in Python."
            ) from error
        except ValueError as error:
            if "trust_remote_code" in str(error) or "custom code" in str(error):
                raise TrustError(
                    f"hf:{name} would run code that came with it: read it, then add --trust (trust=True in Python)."
                ) from error
            raise
