"""``hf:OWNER/NAME``, ``@REVISION``, or ``hf:FOLDER``: an image classifier or a two-tower model as ``save_pretrained`` writes it.

A classifier's labels come from ``id2label``, the input space from the image processor.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from phosphene.classifier import Classifier
from phosphene.errors import CardError, ExtraError, SpecError, TrustError, WeightsError, first_line, one_line
from phosphene.extras import install_command, require
from phosphene.sources.hf_two_tower import HubTwoTower, is_two_tower
from phosphene.sources.libraries import fixed_seed, offline_if_unreachable, per_channel
from phosphene.textfile import is_dir, missing, read_text

MAX_CONFIG_BYTES = 10_000_000  # bytes
# problem_type of a config -> kind of output
OUTPUTS = {"multi_label_classification": "multi-label", "regression": "regression"}
# Where image processors say how large an image is.
SIDE_KEYS = ("shortest_edge", "longest_edge")


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
    size, mean, std = size_mean_and_std(processor, config.vision_config if two_towers else config)
    return Classifier(
        module.eval(),
        size=size,
        mean=mean,
        std=std,
        labels=None if two_towers else _labels(config),
        output=OUTPUTS.get(str(getattr(config, "problem_type", "")), "auto"),
        name=Path(name).name,
        origin={} if facts.get("auto_map") or two_towers else {"config": config.to_json_string(use_diff=False)},
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
        raise CardError(f"arch hf:{name}: {missing('config file', path, 'Correct the card, or put the file there.')}")
    with one_line(CardError, f"arch hf:{name} is not a config of transformers"):
        config = library.AutoConfig.for_model(**json.loads(read_text(path, MAX_CONFIG_BYTES)))
    with one_line(CardError, f"hf:{name} failed"), fixed_seed():
        network: nn.Module = library.AutoModelForImageClassification.from_config(config, trust_remote_code=False)
    return network


def size_mean_and_std(processor: Any, config: Any) -> tuple[tuple[int, int], list[float], list[float]]:
    """Return (height, width), mean and std, for pixels in [0, 1], from an image processor and a config.

    The network sees ``(255 pixels * rescale_factor - image_mean) / image_std``, each part only if it is switched on.

    Raises:
        CardError: neither says the size.
    """
    sizes = [getattr(processor, "crop_size", None)] if getattr(processor, "do_center_crop", False) else []
    sizes += [getattr(processor, "size", None), getattr(config, "image_size", None)]
    size = next((sides for sides in map(_sides, sizes) if sides), None)
    if size is None:
        raise CardError("the image processor does not say how large an image is: write a card with a table [input].")
    factor = float(getattr(processor, "rescale_factor", 1 / 255) or 1 / 255)
    scale = 255 * factor if getattr(processor, "do_rescale", True) else 255.0
    offset = 1.0 if getattr(processor, "rescale_offset", False) else 0.0
    channels = int(getattr(config, "num_channels", 3) or 3)
    mean, std = [0.0] * channels, [1.0] * channels
    if getattr(processor, "do_normalize", False):
        mean = per_channel(processor.image_mean, channels)
        std = per_channel(processor.image_std, channels)
    return size, [(value + offset) / scale for value in mean], [value / scale for value in std]


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
        SpecError: it is malformed.
    """
    if rest and is_dir(rest):
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
