"""Model specs: which source answers, what is refused, and that nothing which came with a model runs unasked."""

import contextlib
import json
import sys
import types

import pytest
import torch

import phosphene as ph
from phosphene import sources
from phosphene.errors import CardError, ExtraError, PhospheneError, SpecError, TrustError, WeightsError
from phosphene.sources import hf
from tests import tiny
from tests.hostile import Bomb

FACTORY = tiny.FACTORY + "\n\ndef whole():\n    import phosphene as ph\n    return ph.Classifier(tiny(), size=16)\n"
CONFIGURED = """

def configured():
    net = tiny()
    net.pretrained_cfg = {"input_size": (3, 16, 16), "mean": (0.5, 0.5, 0.5)}
    return net
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a module in it."""
    (tmp_path / "own_nets.py").write_text(FACTORY + CONFIGURED, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("own_nets", None)


# --- package.module:factory


@pytest.mark.parametrize("spec", ["own_nets:whole", "own_nets.py:whole", "own_nets:configured"])
def test_a_factory_in_the_working_directory_needs_trust(here, spec):
    with pytest.raises(TrustError, match=r"own_nets.*--trust"):
        sources.load(spec)
    assert not (here / "it_ran").exists()
    found = sources.load(spec, trust=True)
    assert (here / "it_ran").exists()  # so the mark shows what it should
    assert found.num_classes == 5
    assert found.spec == spec
    assert str(here) not in sys.path


def test_a_network_without_an_input_needs_a_card(here):
    with pytest.raises(CardError, match=r"write tiny\.toml.*factory = .*return phosphene\.Classifier"):
        sources.load("own_nets:tiny", trust=True)


def test_an_installed_factory_needs_no_trust(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert sources.load("tests.unit.test_sources:make_tiny").sha256 == tiny.classifier().sha256


def make_tiny():
    return tiny.classifier()


@pytest.mark.parametrize("spec", ["json:dumps", "os:getcwd", "tests.tiny:nothing", "tests.nothing:at_all"])
def test_what_is_no_factory_is_refused(spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CardError) as error:
        sources.load(spec)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("torchvison:vgg16", r"Did you mean torchvision:vgg16\?"),
        ("tim:resnet50", r"Did you mean timm:resnet50\?"),
        ("Demo:Shapes", r"Did you mean demo:shapes\?"),
        ("torchvision:vgg61", "Did you mean .*vgg16"),
        ("torchvision:vgg16@IMAGNET1K_V1", "Known: IMAGENET1K_V1, .*random"),
        ("torchvision:", "phosphene models torchvision"),
        ("timm:resnet81@random", "Did you mean"),
        ("timm:resnet18@best", "only random may follow @"),
        ("timm:resnet18.nosuchtag", "Did you mean .*resnet18"),
        ("hf:", "neither OWNER/NAME"),
        ("hf:a/b/c", "neither OWNER/NAME"),
        ("nosuch", "Known: .*torchvision:NAME.*package.module:factory"),
        ("model.pt2", "Known: "),
        ("", "''.* Known: "),
    ],
)
def test_unknown_specs_are_refused_with_the_nearest(spec, says):
    with pytest.raises(SpecError, match=says):
        sources.load(spec)


def test_prefixes_list_what_they_have_and_others_are_refused():
    assert ("torchvision:vgg16", "IMAGENET1K_V1, 224 pixels") in sources.list_specs("torchvision")
    assert len(sources.list_specs("timm")) > 500
    for name, prefix in (("resnet50", "torchvision"), ("resnetv2_50", "timm")):
        with pytest.raises(SpecError, match=rf"there is no model '{name}'\. Did you mean {prefix}:{name}\?"):
            sources.load(name)
    with pytest.raises(SpecError, match="Did you mean timm"):
        sources.list_specs("tim")


