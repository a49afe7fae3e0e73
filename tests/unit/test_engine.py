"""The engine computes the right gradients, and leaves the network as it was."""

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from phosphene.classifier import Classifier
from phosphene.concept_map import Job
from phosphene.engine import Engine
from phosphene.engine.device import pick_precision, single_precision
from phosphene.engine.memory import halving_micro_batch
from phosphene.engine.modules import channels_first, forward_hooks, has_depthwise
from phosphene.errors import CardError, DeviceError, NumericError, PhospheneError, RecipeError
from phosphene.mapper import map_jobs
from phosphene.recipe import Recipe, resolve
from phosphene.samples.pool import make_pool


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(6, 8, 3, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )


def classifier() -> Classifier:
    return Classifier(network(), size=12, mean=[0.5] * 3, std=[0.25] * 3)


def samples(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("micro_batch", [1, 4, 7, 64])
def test_mean_gradients_are_those_at_the_clipped_inputs(micro_batch: int) -> None:
    one = classifier()
    batch, classes = samples(3, 5, 3, 12, 12), torch.tensor([0, 4, 4])
    nu = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(2)) * 0.5
    with Engine(one, device="cpu", micro_batch=micro_batch) as engine:
        found = engine.mean_gradients(batch, nu, classes)
        probability = engine.mean_probabilities(batch, nu, classes)
    one.module.eval()
    for row in range(3):
        clipped = (batch[row].float() / 255 - nu[row]).clamp(0, 1).requires_grad_()
        logits = one.logits(clipped)
        loss = functional.cross_entropy(logits, classes[row].repeat(5))
        (gradient,) = torch.autograd.grad(loss, clipped)  # the mean is in the loss
        torch.testing.assert_close(found.gradient[row], gradient.sum(0), atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(found.loss[row], loss.detach())
        torch.testing.assert_close(probability[row], logits.softmax(1)[:, classes[row]].mean().detach())
        assert float(found.hits[row]) == pytest.approx(float((logits.argmax(1) == classes[row]).float().mean()))


def state(module: nn.Module) -> list[object]:
    flags: list[object] = [part.training for part in module.modules()]
    flags += [len(part._forward_hooks) for part in module.modules()]
    for tensor in [*module.parameters(), *module.buffers()]:
        flags += [tensor.requires_grad, tensor.dtype, tensor.stride(), tensor.data_ptr(), tensor.grad is None]
    return flags


@pytest.mark.parametrize("precision", ["fp32", "fp64", "bf16"])
def test_the_network_is_restored_on_exit_and_on_an_error(precision: str) -> None:
    one = classifier()
    one.module.train()
    one.module[4].eval()
    one.module[0].weight.requires_grad_(requires_grad=False)
    before, weights = state(one.module), {k: v.clone() for k, v in one.module.state_dict().items()}
    with Engine(one, device="cpu", precision=precision) as engine:
        assert not any(part.training for part in one.module.modules())
        engine.activations(torch.rand(2, 3, 12, 12), "4")
    assert state(one.module) == before
    with pytest.raises(RecipeError), Engine(one, device="cpu", precision=precision) as engine:
        engine.spatial_layer("there is no such module")
    assert state(one.module) == before
    for key, value in one.module.state_dict().items():
        assert torch.equal(value, weights[key]), key


def test_parameters_that_torch_replaces_are_restored() -> None:
    one = classifier()
    before = state(one.module), [id(parameter) for parameter in one.module.parameters()]
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with Engine(one, device="cpu", precision="fp64"):
            assert next(one.module.parameters()).dtype is torch.float64
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
    assert (state(one.module), [id(parameter) for parameter in one.module.parameters()]) == before


def test_no_hook_is_left_where_one_cannot_be_registered() -> None:
    class Refusing(nn.Module):
        def register_forward_hook(self, *_: object, **__: object) -> NoReturn:
            raise RuntimeError("no hooks here")

    first = nn.ReLU()
    with pytest.raises(RuntimeError, match="no hooks here"), forward_hooks([first, Refusing()], print):
        pass
    assert not first._forward_hooks


@pytest.mark.parametrize(
    ("name", "device", "capability", "picked"),
    [
        ("auto", "cpu", None, "fp32"),
        ("auto", "cuda", (8, 0), "bf16"),
        ("auto", "cuda", (7, 5), "fp32"),
        ("tf32", "cuda", (8, 0), "tf32"),
        ("bf16", "cuda", (7, 5), "bf16"),
    ],
)
def test_auto_is_bf16_on_a_gpu_that_computes_in_it(
    name: str, device: str, capability, picked: str, monkeypatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert pick_precision(name, torch.device(device)) == picked


def test_scans_and_examinations_are_in_single_precision_unless_another_is_asked_for() -> None:
    assert [single_precision(name) for name in ("auto", "fp32", "bf16")] == ["tf32", "fp32", "bf16"]


def test_kernels_are_laid_out_with_channels_first_whatever_the_caller_did() -> None:
    """Those of 1 x 1, and depthwise ones, count as either layout, and torch would go on to take the other."""
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4)).to(memory_format=torch.channels_last)
    channels_first(module)
    for part in module:
        assert part.weight.stride() == torch.empty(part.weight.shape).stride()


