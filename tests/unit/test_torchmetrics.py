"""The metric as a torchmetrics.Metric: the pure function, batch by batch."""

import copy
import importlib
import pickle
import sys

import numpy as np
import pytest
import torch

from phosphene.errors import ArgumentError, ConceptError, ExtraError, PhospheneError
from phosphene.metrics.m_score import m_score_of_logits
from phosphene.metrics.torchmetrics import MScore

CONCEPTS = [1, 4, 7]


@pytest.mark.parametrize("scale", [0.1, 3.0, 1e4])
@pytest.mark.parametrize("parts", [[12], [1, 11], [5, 4, 3]])
def test_it_agrees_with_the_pure_function_over_several_updates(scale, parts):
    torch.manual_seed(0)
    logits = torch.randn(12, 9) * scale
    metric = MScore(CONCEPTS)
    for part in torch.split(logits, parts):
        metric.update(part)
    assert float(metric.compute()) == pytest.approx(m_score_of_logits(logits, CONCEPTS), abs=1e-12)


def test_hand_computed_cases():
    metric = MScore([0, 1, 2, 2])
    metric.update(torch.eye(3) * 200)
    assert float(metric.compute()) == pytest.approx(1)
    metric.reset()
    metric.update(torch.ones(5, 3))
    assert float(metric.compute()) == pytest.approx(1 / 3)


def test_a_call_gives_the_batch_and_keeps_the_whole():
    torch.manual_seed(1)
    first, second = torch.randn(2, 6, 9) * 2
    metric = MScore(CONCEPTS)
    assert float(metric(first)) == pytest.approx(m_score_of_logits(first, CONCEPTS))
    assert float(metric(second)) == pytest.approx(m_score_of_logits(second, CONCEPTS))
    both = m_score_of_logits(torch.cat([first, second]), CONCEPTS)
    assert float(metric.compute()) == pytest.approx(both)


def test_two_processes_merge_by_sums():
    """What torchmetrics does across processes: each state reduced by its own function."""
    torch.manual_seed(2)
    halves = torch.randn(2, 8, 9) * 3
    workers = [MScore(CONCEPTS), MScore(CONCEPTS)]
    for worker, half in zip(workers, halves, strict=True):
        worker.update(half)
    merged = MScore(CONCEPTS)
    merged.update(torch.zeros(1, 9))  # replaced below
    for name in merged._defaults:
        assert merged._reductions[name] is not None
        states = torch.stack([getattr(worker, name) for worker in workers])
        setattr(merged, name, merged._reductions[name](states))
    assert float(merged.compute()) == pytest.approx(m_score_of_logits(halves.flatten(0, 1), CONCEPTS))


def test_it_is_copied_and_pickled_with_what_it_has_seen():
    metric = MScore(CONCEPTS)
    metric.update(torch.randn(6, 9, generator=torch.Generator().manual_seed(0)))
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):  # noqa: S301
        assert other.compute() == metric.compute()


def test_it_says_what_it_is():
    assert MScore.higher_is_better is True
    assert MScore.full_state_update is False
    assert MScore.is_differentiable is False


def test_refusals():
    with pytest.raises(ConceptError, match="at least 2"):
        MScore([3, 3])
    for concepts in (["star", "heart"], 3, "ab", [-1, 2]):
        with pytest.raises(ArgumentError, match=r"must be indices of classes, such as \[0, 3\]"):
            MScore(concepts)
    for logits in (torch.zeros(2, 7), torch.zeros(9), np.zeros((2, 9))):
        with pytest.raises(ArgumentError, match="more classes than the last concept, 7"):
            MScore(CONCEPTS).update(logits)
    with pytest.warns(UserWarning, match="compute"), pytest.raises(ConceptError, match="update"):
        MScore(CONCEPTS).compute()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise ModuleNotFoundError('No module named \\'torchmetrics\\'', name='torchmetrics')", "is not installed"),
        ("raise RuntimeError('operator torchvision::nms does not exist\\nmore')", "is broken.*torchvision::nms"),
    ],
)
def test_without_the_extra_it_says_in_a_line_how_to_get_it(monkeypatch, tmp_path, text, says):
    (tmp_path / "torchmetrics.py").write_text(text, encoding="utf-8")
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchmetrics"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "phosphene.metrics.torchmetrics")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ExtraError, match=rf"{says}.*pip install 'phosphene\[torchmetrics\]'") as caught:
        importlib.import_module("phosphene.metrics.torchmetrics")
    assert isinstance(caught.value, PhospheneError)
    assert isinstance(caught.value, ImportError)
    assert "\n" not in str(caught.value)