# --- where there is no network


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No host has an address, and nothing was fetched before."""

    def refuse(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "hub"))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("torchvision:squeezenet1_0", r"torchvision:squeezenet1_0@random, or a card"),
        ("timm:resnet10t.c3_in1k", r"timm:resnet10t.c3_in1k@random, or a card"),
        ("hf:nobody/has-this-one", r"hf:FOLDER"),
    ],
)
@pytest.mark.usefixtures("offline")
def test_weights_that_cannot_be_fetched_are_one_line_that_names_the_fix(spec, says):
    with pytest.raises(WeightsError, match=f"cannot be fetched.*{says}") as error:
        sources.load(spec)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("prefix", ["torchvision:vgg16@random", "timm:resnet18@random", "hf:a/b"])
def test_an_absent_library_names_the_pip_command(monkeypatch, prefix):
    for name in ("torchvision", "timm", "transformers", "huggingface_hub"):
        for module in [module for module in sys.modules if module.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("phosphene.extras.repair_torchvision", lambda: None)
    with pytest.raises(ExtraError, match=r"pip install 'phosphene\[(torchvision|timm|hf)\]'"):
        sources.load(prefix)


# --- architectures in cards


def test_published_weights_of_torchvision_load_through_a_card(tmp_path):
    """A file as torchvision publishes it, on this machine: ``arch`` names the network, no code of it is run."""
    first = ph.load("torchvision:squeezenet1_1@random")
    torch.save(first.module.state_dict(), tmp_path / "squeezenet1_1-b8a52dc0.pth")
    (tmp_path / "net.toml").write_text(
        'arch = "torchvision:squeezenet1_1"\nweights = "squeezenet1_1-b8a52dc0.pth"\n[input]\nsize = [224, 224]\n'
        "mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n",
        encoding="utf-8",
    )
    assert ph.load(tmp_path / "net.toml").sha256 == first.sha256


def test_random_weights_are_the_same_every_time_and_leave_the_callers_generator_alone():
    before = torch.get_rng_state()
    first, second = (ph.load("torchvision:squeezenet1_1@random") for _ in range(2))
    assert first.sha256 == second.sha256
    assert torch.equal(torch.get_rng_state(), before)
    assert first.notes == ("its weights are random",)
    assert first.labels.find("castle") == 483


def write_card(folder, **fields):
    lines = [f"{key} = {json.dumps(value)}" for key, value in fields.items() if key != "input"]
    (folder / "net.toml").write_text("\n".join([*lines, "[input]", *fields.get("input", ["size = [32, 32]"])]), "utf-8")
    return folder / "net.toml"


def test_an_architecture_takes_its_classes_from_the_card(tmp_path):
    (tmp_path / "labels.txt").write_text("a\nb\nc\n", encoding="utf-8")
    assert ph.load(write_card(tmp_path, arch="torchvision:resnet18", classes=7)).num_classes == 7
    named = ph.load(write_card(tmp_path, arch="torchvision:resnet18", labels="labels.txt"))
    assert list(named.labels) == ["a", "b", "c"]


def test_one_and_many_channels(tmp_path):
    for channels in (1, 5):
        space = ["size = [32, 48]", f"channels = {channels}"]
        found = ph.load(write_card(tmp_path, arch="timm:resnet10t", classes=4, input=space))
        assert found.input.shape == (channels, 32, 48)
        assert found.num_classes == 4
    with pytest.raises(SpecError, match="take 3 channels"):
        ph.load(write_card(tmp_path, arch="torchvision:resnet18", input=["size = [32, 32]", "channels = 1"]))


def test_twenty_thousand_classes(tmp_path):
    found = ph.load(write_card(tmp_path, arch="timm:resnet10t", classes=20_000))
    (one,) = ph.map_concepts(found, [19_999], overrides=tiny.SHORT, device="cpu")
    assert one.nu.abs().max() > 0


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"arch": "resnet18"}, "must be torchvision:resnet18, timm:resnet18 or hf:FILE"),
        ({"arch": "nosuch:resnet18"}, "must be torchvision:NAME"),
        ({"arch": "torchvision:resnet81"}, "Did you mean"),
        ({"arch": "hf:none.json"}, "does not exist"),
        ({"arch": "torchvision:resnet18", "factory": "a:b"}, "factory and arch"),
        ({"arch": "torchvision:resnet18", "classes": 1}, "classes is 1"),
        ({"arch": "torchvision:resnet18", "classes": 10**12}, "classes is 1000000000000"),
        ({"exported": "net.exe"}, "must be a file"),
        ({"exported": "net.pt2", "weights": "w.pt"}, "leave weights out"),
        ({"arch": "torchvision:resnet18", "output": "logit"}, "which cannot be logit"),
        ({"arch": "torchvision:resnet18", "input": ["size = [9999999, 9999999]"]}, "check the input size"),
        ({"arch": "torchvision:resnet18", "input": ["size = [9, 9]", "channels = 99999999"]}, "must be 1 to 1,000,000"),
    ],
)
def test_cards_that_contradict_themselves_are_refused(tmp_path, fields, says):
    with pytest.raises(PhospheneError, match=says):
        ph.load(write_card(tmp_path, **fields))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"model_type": "nosuch"}', '{"model_type": 3}', "[" * 10**5])
def test_damaged_configs_are_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(CardError, match=r"arch hf:.*config\.json"):
        ph.load(write_card(tmp_path, arch="hf:config.json"))


# --- hf: folders


@pytest.fixture
def folder(tmp_path):
    """A tiny ViT as ``save_pretrained`` writes it."""
    return save_vit(tmp_path / "vit")


def save_vit(path, labels=("cat", "dog", "eel"), **config):
    import transformers

    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        **config,
    )
    with hf._without_progress_bars():
        transformers.ViTForImageClassification(config).save_pretrained(path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(path)
    return path


def test_a_folder_brings_its_labels_and_input_space(folder):
    found = ph.load(f"hf:{folder}")
    assert list(found.labels) == ["cat", "dog", "eel"]
    assert found.input == ph.input_space.InputSpace((32, 32), (0.5,) * 3, (0.5,) * 3)
    assert not found.module.training


@pytest.mark.parametrize(
    ("problem", "output"), [("regression", "regression"), ("multi_label_classification", "multi-label")]
)
def test_the_problem_type_of_a_folder_says_what_its_outputs_are(tmp_path, problem, output):
    found = ph.load(f"hf:{save_vit(tmp_path / 'vit', problem_type=problem)}")
    assert found.output == output
    assert ph.card(found, out=tmp_path / "card.toml").classifier.output == output


def test_a_card_is_written_for_a_network_with_one_output(tmp_path):
    found = ph.load(f"hf:{save_vit(tmp_path / 'vit', ['LABEL_0'])}")
    again = ph.card(found, out=tmp_path / "one.toml").classifier
    assert again.num_classes == found.num_classes == 2
    assert again.output == found.output
    assert again.sha256 == found.sha256


def test_code_that_comes_with_a_model_needs_trust(folder, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    mark = f"open({str(folder / 'it_ran')!r}, 'w').close()"
    code = f"{mark}\nfrom transformers import ViTConfig\nclass OwnConfig(ViTConfig): model_type = 'own'\n"
    (folder / "own.py").write_text(code, encoding="utf-8")
    with pytest.raises(TrustError, match=r"own\.py.*--trust.*safetensors"):
        ph.load(f"hf:{folder}")
    assert not (folder / "it_ran").exists()
    with contextlib.suppress(PhospheneError):  # what it makes is no classifier
        ph.load(f"hf:{folder}", trust=True)
    assert (folder / "it_ran").exists()  # so the mark shows what it should


@pytest.mark.parametrize("trust", [False, True])
def test_pickled_weights_of_a_folder_are_never_run(folder, trust):
    (folder / "model.safetensors").unlink()
    torch.save({"bomb": Bomb(folder / "mark")}, folder / "pytorch_model.bin")
    with pytest.raises(PhospheneError) as error:
        ph.load(f"hf:{folder}", trust=trust)
    assert "\n" not in str(error.value)
    assert not (folder / "mark").exists()


def test_an_image_processor_is_needed(folder):
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(PhospheneError, match=r"has no preprocessor_config\.json"):
        ph.load(f"hf:{folder}")


def test_a_folder_of_save_pretrained_needs_no_prefix(folder, monkeypatch):
    found = ph.load(folder)
    assert (found.spec, found.name) == (f"hf:{folder}", "vit")
    monkeypatch.setenv("HOME", str(folder.parent))
    assert ph.load("~/vit").spec == ph.load("hf:~/vit").spec == f"hf:{folder}"
    with pytest.raises(SpecError, match=rf"Give its folder, {folder}\."):
        ph.load(folder / "config.json")


@pytest.mark.parametrize("form", ["{}", "hf:{}"])
@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("checkpoint-100/config.json", "give one, .*checkpoint-100"),
        ("adapter_config.json", r"PEFT adapter alone.*merge_and_unload\(\)"),
        ("net.toml", r"give one of its cards, net\.toml"),
        ("notes.txt", "a folder written by save_pretrained"),
        ("run.json", "is a run, of the maps of a model: give the model, demo:shapes"),
    ],
)
def test_a_folder_of_something_else_names_what_to_give(tmp_path, form, file, says):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text('{"model": {"spec": "demo:shapes"}}', encoding="utf-8")
    with pytest.raises(SpecError, match=says):
        ph.load(form.format(tmp_path))


def config(**facts):
    return types.SimpleNamespace(**facts)


def processor(kind, **fields):
    import transformers

    return getattr(transformers, kind)(**fields)


EIGHT, TWELVE = {"height": 8, "width": 8}, {"height": 12, "width": 12}
RGB = (0, 1, 2)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@pytest.mark.parametrize(
    ("kind", "fields", "facts", "space"),
    [
        ("ViT", {"size": {"height": 8, "width": 6}}, {}, ((8, 6), (0.5,) * 3, (0.5,) * 3, RGB)),
        ("ViT", {"size": EIGHT, "do_normalize": False}, {}, ((8, 8), (0,) * 3, (1,) * 3, RGB)),
        ("ViT", {"size": EIGHT, "do_normalize": False, "do_rescale": False}, {}, ((8, 8), (0,) * 3, (1 / 255,) * 3, RGB)),
        ("ViT", {"size": EIGHT, "image_mean": [0.5], "image_std": [0.25]}, {"num_channels": 1}, ((8, 8), (0.5,), (0.25,), (0,))),
        ("ViT", {"do_resize": False, "size": None}, {"image_size": 8}, ((8, 8), (0.5,) * 3, (0.5,) * 3, RGB)),
        ("CLIP", {"size": {"shortest_edge": 9}, "crop_size": EIGHT, "image_mean": [0.1] * 3}, {}, ((8, 8), (0.1,) * 3, CLIP_STD, RGB)),
        ("Perceiver", {"size": EIGHT, "crop_size": TWELVE, "do_normalize": False}, {}, ((8, 8), (0,) * 3, (1,) * 3, RGB)),
        ("EfficientNet", {"size": EIGHT, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}, {}, ((8, 8), (0.5,) * 3, (0.25,) * 3, RGB)),
        ("MobileViT", {"size": {"shortest_edge": 9}, "crop_size": EIGHT}, {}, ((8, 8), (0,) * 3, (1,) * 3, (2, 1, 0))),
    ],
)  # fmt: skip
def test_image_processors_are_read_by_what_they_do_to_images(kind, fields, facts, space):
    size, mean, std, order = hf.read_processor(processor(f"{kind}ImageProcessor", **fields), config(**facts))
    assert (size, order) == (space[0], space[3])
    assert mean == pytest.approx(space[1])
    assert std == pytest.approx(space[2], rel=1e-5)


def test_the_fields_of_an_image_processor_are_taken_to_the_last_digit_where_they_hold():
    own = processor("CLIPImageProcessor")
    _, mean, std, _ = hf.read_processor(own, config())
    assert (mean, std) == (tuple(own.image_mean), tuple(own.image_std))
    _, mean, std, _ = hf.read_processor(processor("CLIPImageProcessor", do_rescale=False), config())
    assert mean == (0.0018881, 0.0017954, 0.0016008)  # over 255, with five digits


class Grey:
    """An image processor that makes all channels the mean of them."""

    def __call__(self, image, return_tensors):
        return {"pixel_values": torch.from_numpy(image).float().mean(2).expand(1, 3, -1, -1)}


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (lambda: processor("ViTImageProcessor", do_resize=False, size=None), "how large"),
        (lambda: processor("Siglip2ImageProcessor"), r"pixel_values \(1, 256, 768\)"),
        (
            lambda: processor("ViTImageProcessor", image_mean=[0.5] * 2, image_std=[0.5] * 2),
            "failed on a 3-channel image",
        ),
        (Grey, "more to colours"),
    ],
)
def test_an_image_processor_that_does_something_else_is_refused(made, what):
    with pytest.raises(CardError, match=rf"{what}.*write a card"):
        hf.read_processor(made(), config(image_size=8) if made is Grey else config())


def test_a_network_gets_the_pixels_of_its_own_image_processor(folder):
    import transformers

    own = transformers.MobileViTImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    own.save_pretrained(folder)  # blue comes first
    found = ph.load(f"hf:{folder}")
    image = torch.randint(0, 256, (32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    network = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = network(own(image.numpy(), return_tensors="pt")["pixel_values"]).logits
        pixels = image.permute(2, 0, 1)[None] / 255
        assert torch.allclose(found.module(found.input.normalise(pixels)).logits, logits, atol=1e-5)
        assert not torch.allclose(found.module(found.input.normalise(pixels.flip(1))).logits, logits, atol=1e-3)
    with pytest.raises(CardError, match=r"how .* is built is not known"):  # no card says an order of channels
        ph.card(found, out=folder / "card.toml")