def test_depthwise_convolutions_are_recognised() -> None:
    """With one channel, or one group per two channels, a convolution is none."""
    assert has_depthwise(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.Conv2d(4, 8, 3, groups=4))))
    assert not has_depthwise(nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3, groups=2), nn.Linear(4, 4)))


def test_autocast_of_the_caller_does_not_change_the_precision() -> None:
    one, images, classes = classifier(), torch.rand(2, 3, 12, 12), torch.tensor([0, 1])
    with Engine(one, device="cpu") as engine:
        expected = engine.logits(images), engine.gradients(images, classes).gradient
        with torch.autocast("cpu", torch.bfloat16):
            found = engine.logits(images), engine.gradients(images, classes).gradient
    torch.testing.assert_close(found, expected)


def test_an_engine_that_another_thread_closes_leaves_autocast_as_it_was_in_both() -> None:
    def autocast() -> tuple[bool, bool, int]:
        torch.autocast_decrement_nesting()  # returns how deep it then is
        return torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled(), torch.autocast_increment_nesting()

    def close() -> "tuple[bool, bool, int]":
        engine.__exit__(None, None, None)
        return autocast()

    before = autocast()
    engine = Engine(classifier(), device="cpu").__enter__()
    engine.logits(torch.rand(2, 3, 12, 12))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(close).result() == before
    assert autocast() == before


def test_a_map_does_not_depend_on_autocast_and_default_type_of_the_caller() -> None:
    """Nor on what follows the forward pass: gradients, their smoothing, colours; nor on what is drawn and measured: views, statistics."""
    one, pool = classifier(), make_pool(samples(12, 3, 12, 12), "test")
    recipe = resolve("vivid", {"batch_size": 4, "steps": 2})

    def make() -> Tensor:
        with Engine(one, device="cpu") as engine:
            return map_jobs(engine, pool, [Job(1)], recipe)[0].nu

    expected = make()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(make(), expected)
    torch.set_default_dtype(torch.float64)
    try:
        torch.testing.assert_close(make(), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_threads_that_share_a_network_take_turns() -> None:
    """Also where the two networks are different ones around the same part; one thread may open several engines."""
    one, images = classifier(), torch.rand(2, 3, 12, 12)
    one.module.train()
    around = Classifier(nn.Sequential(one.module), size=12)
    before, other_is_in = state(one.module), threading.Event()

    def open_another() -> None:
        with Engine(around, device="cpu", precision="fp64"):
            other_is_in.set()

    thread = threading.Thread(target=open_another)
    with Engine(one, device="cpu") as engine, Engine(one, device="cpu"):
        thread.start()
        assert not other_is_in.wait(0.3)
        assert engine.logits(images).dtype == torch.float32
    thread.join(10)
    assert other_is_in.is_set()
    assert state(one.module) == before
    with Engine(one, device="cpu") as engine, ThreadPoolExecutor(1) as pool:  # what is found without an engine, too
        found = pool.submit(lambda: (around.sha256, around.num_classes))
        time.sleep(0.1)
        assert not found.done()
        engine.__exit__()
        assert found.result(10)[1] == 5


def test_an_engine_may_be_closed_in_another_thread() -> None:
    one = classifier()
    engine = Engine(one, device="cpu").__enter__()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(engine.__exit__).result(10)
        assert pool.submit(lambda: one.sha256).result(10)
    assert one.num_classes == 5


def test_an_engine_that_cannot_open_is_closed_and_the_network_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    one = classifier()
    one.module.train()
    before = state(one.module)
    engine = Engine(one, device="cpu")

    def refuse(*_: object, **__: object) -> NoReturn:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(one.module, "to", refuse)
    with pytest.raises(RuntimeError, match="out of memory"):
        engine.__enter__()
    assert state(one.module) == before
    with pytest.raises(PhospheneError, match="with Engine"):
        engine.logits(torch.rand(1, 3, 12, 12))


def test_random_state_is_left_alone() -> None:
    one, pool = classifier(), make_pool(samples(12, 3, 12, 12), "test")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with Engine(one, device="cpu") as engine:
        map_jobs(engine, pool, [Job(1)], Recipe(batch_size=2, steps=2, refine_steps=1, rounds=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_last_spatial_module_is_found_or_named() -> None:
    with Engine(classifier(), device="cpu") as engine:
        assert engine.spatial_layer() == "4"
        assert engine.spatial_layer("2") == "2"
        with pytest.raises(RecipeError, match="not a module"):
            engine.spatial_layer("features.9")
        with pytest.raises(RecipeError, match="no spatial activation"):
            engine.spatial_layer("7")


def test_a_network_without_space_says_so() -> None:
    flat = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * 144, 4)), size=12)
    with (
        Engine(flat, device="cpu") as engine,
        pytest.raises(RecipeError, match="which Xi needs: use a network with convolutions"),
    ):
        engine.spatial_layer()


