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
    from phosphene.api import map_concepts
    from phosphene.backdoor.scan import scan
    from phosphene.classifier import Classifier
    from phosphene.concept_map import ConceptMap, ConceptMaps, render
    from phosphene.errors import PhospheneError
    from phosphene.metrics.m_score import m_score
    from phosphene.metrics.scores import score
    from phosphene.recipe import Recipe
    from phosphene.runs import RunDirectory, open_run
    from phosphene.samples import load_samples
    from phosphene.sources import load

# name -> module; loaded when first asked for, so that `import phosphene` costs nothing.
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

__all__ = [
    "Classifier",
    "ConceptMap",
    "ConceptMaps",
    "PhospheneError",
    "Recipe",
    "RunDirectory",
    "__version__",
    "load",
    "load_samples",
    "m_score",
    "map_concepts",
    "open_run",
    "render",
    "scan",
    "score",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'phosphene' has no attribute {name!r}")
    import importlib  # noqa: PLC0415

    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
