"""torchvision can be installed yet broken: its compiled part is for another torch. Its models do not need that part.

Importing it then stops at ``operator torchvision::nms does not exist``, and so does every library that imports it.
Once the operators are declared, without bodies, it imports, and all that is not detection works.
"""

import importlib
import logging
import sys

import torch

from phosphene.errors import first_line

# What torchvision describes to torch without asking whether it is there.
OPERATORS = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

log = logging.getLogger("phosphene")


def mend() -> str:
    """Import torchvision, and where that fails for want of its compiled part, declare the operators and try again.

    Says once that it did so, as a warning of the logger ``phosphene``.

    Returns:
        What was done, in a line; empty where nothing had to be, or torchvision is not there at all.
    """
    if "torchvision" in sys.modules:
        return ""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            return ""  # some other trouble: whoever imports it next will see
        why = first_line(error)
    except (ImportError, OSError):
        return ""
    else:
        return ""
    _declare()
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # half-imported
    try:
        version = importlib.import_module("torchvision").__version__
    except (ImportError, RuntimeError, OSError):
        return ""
    done = (
        f"torchvision {version} does not match torch {torch.__version__} ({why}): its compiled operators are missing, "
        "its models work all the same."
    )
    log.warning("phosphene: %s", done)
    return done


def _declare() -> None:
    for name in OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", SCHEMA)
