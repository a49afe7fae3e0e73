"""Optional libraries: imported when they are needed, and if one is missing, the message names the pip command.

torchvision can be installed yet broken: its compiled part belongs to another torch. Importing it then stops at
``operator torchvision::nms does not exist``, and so does every library that imports it. Its models do not need that
part: once the operators are declared, without bodies, it imports, and all that is not detection works.
"""

import importlib
import logging
import re
import shlex
import shutil
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import ModuleType

from phosphene.errors import ExtraError, first_line

# What torchvision describes to torch without asking whether it exists.
OPERATORS = ("nms", "qnms")
SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
# Libraries whose package has another name than their module.
PACKAGES = {"skimage": "scikit-image"}
# Extras whose libraries import torchvision.
TORCHVISION_EXTRAS = {"torchvision", "timm", "hf", "onnx", "torchmetrics"}

log = logging.getLogger("phosphene")


def require(library: str, extra: str) -> ModuleType:
    """Import and return a library; ExtraError with the pip command if that is impossible.

    If its extra uses torchvision, a torchvision that does not match torch is repaired first.

    Args:
        library: The module to import.
        extra: The extra of this package that installs it.

    Raises:
        ExtraError: it is not installed, or is broken; the message names the pip command.
    """
    if extra in TORCHVISION_EXTRAS:
        repair_torchvision()
    try:
        return importlib.import_module(library)
    except (ImportError, RuntimeError, OSError) as error:
        module = library.partition(".")[0]
        missing = isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] == module
        what = "not installed" if missing else f"broken ({first_line(error)})"
        raise ExtraError(f"{PACKAGES.get(module, module)} is {what}: {install_command(extra)}.") from None


def install_command(extra: str) -> str:
    """Return the command that installs an extra for this Python: ``pip install 'phosphene[serve]'``.

    It is ``/path/to/python -m pip ...`` where the shell finds the pip of another Python.
    """
    pip = shutil.which("pip")
    is_own_pip = pip is not None and Path(pip).parent == Path(sys.executable).parent
    return f"{'pip' if is_own_pip else f'{shlex.quote(sys.executable)} -m pip'} install 'phosphene[{extra}]'"


def missing_packages() -> dict[str, list[str]]:
    """Return extra -> its packages that are not installed.

    The extras are those that the installed package's metadata names; there are none where phosphene itself was not
    installed.
    """
    distribution = next(iter(metadata.distributions(name="phosphene")), None)
    if distribution is None:
        return {}
    missing: dict[str, list[str]] = {extra: [] for extra in distribution.metadata.get_all("Provides-Extra") or []}
    for requirement in distribution.requires or []:
        match = re.fullmatch(r"([\w.-]+).*\bextra == ['\"]([\w.-]+)['\"]", requirement)
        if match and not any(metadata.distributions(name=match[1])):
            missing[match[2]].append(match[1])
    return missing


def repair_torchvision() -> None:
    """Import torchvision; if it does not match torch, declare its operators and import it again.

    A repair is logged once, as a warning of the logger ``phosphene``. Nothing happens if torchvision is not installed, or
    cannot be imported for another reason.
    """
    if "torchvision" in sys.modules:
        return
    mismatch = ""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        mismatch = first_line(error) if "torchvision::" in str(error) else ""
    except (ImportError, OSError):
        pass  # whoever imports it next will report it
    if not mismatch:
        return
    import torch  # noqa: PLC0415  (torchvision has imported it by now)

    for name in OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", SCHEMA)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # half-imported
    with suppress(ImportError, RuntimeError, OSError):
        version = importlib.import_module("torchvision").__version__
        log.warning(
            "phosphene: torchvision %s does not match torch %s (%s): its compiled operators are missing, its models work "
            "all the same.",
            *(version, torch.__version__, mismatch),
        )
