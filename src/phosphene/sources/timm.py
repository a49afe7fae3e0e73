"""``timm:NAME`` or ``@random``: preprocessing comes from the pretrained cfg, ImageNet's labels from timm's lists."""

from typing import Any

from torch import nn

from phosphene.classifier import Classifier
from phosphene.errors import CardError, SpecError, WeightsError, first_line, nearest
from phosphene.extras import require
from phosphene.sources.factory import same_every_time
from phosphene.sources.hub import offline_if_unreachable

RANDOM = "random"


def list_specs() -> list[tuple[str, str]]:
    """Return every network of timm that has pretrained weights."""
    timm = require("timm", "timm")
    return [(f"timm:{name}", "pretrained weights from the hub") for name in timm.list_pretrained()]


def load(rest: str, *, trust: bool) -> Classifier:
    """Load a network of timm by name; nothing of it needs trust, its weights are read as plain tensors.

    Raises:
        ExtraError: timm is missing or broken.
        SpecError: no network or weights are called so.
        WeightsError: the weights cannot be fetched.
    """
    name, at, which = rest.partition("@")
    if at and which != RANDOM:
        raise SpecError(f"timm:{rest}: after @ only {RANDOM} is known; weights are chosen as timm:NAME.TAG.")
    timm = require("timm", "timm")
    _check_name(timm, name)
    try:
        with offline_if_unreachable("timm"):
            module = same_every_time(lambda: timm.create_model(name, pretrained=not at), f"timm's {name}")
    except CardError as error:
        cause = error.__cause__ or error
        raise WeightsError(
            f"weights of timm:{name} cannot be fetched ({first_line(cause)}): take timm:{name}@{RANDOM}, or a card "
            f'with arch = "timm:{name}" and weights that lie on this machine.'
        ) from error
    facts = timm.data.resolve_model_data_config(module)
    channels, height, width = facts["input_size"]
    return Classifier(
        module.float().eval(),
        size=(height, width),
        mean=_each(facts["mean"], channels),
        std=_each(facts["std"], channels),
        labels=_labels(timm, module),
        name=f"{name}-{RANDOM}" if at else name,
        notes=["its weights are random"] if at else [],
        origin={"arch": f"timm:{name}"},
    )


def build(name: str, *, classes: int, size: tuple[int, int], channels: int = 3) -> nn.Module:
    """Build an architecture with random weights, the same ones every time.

    Raises:
        SpecError: timm has none of this name.
        CardError: it refuses the size or the channels.
    """
    timm = require("timm", "timm")
    _check_name(timm, name)
    facts = timm.get_pretrained_cfg(name)
    fixed = facts is not None and facts.fixed_input_size and tuple(facts.input_size[1:]) != tuple(size)
    settings: dict[str, Any] = {"img_size": size} if fixed else {}
    network: nn.Module = same_every_time(
        lambda: timm.create_model(name, pretrained=False, num_classes=classes, in_chans=channels, **settings),
        f"timm's {name}",
    )
    return network


def _check_name(timm: Any, name: str) -> None:
    known = timm.list_pretrained() if "." in name else timm.list_models()
    if name not in known:
        fix = nearest(name, known) or " `phosphene models timm` lists what it has."
        raise SpecError(f"timm has no network {name!r}.{fix}")


def _each(values: Any, channels: int) -> tuple[float, ...]:
    return tuple(values) * (channels if len(values) == 1 else 1)


def _labels(timm: Any, module: nn.Module) -> "list[str] | None":
    """Names of the classes, where the cfg has them or they are one of ImageNet's sets."""
    facts: dict[str, Any] = getattr(module, "pretrained_cfg", {})
    count = getattr(module, "num_classes", 0)
    names = facts.get("label_descriptions") or facts.get("label_names")
    if isinstance(names, dict):
        names = [names[key] for key in facts.get("label_names") or names]
    if names and len(names) == count:
        return list(names)
    subset = timm.data.infer_imagenet_subset(module)
    return list(timm.data.ImageNetInfo(subset).label_descriptions()) if subset else None
