"""Exported networks: torch.export, TorchScript and ONNX answer as the network that they were made from."""

import logging
import warnings

import pytest
import torch
from torch import nn

import phosphene as ph
from phosphene.engine import Engine
from phosphene.engine.modules import frozen, refuse_mixture
from phosphene.errors import CardError, TrustError
from phosphene.sources.exported import FixedBatch
from tests import tiny
from tests.hostile import Bomb

CARD = 'exported = "{}"\n[input]\nsize = [16, 16]\nmean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\n'
KINDS = {"static.pt2": 2, "dynamic.pt2": None, "script.pt": None, "trace.ts": None, "static.onnx": 2, "any.onnx": None}


def export(path, batch, network=None, size=(16, 16), version=13, most=1024):
    """Export a network for ``batch`` pictures, or for any number; ONNX with operators of ``version``, .pt2 for up to ``most``."""
    network = (network or tiny.network()).eval()
    path.parent.mkdir(exist_ok=True)
    example = torch.rand((batch or 2, 3, *size), generator=torch.Generator().manual_seed(1))
    with warnings.catch_warnings(action="ignore"):
        if path.suffix == ".pt2":
            dynamic = None if batch else ({0: torch.export.Dim("batch", min=1, max=most)},)
            torch.export.save(torch.export.export(network, (example,), dynamic_shapes=dynamic), path)
        elif path.suffix == ".onnx":
            axes = None if batch else {"pixels": {0: "batch"}}
            names = {"input_names": ["pixels"], "dynamic_axes": axes}
            torch.onnx.export(network, (example,), str(path), dynamo=False, opset_version=version, **names)
        elif path.suffix == ".pt":
            torch.jit.script(network).save(str(path))
        else:
            torch.jit.trace(network, example).save(str(path))
    path.with_suffix(".toml").write_text(CARD.format(path.name), encoding="utf-8")
    return path


@pytest.fixture(params=list(KINDS))
def exported(request, tmp_path):
    return export(tmp_path / request.param, KINDS[request.param])


