"""phosphene: what an image classifier associates with a class, whatever the image.

Input-agnostic saliency maps (Akhtar & Jalwana, arXiv 2303.17836).

Example:
    >>> import phosphene as ph
    >>> few = {"steps": 2, "refine_steps": 1}
    >>> maps = ph.map_concepts("demo:shapes", "star", recipe="quick", overrides=few, progress=False)
    >>> maps["star"][0].nu.shape
    torch.Size([3, 96, 96])
"""

from typing import TYPE_CHECKING, Any

from phosphene.version import __version__

if TYPE_CHECKING:
    from phosphene import errors as errors
    from phosphene.api.evaluation import check as check, compare as compare, score as score
    from phosphene.api.files import (
        card as card,
        doctor as doctor,
        film as film,
        layers as layers,
        report as report,
        site as site,
    )
    from phosphene.api.mapping import map_concepts as map_concepts, map_models as map_models
    from phosphene.api.scanning import open_scan as open_scan, scan as scan
    from phosphene.classifier import Classifier as Classifier
    from phosphene.concept_map import ConceptMap as ConceptMap, render as render
    from phosphene.errors import PhospheneError as PhospheneError
    from phosphene.metrics.m_score import m_score as m_score
    from phosphene.recipe import RECIPES as RECIPES, Recipe as Recipe
    from phosphene.samples import load_samples as load_samples
    from phosphene.sources import SPEC_FORMS as SPEC_FORMS, list_specs as list_specs, load as load
    from phosphene.two_tower import TwoTower as TwoTower
    from phosphene.web import serve as serve
    from phosphene.workflows.concept_maps import ConceptMaps as ConceptMaps, OpenRun as OpenRun, open_run as open_run
    from phosphene.workflows.demo import run_demo as run_demo

# The same for Python: a module is imported when one of its names is first used, so that `import phosphene` is quick.
_MODULES = {
    "phosphene.api.evaluation": ("check", "compare", "score"),
    "phosphene.api.files": ("card", "doctor", "film", "layers", "report", "site"),
    "phosphene.api.mapping": ("map_concepts", "map_models"),
    "phosphene.api.scanning": ("open_scan", "scan"),
    "phosphene.classifier": ("Classifier",),
    "phosphene.concept_map": ("ConceptMap", "render"),
    "phosphene.errors": ("PhospheneError", "errors"),
    "phosphene.metrics.m_score": ("m_score",),
    "phosphene.recipe": ("RECIPES", "Recipe"),
    "phosphene.samples": ("load_samples",),
    "phosphene.sources": ("SPEC_FORMS", "list_specs", "load"),
    "phosphene.two_tower": ("TwoTower",),
    "phosphene.web": ("serve",),
    "phosphene.workflows.concept_maps": ("ConceptMaps", "OpenRun", "open_run"),
    "phosphene.workflows.demo": ("run_demo",),
}

__all__ = ["__version__", *(name for names in _MODULES.values() for name in names)]  # noqa: PLE0604  (they are strings)


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            import importlib  # noqa: PLC0415  (needed for these names only)

            imported = importlib.import_module(module)
            value = imported if name == "errors" else getattr(imported, name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'phosphene' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