def test_nan_stops_and_names_the_network_and_the_step() -> None:
    one = classifier()
    one.name = "broken"
    with torch.no_grad():
        one.module[7].weight.fill_(float("nan"))
    pool = make_pool(samples(12, 3, 12, 12), "test")
    recipe = Recipe(batch_size=2, steps=2, refine_steps=0, rounds=1)
    with Engine(one, device="cpu") as engine, pytest.raises(NumericError, match=r"broken.*step 1 of 2"):
        map_jobs(engine, pool, [Job(0)], recipe)


def test_a_closed_engine_says_how_to_open_it() -> None:
    with pytest.raises(PhospheneError, match="with Engine"):
        Engine(classifier(), device="cpu").logits(torch.rand(1, 3, 12, 12))


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "mps"])
def test_devices_that_are_not_there(device: str) -> None:
    with pytest.raises(DeviceError, match=device):
        Engine(classifier(), device=device)
    with pytest.raises(DeviceError, match="fp8"):
        Engine(classifier(), device="cpu", precision="fp8")


class Hungry(nn.Module):
    """Raises ``error`` on more than ``most`` images at once."""

    def __init__(self, most: int, error: RuntimeError) -> None:
        super().__init__()
        self.most, self.error, self.net = most, error, network()

    def forward(self, pixels: Tensor) -> Tensor:
        if len(pixels) > self.most:
            raise self.error
        answer: Tensor = self.net(pixels)
        return answer


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError(),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_halved_and_computed_all_the_same(error: RuntimeError) -> None:
    torch.manual_seed(0)
    hungry = Classifier(Hungry(3, error), size=12)
    batch, nu, classes = samples(2, 5, 3, 12, 12), torch.zeros(2, 3, 12, 12), torch.tensor([1, 2])
    with Engine(hungry, device="cpu", micro_batch=16) as engine:
        found = engine.mean_gradients(batch, nu, classes)
        assert engine.micro_batch == 2
        hungry.module.most = 99
        engine.micro_batch = 16
        torch.testing.assert_close(found, engine.mean_gradients(batch, nu, classes))
        hungry.module.most = 0
        with pytest.raises(DeviceError, match="no memory for one image") as refusal:
            engine.logits(torch.rand(1, 3, 12, 12))
        assert str(error) in str(refusal.value)  # which may say that something else is wrong


def test_where_memory_runs_out_python_frees_what_only_refers_to_itself() -> None:
    cycle = nn.Identity()
    cycle.own = [cycle]  # type: ignore[assignment]
    found, seen = weakref.ref(cycle), []
    del cycle

    @halving_micro_batch
    def run(_: Engine) -> None:
        seen.append(found() is None)
        if not seen[-1]:
            raise torch.cuda.OutOfMemoryError

    gc.disable()
    try:
        with Engine(classifier(), device="cpu", micro_batch=4) as engine:
            run(engine)
    finally:
        gc.enable()
    assert seen == [False, True]


def test_gradients_that_the_caller_left_in_the_network_are_kept() -> None:
    one = classifier()
    one.module(torch.rand(2, 3, 12, 12)).sum().backward()
    before = {name: p.grad for name, p in one.module.named_parameters()}
    values = {name: p.grad.clone() for name, p in one.module.named_parameters() if p.grad is not None}
    with Engine(one, device="cpu", precision="fp64") as engine:
        engine.logits(torch.rand(1, 3, 12, 12))
    for name, parameter in one.module.named_parameters():
        assert parameter.grad is before[name]
        assert parameter.grad.dtype == torch.float32
        assert torch.equal(parameter.grad, values[name])
        assert parameter.requires_grad