def test_it_answers_and_is_mapped_as_the_network_itself(exported):
    found, own = ph.load(exported, trust=True), tiny.classifier(labels=None)
    assert found.batch == (1024 if exported.name == "dynamic.pt2" else KINDS[exported.name])
    for count in (1, 2, 5):
        pixels = torch.rand((count, 3, 16, 16), generator=torch.Generator().manual_seed(count))
        torch.testing.assert_close(found.logits(pixels), own.logits(pixels))
    # TorchScript's layers cannot be read, and of a fixed batch the statistics are those of fewer images.
    overrides = tiny.SHORT | ({} if exported.name in ("dynamic.pt2", "any.onnx") else {"statistics": 0})
    theirs = ph.map_concepts(found, [0, 3], overrides=overrides, device="cpu")
    ours = ph.map_concepts(own, [0, 3], overrides=overrides, device="cpu")
    for one, other in zip(theirs, ours, strict=True):
        torch.testing.assert_close(one.nu, other.nu, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(one.xi, other.xi, atol=1e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore:.*no layer whose features can be read")  # TorchScript
@pytest.mark.parametrize("precision", ["bf16", "fp64"])
def test_other_precisions(exported, precision):
    found = ph.load(exported, trust=True)
    (one,) = ph.map_concepts(found, [1], overrides=tiny.SHORT, device="cpu", precision=precision)
    assert one.nu.isfinite().all()
    assert one.nu.abs().max() > 0


@pytest.mark.parametrize("name", ["script.pt", "trace.ts"])
def test_doctor_takes_scripts_whose_layers_cannot_be_read(tmp_path, name):
    facts = ph.doctor(export(tmp_path / name, None), trust=True)
    assert facts["classes"] == 5


def test_the_card_and_the_file_are_the_same(exported):
    assert ph.load(exported, trust=True).sha256 == ph.load(exported.with_suffix(".toml"), trust=True).sha256


def test_the_micro_batch_is_what_the_network_takes(tmp_path):
    found = ph.load(export(tmp_path / "a.pt2", 2), trust=True)
    with Engine(found, device="cpu") as engine:
        assert engine.micro_batch == 2
        layer = engine.spatial_layer()
        assert len(engine.activations(torch.rand(5, 3, 16, 16), layer)) == 5


def test_a_program_is_given_no_more_images_than_its_export_allows(tmp_path):
    file = export(tmp_path / "a.pt2", None, most=3)
    found = ph.load(file, trust=True)
    assert found.batch == 3
    (one,) = ph.map_concepts(found, [1], overrides=tiny.SHORT | {"batch_size": 8}, device="cpu", progress=False)
    assert one.nu.abs().max() > 0


class OneAtATime(nn.Module):
    """The tiny network with a batch size of 1 built in."""

    def __init__(self, *, fails=True):
        super().__init__()
        self.network, self.fails = tiny.network(), fails

    def forward(self, pixels):
        if self.fails:
            return self.network[7](self.network[:5](pixels).mean((2, 3)).view(1, 8))
        return self.network(pixels).view(1, -1)


@pytest.mark.filterwarnings("ignore:.*torch.jit.:DeprecationWarning", "ignore:.*no layer whose features can be read")
@pytest.mark.parametrize("kind", ["module", "one row", "trace", "program"])
def test_a_network_with_a_batch_size_of_one_built_in_gets_one_image_at_a_time(kind):
    module = OneAtATime(fails=kind != "one row").eval()
    with warnings.catch_warnings(action="ignore"):
        if kind == "trace":
            module = torch.jit.trace(module, torch.zeros(1, 3, 16, 16))
        elif kind == "program":
            module = torch.export.unflatten(torch.export.export(tiny.network(), (torch.zeros(1, 3, 16, 16),)))
    found = ph.Classifier(module, size=16)
    pixels = torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.logits(pixels), tiny.network().eval()(pixels))
    assert found.batch == 1
    (one,) = ph.map_concepts(found, [1], overrides=tiny.SHORT, device="cpu", progress=False)
    assert one.nu.abs().max() > 0


def network_file(path, network):
    """The classifier of an exported network, or of the network itself."""
    return ph.load(export(path, None, network), trust=True) if path.suffix else ph.Classifier(network, size=16)


@pytest.mark.filterwarnings("ignore:.*torch.jit.:DeprecationWarning")
@pytest.mark.parametrize("name", ["a.ts", "a.pt2", "module"])
def test_batch_normalisation_over_the_batch_is_refused(tmp_path, name):
    network = tiny.network()
    network[1] = nn.BatchNorm2d(6, track_running_stats=False)  # as any is where .eval() is forgotten
    with pytest.raises(CardError, match=r"another image is beside it, as batch norm.*\.eval\(\) before") as error:
        ph.map_concepts(network_file(tmp_path / name, network), [1], progress=False)
    assert "\n" not in str(error.value)


class RoundedByCount(nn.Module):
    """The tiny network with an error of 5 % that depends on the number of images, as large intermediate values make one."""

    def __init__(self):
        super().__init__()
        self.network = tiny.network()

    def forward(self, pixels):
        return self.network(pixels) * (1 + 0.05 * (len(pixels) > 1))


def test_logits_that_depend_on_the_number_of_images_alone_are_no_dependence_on_another_image():
    assert ph.Classifier(RoundedByCount(), size=16).batch is None


@pytest.mark.parametrize("count", [1, 3, 4, 9])
def test_any_number_goes_through_a_fixed_batch(count):
    class Four(nn.Linear):
        def forward(self, rows):
            assert len(rows) == 4
            return super().forward(rows)

    network = Four(3, 2)
    rows = torch.rand(count, 3, requires_grad=True)
    answer = FixedBatch(network, 4)(rows)
    torch.testing.assert_close(answer, nn.functional.linear(rows, network.weight, network.bias))
    answer.sum().backward()
    torch.testing.assert_close(rows.grad, network.weight.sum(0).expand(count, 3))


def test_a_damaged_program_gets_one_line_and_no_log(tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(logging.getLogger("torch.export"), "handle", logged.append)
    file = export(tmp_path / "a.pt2", 2)
    file.write_bytes(b"garbage")
    with pytest.raises(CardError, match=r"a\.pt2 is not a torch\.export program .*: export it again, "):
        ph.load(file, trust=True)
    assert not logged


@pytest.mark.parametrize("name", ["static.pt2", "script.pt"])
def test_programs_are_not_even_opened_without_trust(tmp_path, monkeypatch, name):
    file = export(tmp_path / name, 2)
    for loader in ("torch.export.load", "torch.jit.load", "torch.load"):
        monkeypatch.setattr(loader, lambda *_, **__: (tmp_path / "mark").mkdir())
    with pytest.raises(TrustError, match=rf"{name}.*--trust.*safetensors"):
        ph.load(file)
    assert not (tmp_path / "mark").exists()


def test_onnx_is_data_and_said_to_be_experimental(tmp_path):
    found = ph.load(export(tmp_path / "a.onnx", None))
    assert "experimental" in found.notes[0]


def test_a_pickled_network_is_not_run_even_with_trust(tmp_path):
    torch.save(Bomb(tmp_path / "mark"), tmp_path / "net.pt")
    (tmp_path / "net.toml").write_text(CARD.format("net.pt"), encoding="utf-8")
    with pytest.raises(CardError, match=r"net\.pt is not a TorchScript.*safetensors"):
        ph.load(tmp_path / "net.toml", trust=True)
    assert not (tmp_path / "mark").exists()


def test_names_in_onnx_cannot_become_code(tmp_path):
    """torch.fx writes Python from names of nodes."""
    import onnx

    mark = tmp_path / "mark"
    model = onnx.load(export(tmp_path / "a.onnx", None))
    for node in model.graph.node:
        node.name = f'x"), __import__("os").mkdir("{mark}") #'
    onnx.save(model, tmp_path / "a.onnx")
    assert ph.load(tmp_path / "a.onnx").num_classes == 5
    assert not mark.exists()


def test_onnx_reads_no_other_files(tmp_path):
    import onnx

    model = onnx.load(export(tmp_path / "a.onnx", None))
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    tensor.ClearField("raw_data")
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CardError, match="has its weights in other files"):
        ph.load(tmp_path / "a.onnx")


@pytest.mark.parametrize("name", list(KINDS))
@pytest.mark.parametrize("data", [b"", b"garbage" * 9, b"PK\x03\x04" + b"\xff" * 64])
def test_damaged_files_are_refused_in_one_line(tmp_path, name, data):
    file = tmp_path / name
    file.write_bytes(data)
    file.with_suffix(".toml").write_text(CARD.format(name), encoding="utf-8")
    with pytest.raises(CardError, match=name.replace(".", r"\.")) as error:
        ph.load(file, trust=True)
    assert "\n" not in str(error.value)


class HalfInside(nn.Module):
    """Casts pixels to half precision for a network of that."""

    def __init__(self):
        super().__init__()
        self.network = tiny.network().half()

    def forward(self, pixels):
        return self.network(pixels.half()).float()


@pytest.mark.parametrize("name", ["a.ts", "a.pt2"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.:DeprecationWarning")
def test_casts_to_half_precision_are_refused_before_a_map_is_begun(tmp_path, name):
    with pytest.raises(CardError, match=r"refuses its declared input .*(?i:half)"):
        ph.load(export(tmp_path / name, 2, HalfInside()), trust=True)


def test_a_file_of_another_name_may_have_the_card_beside_it(tmp_path):
    export(tmp_path / "a.onnx", None)
    file = export(tmp_path / "a.ts", None)
    (tmp_path / "a.toml").write_text(CARD.format("a.onnx"), encoding="utf-8")
    made = ph.card(file, tmp_path / "b.toml", size=16, trust=True)
    assert 'exported = "a.ts"' in made.path.read_text(encoding="utf-8")
    with pytest.raises(CardError, match=r"a\.toml exists already"):
        ph.card(file, size=16, trust=True)


def test_a_card_of_another_size_is_refused(exported):
    exported.with_suffix(".toml").write_text(CARD.format(exported.name).replace("16, 16", "9, 7"), encoding="utf-8")
    if exported.suffix in (".pt2", ".onnx"):  # the others do not say what they take
        with pytest.raises(CardError, match=r"its card declares \(3, 9, 7\)"):
            ph.load(exported, trust=True)


@pytest.mark.parametrize("suffix", [".pt2", ".onnx", ".pt", ".pth"])
def test_a_file_needs_a_card_beside_it(tmp_path, suffix):
    (tmp_path / f"net{suffix}").write_bytes(b"")
    with pytest.raises(CardError, match=r"needs a card"):
        ph.load(tmp_path / f"net{suffix}")
    (tmp_path / "net.toml").write_text('arch = "torchvision:resnet18"\n[input]\nsize = [9, 9]\n', encoding="utf-8")
    with pytest.raises(CardError, match=r"net\.toml describes another network"):
        ph.load(tmp_path / f"net{suffix}")
    (tmp_path / "net.toml").write_text("[input]\nsize = [9, 9]\n", encoding="utf-8")  # what else could it be about
    with pytest.raises((CardError, TrustError), match=rf"net{suffix}"):
        ph.load(tmp_path / f"net{suffix}")


class WithTensors(nn.Module):
    """Adds a constant, and tensors that are created on the pixels' device, before the tiny network."""

    def __init__(self):
        super().__init__()
        self.network = tiny.network()

    def forward(self, pixels):
        shift = torch.tensor([0.1, 0.2, 0.3]).to(pixels.device)
        columns = torch.arange(pixels.shape[-1], device=pixels.device) / 100
        return self.network(pixels + shift.view(1, 3, 1, 1) + columns)


def devices(module):
    """The devices of a program's plain tensors, and those that its graphs name, each as where -> type of device."""
    found = {}
    for path, part in module.named_modules():
        tensors = {name: one for name, one in vars(part).items() if isinstance(one, torch.Tensor)}
        found |= {f"{path}.{name}": one.device.type for name, one in tensors.items()}
        for node in getattr(part, "graph", torch.fx.Graph()).nodes:
            if "device" in node.kwargs:
                found[f"{path}.{node}"] = node.kwargs["device"].type
    return found


def test_a_program_follows_its_pixels_to_another_device(tmp_path):
    found = ph.load(export(tmp_path / "a.pt2", None, WithTensors()), trust=True)
    pixels = torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    before = found.logits(pixels)
    torch.testing.assert_close(before, WithTensors().eval()((pixels - 0.5) / 0.25))
    places = devices(found.module)
    assert {"lifted_tensor" in one for one in places} == {True, False}
    assert set(places.values()) == {"cpu"}
    for way in (found.module, torch.compile(found.module, backend="eager")):  # which runs the code of its graphs
        with frozen(found.module, torch.device("meta"), torch.float32):
            assert way(pixels.to("meta")).shape == (3, 5)
            assert devices(found.module) == dict.fromkeys(places, "meta")
        assert torch.equal(found.logits(pixels), before)
        assert devices(found.module) == places


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.:DeprecationWarning")
def test_a_traced_network_that_creates_tensors_elsewhere_is_named(tmp_path):
    script = torch.jit.load(export(tmp_path / "a.ts", None, WithTensors()))
    with pytest.raises(RuntimeError) as error:
        script(torch.zeros(2, 3, 16, 16, device="meta"))
    line = r"network a has or creates tensors that are not on cuda:0 \(.*\): trace it on that device.*--device cpu \(device="
    with pytest.raises(CardError, match=line) as refused:
        refuse_mixture(error.value, "a", torch.device("cuda:0"), torch.float32)
    assert "\n" not in str(refused.value)


class OneImage(nn.Module):
    """A network whose forward pass takes the number of images, or only a constant, from the example it is traced with."""

    def __init__(self, *, flat):
        super().__init__()
        self.network, self.flat = tiny.network(), flat

    def forward(self, x):
        features = self.network[:-1](x).reshape(1, -1)
        return self.network[-1](features) if self.flat else self.network[-1](features[:, :8])


@pytest.mark.parametrize("flat", [True, False], ids=["fails", "drops images"])
def test_a_trace_for_one_image_gets_one_at_a_time(tmp_path, flat):
    module = OneImage(flat=flat)
    found = ph.load(export(tmp_path / "one.ts", 1, module), trust=True)
    assert found.batch == 1
    pixels = torch.rand((3, 3, 16, 16))
    expected = torch.cat([module(found.input.normalise(one[None])) for one in pixels])
    torch.testing.assert_close(found.logits(pixels), expected)
    options = {"overrides": tiny.SHORT | {"statistics": 0}, "device": "cpu", "progress": False}
    assert ph.map_concepts(found, [0], **options)[0].nu.isfinite().all()


class Bytes(nn.Module):
    """The tiny network for images of bytes."""

    def __init__(self):
        super().__init__()
        self.network = tiny.network()

    def forward(self, pixels):
        return self.network(pixels.float() / 255)


def test_onnx_of_bytes_gets_0_to_255_and_a_program_of_bytes_is_refused(tmp_path):
    example = torch.zeros((1, 3, 16, 16), dtype=torch.uint8)
    for name in ("a.onnx", "b.pt2"):
        (tmp_path / name).with_suffix(".toml").write_text(f'exported = "{name}"\n[input]\nsize = [16, 16]\n')
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(Bytes().eval(), (example,), str(tmp_path / "a.onnx"), dynamo=False)
        torch.export.save(torch.export.export(Bytes().eval(), (example,)), tmp_path / "b.pt2")
    pixels = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(0), requires_grad=True)
    logits = ph.load(tmp_path / "a.onnx").logits(pixels)
    torch.testing.assert_close(logits, tiny.network().eval()(pixels))
    assert torch.autograd.grad(logits.sum(), pixels)[0].abs().max() > 0
    with pytest.raises(CardError, match=r"takes integers \(torch\.uint8\).*: export it with float images"):
        ph.load(tmp_path / "b.pt2", trust=True)


def test_a_program_may_take_its_images_by_keyword(tmp_path):
    with warnings.catch_warnings(action="ignore"):
        program = torch.export.export(tiny.network().eval(), (), kwargs={"input": torch.zeros(1, 3, 16, 16)})
        torch.export.save(program, tmp_path / "a.pt2")
    (tmp_path / "a.toml").write_text('exported = "a.pt2"\n[input]\nsize = [16, 16]\n', encoding="utf-8")
    pixels = torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ph.load(tmp_path / "a.pt2", trust=True).logits(pixels), tiny.network().eval()(pixels))
