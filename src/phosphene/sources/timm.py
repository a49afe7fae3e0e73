"""``timm:NAME`` or ``@random``: preprocessing comes from the pretrained cfg, ImageNet's labels from timm's lists."""

from typing import Any

import numpy as np
from torch import nn

from phosphene.classifier import Classifier
from phosphene.errors import CardError, SpecError, one_line
from phosphene.extras import require
from phosphene.sources import libraries


def list_specs() -> list[tuple[str, str]]:
    """Return (spec, description) of every network of timm that has pretrained weights."""
    timm = require("timm", "timm")
    return [(f"timm:{name}", "pretrained weights from the hub") for name in timm.list_pretrained()]


def load(rest: str, *, trust: bool) -> Classifier:
    """Load a classifier of timm as ``NAME`` or ``NAME@random``.

    It needs no trust, because its weights are read as plain tensors.

    Raises:
        ExtraError: timm is missing or broken.
        SpecError: there is no network or no weights of this name.
        WeightsError: the weights cannot be fetched.
    """
    name, at, which = rest.partition("@")
    if at and which != libraries.RANDOM:
        raise SpecError(f"timm:{rest}: only {libraries.RANDOM} may follow @; weights are chosen as timm:NAME.TAG.")
    timm = _timm_with(name)
    with libraries.offline_if_unreachable("timm"), libraries.fetching(f"timm:{name}"), libraries.fixed_seed():
        module = timm.create_model(name, pretrained=not at)
    config = timm.data.resolve_model_data_config(module)
    channels, height, width = config["input_size"]
    return Classifier(
        module.float().eval(),
        size=(height, width),
        mean=np.broadcast_to(config["mean"], channels).tolist(),  # a single value stands for all channels
        std=np.broadcast_to(config["std"], channels).tolist(),
        labels=_labels(timm, module),
        name=f"{name}-{libraries.RANDOM}" if at else name,
        notes=[libraries.RANDOM_WEIGHTS_NOTE] if at else [],
        origin={"arch": f"timm:{name}"},
    )


def build(name: str, *, classes: int, size: tuple[int, int], channels: int = 3) -> nn.Module:
    """Return timm's network ``name`` for a card's ``arch``, with the same random weights every time.

    Raises:
        SpecError: timm has no architecture of this name.
        CardError: it refuses the size or the channels.
    """
    timm = _timm_with(name)
    config = timm.get_pretrained_cfg(name)
    has_fixed_size = config is not None and config.fixed_input_size and tuple(config.input_size[1:]) != tuple(size)
    settings: dict[str, Any] = {"img_size": size} if has_fixed_size else {}
    with one_line(CardError, f"timm's {name} failed"), libraries.fixed_seed():
        network: nn.Module = timm.create_model(
            name, pretrained=False, num_classes=classes, in_chans=channels, **settings
        )
    return network


def _timm_with(name: str) -> Any:
    """Return the module timm, after a check that it has a network of this name; SpecError if not."""
    timm = require("timm", "timm")
    libraries.check_name("timm", name, timm.list_pretrained() if "." in name else timm.list_models())
    return timm


def _labels(timm: Any, module: nn.Module) -> "list[str] | None":
    """Return the class names of a timm network, from its cfg or timm's ImageNet lists; ``None`` if unknown."""
    config: dict[str, Any] = getattr(module, "pretrained_cfg", {})
    names = config.get("label_descriptions") or config.get("label_names")
    if isinstance(names, dict):
        names = [names[key] for key in config.get("label_names") or names]
    if names and len(names) == getattr(module, "num_classes", 0):
        return list(names)
    subset = timm.data.infer_imagenet_subset(module)
    return list(timm.data.ImageNetInfo(subset).label_descriptions()) if subset else None