def test_a_network_that_casts_its_input_itself_is_named() -> None:
    """It was converted; torch's own words are about a bias."""

    class Casting(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.double())

    one = Classifier(Casting(*network()).double(), size=12)
    assert one.num_classes == 5
    with (
        Engine(one, device="cpu") as engine,
        pytest.raises(CardError, match=r"converted to float32 \(.*casts to another type itself: leave the cast out"),
    ):
        engine.logits(torch.rand(1, 3, 12, 12))
    with Engine(one, device="cpu", precision="fp64") as engine:
        assert engine.logits(torch.rand(1, 3, 12, 12)).dtype == torch.float64


def test_a_network_whose_tensors_do_not_follow_it_is_named() -> None:
    class Shifted(nn.Sequential):
        shift = torch.zeros(12)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x + self.shift)

    one = Classifier(Shifted(*network()), size=12, name="shifted")
    assert one.num_classes == 5
    one.module.shift = torch.zeros(12, device="meta")
    with (
        Engine(one, device="cpu") as engine,
        pytest.raises(
            CardError, match=r"shifted has .* not on cpu \(.*\): register them as buffers, or use --device cuda"
        ),
    ):
        engine.logits(torch.rand(1, 3, 12, 12))


def test_an_engine_is_opened_once_and_the_network_restored() -> None:
    one = classifier()
    before = state(one.module)
    with Engine(one, device="cpu", precision="fp64") as engine:
        with pytest.raises(PhospheneError, match="open already: make an Engine for each"), engine:
            pass
        assert engine.logits(torch.rand(1, 3, 12, 12)).dtype == torch.float64
    assert state(one.module) == before


def test_inference_mode_is_refused_in_one_line() -> None:
    engine = Engine(classifier(), device="cpu")
    with torch.inference_mode(), pytest.raises(PhospheneError, match="inference_mode"):
        engine.__enter__()


def test_a_network_that_was_made_in_inference_mode_gives_gradients_and_is_left_as_it_was() -> None:
    images, target = torch.rand(2, 3, 12, 12), torch.tensor([1, 2])
    with Engine(classifier(), device="cpu") as engine:
        expected = engine.gradients(images, target).gradient
    with torch.inference_mode():
        one = classifier()
    one.module.train()
    before = list(one.module.parameters())
    with Engine(one, device="cpu") as engine:
        assert engine.gradients(images, target).gradient.equal(expected)
    assert one.module.training
    assert all(a is b for a, b in zip(one.module.parameters(), before, strict=True))


def test_samples_are_classified_once_while_the_engine_is_open() -> None:
    seen: list[int] = []
    network_here = classifier()
    network_here.module.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
    held_out = samples(4, 3, 12, 12)
    with Engine(network_here) as engine:
        first = engine.logits_of_samples(held_out)
        assert first.equal(engine.logits(held_out / 255))
        seen.clear()
        assert first.equal(engine.logits_of_samples(held_out))
        assert not seen
        engine.logits_of_samples(held_out.clone())
        assert sum(seen) == 4  # of other samples nothing is known
    with engine:
        seen.clear()
        engine.logits_of_samples(held_out)
        assert sum(seen) == 4


class LeNet(nn.Module):
    """Flattens feature maps as many tutorials do: by ``view``, which needs channels first in memory, or by ``flatten``."""

    def __init__(self, *, view: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 3), nn.ReLU())
        self.head = nn.Linear(16 * 4 * 4, 5)
        self.by_view = view

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.head(x.view(-1, 16 * 4 * 4) if self.by_view else x.flatten(1))


def test_a_network_that_views_its_feature_maps_gets_them_with_channels_first() -> None:
    pool = make_pool(samples(40, 3, 16, 16), "test")
    found = []
    for view in (True, False):
        module = LeNet(view=view)
        layouts = [one.stride() for one in module.parameters()]
        classifier = Classifier(module, size=16)
        assert classifier.num_classes == 5
        with Engine(classifier, device="cpu") as engine:
            (one,) = map_jobs(engine, pool, [Job(2)], Recipe(steps=3, batch_size=4, refine_steps=1))
            assert engine.spatial_layer() == "features"
        assert [one.stride() for one in module.parameters()] == layouts
        found.append(one)
    assert found[0].nu.std() > 0
    torch.testing.assert_close(found[0].p_class, found[1].p_class, rtol=0.05, atol=0.02)
