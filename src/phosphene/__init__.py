"""phosphene: what an image classifier sees for a class when it is given no image at all.

Input-agnostic saliency maps (Akhtar & Jalwana, arXiv 2303.17836).

Example:
    >>> import phosphene as ph
    >>> classifier = ph.load("demo:shapes")
    >>> maps = ph.map_concepts(classifier, ["star"], recipe="quick", overrides={"steps": 2, "refine_steps": 1})
    >>> maps[0].nu.shape
    torch.Size([3, 96, 96])
"""

from typing import TYPE_CHECKING, Any

from phosphene.version import __version__

if TYPE_CHECKING:
    from phosphene.api import map_concepts as map_concepts
    from phosphene.backdoor.scan import scan as scan
    from phosphene.classifier import Classifier as Classifier
    from phosphene.concept_map import ConceptMap as ConceptMap
    from phosphene.concept_map import ConceptMaps as ConceptMaps
    from phosphene.concept_map import render as render
    from phosphene.errors import PhospheneError as PhospheneError
    from phosphene.metrics.m_score import m_score as m_score
    from phosphene.metrics.scores import score as score
    from phosphene.recipe import Recipe as Recipe
    from phosphene.runs import RunDirectory as RunDirectory
    from phosphene.runs import open_run as open_run
    from phosphene.samples import load_samples as load_samples
    from phosphene.sources import load as load

# name -> module, imported when the name is first used, so that `import phosphene` is quick.
_LAZY = {
    "Classifier": "phosphene.classifier",
    "ConceptMap": "phosphene.concept_map",
    "ConceptMaps": "phosphene.concept_map",
    "PhospheneError": "phosphene.errors",
    "Recipe": "phosphene.recipe",
    "RunDirectory": "phosphene.runs",
    "load": "phosphene.sources",
    "load_samples": "phosphene.samples",
    "m_score": "phosphene.metrics.m_score",
    "map_concepts": "phosphene.api",
    "open_run": "phosphene.runs",
    "render": "phosphene.concept_map",
    "scan": "phosphene.backdoor.scan",
    "score": "phosphene.metrics.scores",
}

__all__ = ["__version__", *_LAZY]  # noqa: PLE0604  (the keys are strings)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'phosphene' has no attribute {name!r}")
    import importlib  # noqa: PLC0415  (needed for these names only)

    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
