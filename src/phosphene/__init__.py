"""phosphene: what an image classifier sees for a class when it is given no image at all.

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
    from phosphene.api.evaluation import check as check
    from phosphene.api.evaluation import compare as compare
    from phosphene.api.evaluation import score as score
    from phosphene.api.files import card as card
    from phosphene.api.files import doctor as doctor
    from phosphene.api.files import film as film
    from phosphene.api.mapping import map_concepts as map_concepts
    from phosphene.api.mapping import map_models as map_models
    from phosphene.api.scanning import scan as scan
    from phosphene.api.scanning import scan_run as scan_run
    from phosphene.classifier import Classifier as Classifier
    from phosphene.concept_map import ConceptMap as ConceptMap
    from phosphene.concept_map import render as render
    from phosphene.errors import PhospheneError as PhospheneError
    from phosphene.metrics.m_score import m_score as m_score
    from phosphene.recipe import RECIPES as RECIPES
    from phosphene.recipe import Recipe as Recipe
    from phosphene.runs import RunDirectory as RunDirectory
    from phosphene.runs import open_run as open_run
    from phosphene.samples import load_samples as load_samples
    from phosphene.sources import SPEC_FORMS as SPEC_FORMS
    from phosphene.sources import list_specs as list_specs
    from phosphene.sources import load as load
    from phosphene.web import serve as serve
    from phosphene.workflows.concept_maps import ConceptMaps as ConceptMaps
    from phosphene.workflows.demo import run_demo as run_demo

    def report(run: object, *, reference: "str | None" = None) -> str:
        """Write the report of a run: :func:`phosphene.report.write_report`."""


# name -> module, imported when the name is first used, so that `import phosphene` is quick.
_LAZY = {
    "Classifier": "phosphene.classifier",
    "ConceptMap": "phosphene.concept_map",
    "ConceptMaps": "phosphene.workflows.concept_maps",
    "PhospheneError": "phosphene.errors",
    "RECIPES": "phosphene.recipe",
    "Recipe": "phosphene.recipe",
    "RunDirectory": "phosphene.runs",
    "SPEC_FORMS": "phosphene.sources",
    "card": "phosphene.api.files",
    "check": "phosphene.api.evaluation",
    "compare": "phosphene.api.evaluation",
    "doctor": "phosphene.api.files",
    "film": "phosphene.api.files",
    "list_specs": "phosphene.sources",
    "load": "phosphene.sources",
    "load_samples": "phosphene.samples",
    "m_score": "phosphene.metrics.m_score",
    "map_concepts": "phosphene.api.mapping",
    "map_models": "phosphene.api.mapping",
    "open_run": "phosphene.runs",
    "render": "phosphene.concept_map",
    "report": "phosphene",
    "run_demo": "phosphene.workflows.demo",
    "scan": "phosphene.api.scanning",
    "scan_run": "phosphene.api.scanning",
    "score": "phosphene.api.evaluation",
    "serve": "phosphene.web",
}

__all__ = ["__version__", *_LAZY]  # noqa: PLE0604  (the keys are strings)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'phosphene' has no attribute {name!r}")
    import importlib  # noqa: PLC0415  (needed for these names only)

    if name == "report":  # the package of this name is callable
        return importlib.import_module("phosphene.report")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
