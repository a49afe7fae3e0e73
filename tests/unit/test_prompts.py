"""Texts as concepts: the prompts in expressions and specs, and the classifier that a two-tower model becomes with them."""

import re
import types

import pytest
import torch
from torch import nn

import phosphene as ph
from phosphene.arguments import to_classifier, to_concepts
from phosphene.concepts import Concept, Sides
from phosphene.errors import CardError, ConceptError, ExtraError, SpecError, WeightsError
from phosphene.expressions import find_among
from phosphene.extras import require
from phosphene.prompts import prompts_of, read_prompts, replace_prompts, split_spec
from phosphene.sources.hf_two_tower import HubTwoTower
from phosphene.sources.libraries import RANDOM_WEIGHTS_NOTE
from phosphene.two_tower import PromptClassifier, TwoTower
from tests import tiny, two_towers
from tests.twice import ROOM, distance

SPEC = "demo:shapes-text"


class Letters(TwoTower):
    """Embeds a text by how often it has each of three letters, an image by the means of its channels."""

    def __init__(self):
        super().__init__()
        self.images = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.texts = nn.Linear(1, 1, bias=False)
        self.scale = 10.0

    def embed_texts(self, texts):
        return torch.tensor([[float(text.count(letter)) for letter in "rgb"] for text in texts])


def letters(labels=None):
    return ph.Classifier(Letters(), size=4, labels=labels, name="letters")


class TestExpressions:
    def test_hold_prompts(self):
        assert prompts_of("text:a red star") == ["a red star"]
        assert prompts_of(["text: a  red star ", 3, "star", "text:b vs text:a red star"]) == ["a red star", "b"]
        assert prompts_of(None) == prompts_of(7) == prompts_of("star vs ring") == []

    def test_become_expressions_of_class_indices(self):
        classes = {"1": 0, "0": 1, "a cat, asleep": 2}
        assert replace_prompts("text:1", classes.__getitem__) == "(0)"
        assert replace_prompts("text: 1 vs  text:0 + text:a cat, asleep", classes.__getitem__) == "(0) vs (1) + (2)"
        assert replace_prompts("star vs ring", classes.__getitem__) == "star vs ring"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("text:", "lacks a prompt"),
            ("text:a vs text:", "lacks a prompt"),
            ("text:a husky vs a wolf", "write text: before each prompt, text:A vs text:B"),
            ("text:a;b", "put it into a file"),
            ("text:,", "lacks a prompt"),
            ("star vs text:a blue star", "write text: before each prompt, text:A vs text:B"),
            ("text:a photo of a {}", "put it into a file"),
            ("text:names.TXT", "put it into a file"),
        ],
    )
    def test_that_cannot_be_read_are_refused_with_the_way_to_write_them(self, text, said):
        with pytest.raises(ConceptError, match=said.replace("+", "\\+")):
            prompts_of(text)

    def test_find_maps_by_prompt(self):
        labels = {0: "a cat asleep", 1: "0"}
        contrast = Concept.of_sides(Sides((1,), (0,)), labels)
        concepts = [*(Concept.of_class(*one) for one in labels.items()), contrast]
        assert find_among("text:A Cat, asleep", concepts, "here") == 0
        assert find_among("text:0", concepts, "here") == 1
        assert find_among("text:0 vs text:a cat, asleep", concepts, "here") == contrast.index
        with pytest.raises(ConceptError, match="here has no map of 'text:1'"):
            find_among("text:1", concepts, "here")


class TestSpecs:
    def test_are_split_at_the_first_mark(self):
        assert split_spec("hf:a/b#one;two #3") == ("hf:a/b", "one;two #3")
        assert split_spec("demo:shapes") == ("demo:shapes", "")

    @pytest.mark.parametrize("form", ["{}/net.toml", "hf:{}/vit", "{}/net.py:make"])
    @pytest.mark.parametrize("texts", ["", "a;b", "number #1;b"])
    def test_are_not_split_inside_the_path_of_a_file(self, tmp_path, form, texts):
        folder = tmp_path / "folder#2"
        for name in ("net.toml", "vit", "net.py"):
            (folder / name).mkdir(parents=True)
        model = form.format(folder)
        assert split_spec(f"{model}#{texts}" if texts else model) == (model, texts)

    def test_are_split_where_a_text_has_the_name_of_a_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        for name in ("b", "demo", "shapes"):
            (tmp_path / name).mkdir()
        assert split_spec("net.toml#a:b") == ("net.toml", "a:b")
        assert split_spec("demo:shapes#b") == ("demo:shapes", "b")
        assert split_spec("demo:shapes-text#a") == ("demo:shapes-text", "a")

    def test_may_be_longer_than_a_path_can_be(self):
        texts = ";".join(f"a picture of number {number}" for number in range(40))
        assert split_spec(f"demo:shapes-text#{texts}") == ("demo:shapes-text", texts)

    def test_name_prompts_that_stand_for_themselves(self):
        assert read_prompts(" a  cat, asleep ; a dog;;", ["never {}"]) == {
            "a cat asleep": ("a cat, asleep",),
            "a dog": ("a dog",),
        }

    def test_name_files_of_classes_that_are_put_into_every_template(self, tmp_path):
        file = tmp_path / "names.txt"
        file.write_text("lion, king of beasts\nzebra\n", encoding="utf-8")
        assert read_prompts(str(file), ["a photo of a {}."]) == {
            "lion, king of beasts": ("a photo of a lion.",),
            "zebra": ("a photo of a zebra.",),
        }
        found = read_prompts(f"{file};a {{}};one {{}};a dog", ["never {}"], labels=["castle"])
        assert list(found) == ["castle", "lion, king of beasts", "zebra", "a dog"]
        assert found["castle"] == ("a castle", "one castle")
        assert found["a dog"] == ("a dog",)

    def test_name_files_of_texts_where_there_are_no_templates(self, tmp_path):
        file = tmp_path / "texts.txt"
        file.write_text("a kitchen, dirty\na kitchen,  clean\na; {} b\nCASTLE\n", encoding="utf-8")
        assert read_prompts(f"{file};a dog", ["{}"], labels=["castle, fort"]) == {
            "castle, fort": ("castle",),
            "a kitchen dirty": ("a kitchen, dirty",),
            "a kitchen clean": ("a kitchen, clean",),
            "a; {} b": ("a; {} b",),
            "a dog": ("a dog",),
        }

    def test_put_labels_that_are_whole_texts_into_no_template(self, tmp_path):
        file = tmp_path / "names.txt"
        file.write_text("star, asterisk\n", encoding="utf-8")
        labels = ["a kitchen, dirty", "a dog"]
        whole = {"a kitchen dirty": ("a kitchen, dirty",), "a dog": ("a dog",)}
        assert read_prompts("", (), labels) == whole
        assert read_prompts("A dog;a cat", (), labels) == whole | {"a cat": ("a cat",)}
        assert read_prompts(f"{file};a {{}}", (), labels) == whole | {"star, asterisk": ("a star",)}
        with pytest.raises(SpecError, match="no class names to hold, because the labels of the model are whole texts"):
            ph.load(f"{SPEC}#a picture of a {{}}")

    @pytest.mark.parametrize(
        ("lines", "said"),
        [
            ("crane\nstar\nCrane\n", "names 1 and 3 are both 'Crane'"),
            ("a b\na, b\n", "names 1 and 2 are both 'a, b': leave one out"),
            ("a\n\nb\n", "name 2 is empty"),
            ("", "is empty: write a text, or the name of a class, on each line"),
            ("\n\n", "is empty: write a text"),
        ],
    )
    def test_with_a_file_whose_classes_would_not_be_its_lines_are_refused(self, tmp_path, lines, said):
        (tmp_path / "names.TXT").write_text(lines, encoding="utf-8")
        with pytest.raises(CardError, match=said):
            read_prompts(str(tmp_path / "names.TXT"), ["{}"])

    def test_with_a_file_of_another_kind_or_no_words_are_refused(self, tmp_path):
        (tmp_path / "names.csv").touch()
        with pytest.raises(SpecError, match="is a file, and a list of classes is a"):
            read_prompts(str(tmp_path / "names.csv"), ["{}"])
        with pytest.raises(ConceptError, match="is no text"):
            read_prompts("a;,", ["{}"])
        with pytest.raises(SpecError, match="names nothing after '#'"):
            ph.load("demo:shapes-text#")

    def test_with_a_template_and_nothing_to_put_in_are_refused(self):
        with pytest.raises(SpecError, match="no class names to hold"):
            read_prompts("a photo of a {};a dog", ["{}"])
        with pytest.raises(CardError, match="does not exist"):
            read_prompts("missing.txt", ["{}"])


class TestTwoTowers:
    def test_maps_of_texts_are_checked_with_the_model_that_is_named(self, tmp_path):
        how = {"device": "cpu", "progress": False}
        ph.map_concepts(
            SPEC, ["text:a red star", "text:a blue ring"], out=tmp_path / "run", overrides=tiny.SHORT, **how
        )
        found = ph.check(tmp_path / "run", model=SPEC, only="fidelity", **how)
        assert [one.name for one in found] == ["fidelity"]

    def test_become_classifiers_of_scaled_cosines_and_lose_the_text_tower(self):
        one = to_classifier(letters(), concepts=["text:rrr", "text:gg", "text:rg"])
        assert list(one.labels) == ["rrr", "gg", "rg"]
        assert one.spec == "letters#rrr;gg;rg"
        image = torch.tensor([0.6, 0.8, 0.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
        expected = torch.tensor([[6.0, 8.0, 14 / 2**0.5]])
        torch.testing.assert_close(one.logits(image), expected, rtol=1e-4, atol=1e-4)
        assert [name for name, _ in one.module.named_children()] == ["images"]

    def test_average_the_unit_embeddings_of_several_templates(self):
        model = Letters()
        model.templates = ("{}", "{} bbb")
        found = PromptClassifier(model, [("r", "r bbb"), ("g",)])
        mean = (torch.tensor([1.0, 0, 0]) + torch.tensor([1.0, 0, 3]) / 10**0.5) / 2
        torch.testing.assert_close(found.rows[0], 10 * mean / mean.norm())

    def test_differ_in_hash_by_prompts_and_by_the_weights_of_the_text_tower(self):
        model = letters()
        first = to_classifier(model, concepts="text:r vs text:g")
        assert to_classifier(model, concepts="text:r vs text:g").sha256 == first.sha256
        assert to_classifier(model, concepts="text:r vs text:b").sha256 != first.sha256
        with torch.no_grad():
            model.module.texts.weight += 1
        assert to_classifier(model, concepts="text:r vs text:g").sha256 != first.sha256

    def test_keep_their_hash_where_the_scale_differs_in_its_last_bits(self):
        model = letters()
        first = to_classifier(model, concepts="text:r vs text:g")
        model.module.scale *= 1 + 1e-12
        assert to_classifier(model, concepts="text:r vs text:g").sha256 == first.sha256
        model.module.scale *= 1.01
        assert to_classifier(model, concepts="text:r vs text:g").sha256 != first.sha256

    def test_without_embed_texts_are_refused_with_what_to_define(self):
        class Half(TwoTower):
            images = texts = nn.Identity()

        with pytest.raises(CardError, match="Half lacks embed_texts: define it, from a list of texts"):
            to_classifier(ph.Classifier(Half(), size=4), concepts=["text:a", "text:b"])

    def test_with_one_prompt_measure_it(self):
        one = to_classifier(letters(), concepts="text:r")
        assert one.regression
        (concept,) = to_concepts("text:r", one)
        assert concept.unit.output == "r"
        assert one.notes[-1].startswith("one text has nothing to be told from, and is mapped by its own logit")

    def test_without_prompts_are_refused_with_both_ways_to_give_some(self):
        without = to_classifier(letters())
        for concepts, said in (
            (None, r"has no classes: name some, -c 'text:A PROMPT' .*'letters#A PROMPT;ANOTHER'"),
            ("star", "-c text:star .*'letters#star;ANOTHER'"),
            ("a '$b'", r"-c 'text:a '\"'\"'\$b'\"'\"'' "),
            ("star vs ring + 7", r"-c 'text:star vs text:ring \+ text:7' .*'letters#A PROMPT;ANOTHER'"),
        ):
            with pytest.raises(ConceptError, match=said):
                to_concepts(concepts, without)
        with pytest.raises(CardError, match="a scan needs classes, and letters has none: no texts are named"):
            without.refuse_regression("a scan")

    def test_without_prompts_are_their_image_tower(self):
        without, one = to_classifier(letters()), to_classifier(letters(), concepts=["text:r", "text:g"])
        image = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(without.logits(image), image.mean((2, 3)))
        (unit,) = to_concepts("unit:images.1:2", without)
        assert unit.unit.layer == "images.1"
        assert [name for name, _ in without.module.named_modules()] == [name for name, _ in one.module.named_modules()]
        assert "no texts are named, so only units of its image tower can be mapped" in without.notes[-1]

    def test_say_how_a_text_is_written_where_a_name_is_no_class(self):
        one = to_classifier(letters(), concepts=["text:r", "text:g"])
        with pytest.raises(
            ConceptError, match=r"no class is called 'star'.* A text is written 'text:r vs text:star'\."
        ):
            to_concepts("r vs star", one)
        with pytest.raises(ConceptError, match=r"'r' on both sides of ' vs ': name it on one\.$"):
            to_concepts("r vs r", one)
        with pytest.raises(ConceptError, match="A text is written 'text:star'"):
            to_concepts("star", to_classifier(letters(), concepts="text:r"))
        contrast = to_concepts("r vs g", one)[0]
        with pytest.raises(ConceptError, match=r"A text is written 'text:r vs text:g'\."):
            to_concepts(contrast, to_classifier(letters(), concepts="text:b"))

    def test_take_the_classes_of_a_run_that_they_score_if_they_have_none(self):
        one = to_classifier(letters(), classes=["r, red", "g"])
        assert list(one.labels) == ["r, red", "g"]
        own = to_classifier(letters(["b"]), classes=["r, red", "g"], concepts="text:g")
        assert list(own.labels) == ["b", "g"]

    def test_prompts_are_for_them_alone(self):
        with pytest.raises(SpecError, match="takes no prompts after '#'"):
            ph.load("demo:shapes#a;b")
        with pytest.raises(ConceptError, match="for models that embed texts, such as CLIP, and shapes has classes"):
            ph.map_concepts("demo:shapes", "text:a red star", progress=False)
        with pytest.raises(ConceptError, match="loaded without the prompt 'something red': load 'demo:shapes-text#"):
            to_concepts("text:something red", ph.load(SPEC))

    def test_that_were_not_given_are_all_named_with_a_spec_that_works(self):
        one = ph.load(SPEC + "#a star that is red")
        given = ["text:a drawing of a ring", "text:a blue star", "text:a star that is red vs text:a white image"]
        with pytest.raises(
            ConceptError, match="without the prompts 'a drawing of a ring' and 'a white image'"
        ) as error:
            to_concepts(given, one)
        fixed = re.search("load '(.*?)', or give the spec '(.*?)' itself", str(error.value))
        assert len(to_concepts([given[0], given[2]], ph.load(fixed[1]))) == 2
        assert len(to_concepts([given[0], given[2]], to_classifier(fixed[2], concepts=given))) == 2

    def test_of_a_card_have_its_labels_in_its_templates_and_its_notes(self, tmp_path):
        card = two_towers.write_card(tmp_path, 'labels = "labels.txt"', 'templates = ["{}", "{} bb"]')
        one = ph.load(card, trust=True, prompts=["RED", "gb"])
        assert list(one.labels) == ["r, red", "greg", "gb"]
        first = (torch.tensor([1.0, 0, 0]) + torch.tensor([1.0, 0, 2]) / 5**0.5) / 2
        expected = torch.stack([first / first.norm(), torch.tensor([0, 1, 1]) / 2**0.5])
        torch.testing.assert_close(one.module.rows[[0, 2]], 10 * expected)
        assert one.trusted
        assert any(RANDOM_WEIGHTS_NOTE in note for note in one.notes)

    def test_of_a_card_whose_labels_are_whole_texts(self, tmp_path):
        card = two_towers.write_card(tmp_path, 'labels = "labels.txt"', "templates = []")
        assert list(ph.load(card, trust=True).labels) == ["r red", "greg"]

    @pytest.mark.parametrize(("templates", "label"), [([], "r red"), (["{}"], "r, red")])
    @pytest.mark.parametrize("members", [["r, red", "greg"], ["r", 1], [0, 1]], ids=str)
    def test_groups_of_a_model_hold_labels_with_commas_also_where_these_are_whole_texts(
        self, templates, label, members
    ):
        model = Letters()
        model.templates = tuple(templates)
        given = ph.Classifier(model, size=4, labels=["r, red", "greg", "gb"], groups={"reddish": members})
        one = to_classifier(given)
        assert (one.labels[0], one.labels.groups) == (label, {"reddish": (0, 1)})
        assert to_concepts("reddish", one)[0].sides.up == (0, 1)

    def test_templates_of_a_card_are_for_them_alone(self, tmp_path):
        card = tiny.make_card(tmp_path).write(templates=["a {}"])
        with pytest.raises(CardError, match="templates are for two-tower models"):
            ph.load(card.path, trust=True)

    def test_know_texts_by_their_words_and_not_by_numbers_or_case(self):
        numbers = to_classifier(ph.Classifier(Digits(), size=4, name="digits"), concepts=["text:1", "text:0"])
        assert [(each.index, each.label) for each in to_concepts(["text:1", "text:0"], numbers)] == [(0, "1"), (1, "0")]
        (contrast,) = to_concepts("text:1  vs text:0", numbers)
        assert contrast.sides == Sides((0,), (1,))
        with pytest.raises(ConceptError, match="loaded without the prompt '7'"):
            to_concepts("text:7", numbers)
        assert list(to_classifier(letters(), concepts=["text:g É", "text:G  e\u0301", "text:b"]).labels) == ["g É", "b"]

    def test_take_a_text_that_a_label_names_for_its_class(self):
        named = to_classifier(letters(["r, red", "g"]), concepts=["text:Red", "text:R", "text:b"])
        assert list(named.labels) == ["r, red", "g", "b"]
        assert [each.index for each in to_concepts(["text:Red", "text:b"], named)] == [0, 2]

    def test_refuse_classes_that_have_the_same_text(self):
        with pytest.raises(ConceptError, match="'r' and 'rr' are the same text to letters: leave one out"):
            to_classifier(letters(), concepts=["text:r", "text:g", "text:rr"])

    def test_refuse_texts_that_no_spec_could_name(self):
        for text in ("a;b", "x.txt", "a {}"):
            with pytest.raises(ConceptError, match="put it into a file"):
                to_classifier(letters(), classes=["r", text])
        with pytest.raises(ConceptError, match="put it into a file"):
            ph.load(SPEC, prompts=["a red star;a blue star"])

    def test_keep_batch_notes_and_trust(self):
        model = ph.Classifier(Letters(), size=4, batch=2, notes=["its weights are random"])
        model.trusted = True
        one = to_classifier(model, concepts=["text:r", "text:g"])
        assert (one.batch, one.notes, one.trusted) == (2, ("its weights are random",), True)

    def test_embed_texts_in_evaluation_mode_and_restore_every_flag(self):
        model = Letters()
        model.texts = nn.Dropout(0.5)
        model.embed_texts = lambda texts: model.texts(Letters.embed_texts(model, texts))
        model.images.eval()
        network = ph.Classifier(model, size=4, name="letters")
        first, second = (to_classifier(network, concepts=["text:rrg", "text:ggb"]) for _ in range(2))
        torch.testing.assert_close(first.module.rows, second.module.rows)
        assert model.texts.training
        assert not model.images.training

    @pytest.mark.parametrize(
        ("found", "said"),
        [
            (torch.eye(2, 3) * torch.tensor([[1.0], [0.0]]), "zero, infinite or NaN for 'g'"),
            (torch.full((2, 3), torch.nan), "zero, infinite or NaN"),
            (torch.rand(3), "return \\(texts, length\\)"),
            (None, "the text tower of letters failed"),
        ],
    )
    def test_with_a_text_tower_that_fails_are_refused_in_one_line(self, found, said):
        model = letters()
        model.module.embed_texts = lambda _: found
        with pytest.raises(CardError, match=said):
            to_classifier(model, concepts=["text:r", "text:g"])

    def test_without_texts_say_how_to_name_some(self):
        assert repr(letters()) == "Classifier('letters', 4 x 4 x 3, classes unknown)"
        with pytest.raises(CardError, match="has no classes until texts are named"):
            _ = letters().num_classes

    def test_compare_in_single_precision_under_bfloat16(self):
        network = to_classifier(letters(), concepts=["text:rrg", "text:ggb"]).module
        network.images = nn.Sequential(nn.Flatten(), nn.Linear(3, 3))
        with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
            assert network.images(torch.rand(1, 3)).dtype == torch.bfloat16
            assert network(torch.rand(1, 3)).dtype == torch.float32
        assert network.double()(torch.rand(1, 3).double()).dtype == torch.float64

    def test_concepts_may_come_from_a_generator(self):
        few = {"steps": 1, "refine_steps": 0, "batch_size": 2}
        for model, concept in ((SPEC, "text:something red"), ("demo:shapes", "star")):
            (one,) = ph.map_concepts(model, (each for each in [concept]), overrides=few, progress=False)
            assert one.label == concept.removeprefix("text:")


class Digits(Letters):
    """Tells digits apart."""

    def embed_texts(self, texts):
        return torch.tensor([[float(text.count(digit)) for digit in "01"] + [1.0] for text in texts])


class TestHub:
    @pytest.mark.parametrize("name", list(two_towers.CONFIGS))
    def test_classifies_as_transformers_does(self, name, tmp_path):
        model = two_towers.save(name, tmp_path)
        prompts = ["a red star", "a photo of a blue ring", "cross"]
        classifier = ph.load(f"hf:{tmp_path}#{';'.join(prompts)}")
        filled = {"padding": "max_length", "max_length": 8} if name == "Siglip" else {"padding": True}
        tokens = two_towers.tokenizer()(prompts, return_tensors="pt", **filled)
        keys = ["input_ids"] if name == "Siglip" else ["input_ids", "attention_mask"]
        images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]))
        with torch.no_grad():
            found = model(pixel_values=(images - mean) / std, **{key: tokens[key] for key in keys})
            torch.testing.assert_close(
                classifier.logits(images).softmax(1), found.logits_per_image.softmax(1), rtol=1e-3, atol=1e-4
            )

    def test_a_text_longer_than_the_tower_takes_is_refused(self, tmp_path):
        two_towers.save("CLIP", tmp_path)
        with pytest.raises(ConceptError, match="'a photo of a red star a photo of a' is longer than the 8 tokens"):
            ph.load(f"hf:{tmp_path}", prompts=["a photo of a red star", "a photo of a red star a photo of a"])

    def test_siglip_has_its_own_tokenizer(self, tmp_path):
        pytest.importorskip("sentencepiece")
        transformers, tokenizer = two_towers.save_siglip_with_its_tokenizer(tmp_path)
        model = transformers.SiglipModel.from_pretrained(tmp_path).eval()
        texts = ["a photo of the red star", "The BLUE ring"]
        classifier = ph.load(f"hf:{tmp_path}#{';'.join(texts)}")
        tokens = tokenizer(texts, padding="max_length", max_length=24, return_tensors="pt")
        with torch.no_grad():
            expected = model.get_text_features(tokens["input_ids"]).pooler_output
        scale = float(model.logit_scale.detach().exp())
        torch.testing.assert_close(classifier.module.rows, scale * nn.functional.normalize(expected, dim=1))
        with pytest.raises(ConceptError, match="are the same text to"):
            ph.load(f"hf:{tmp_path}#a red star;a red star!")

    def test_siglip_without_the_library_of_its_tokenizer_names_the_extra(self, tmp_path, monkeypatch):
        two_towers.save("Siglip", tmp_path)
        library = require("transformers", "hf")

        def fail(*_, **__):
            raise ImportError("SiglipTokenizer requires the SentencePiece library but it was not found. See there")

        monkeypatch.setattr(library.AutoTokenizer, "from_pretrained", fail)
        with pytest.raises(ExtraError, match=r"needs a library \(SiglipTokenizer requires.*'phosphene\[hf\]'"):
            ph.load(f"hf:{tmp_path}#a;b")

    def test_another_tokenizer_is_another_network(self, tmp_path):
        from tokenizers import normalizers

        model, tokenizer = two_towers.save("CLIP", tmp_path), two_towers.tokenizer()
        first, second = (
            PromptClassifier(HubTwoTower(model, tokenizer, "clip"), [["star"], ["ring"]]) for _ in range(2)
        )
        assert first.identity.equal(second.identity)
        tokenizer.backend_tokenizer.normalizer = normalizers.Replace("ring", "cross")
        other = PromptClassifier(HubTwoTower(model, tokenizer, "clip"), [["star"], ["ring"]])
        assert not other.identity.equal(first.identity)

    def test_texts_of_siglip_are_in_lower_case(self, tmp_path):
        two_towers.save("Siglip", tmp_path)
        upper, lower = (ph.load(f"hf:{tmp_path}#{text};cross") for text in ("a red STAR", "a red star"))
        torch.testing.assert_close(upper.module.rows, lower.module.rows)

    def test_a_tower_that_does_not_say_how_long_a_text_may_be_asks_the_tokenizer(self, tmp_path):
        model = two_towers.save("CLIP", tmp_path)
        model.config.__dict__["text_config"] = types.SimpleNamespace()  # as a config of other code may be
        tower = HubTwoTower(model, two_towers.tokenizer(), "clip")
        assert tower.embed_texts(["a red star", "a photo of a blue ring"]).shape == (2, 16)
        with pytest.raises(ConceptError, match="longer than the 8 tokens that clip takes"):
            tower.embed_texts(["a " * 9])

    def test_a_file_without_a_text_tower_is_said_to_be_incomplete(self, tmp_path):
        from safetensors.torch import load_file, save_file

        two_towers.save("CLIP", tmp_path)
        file = tmp_path / "model.safetensors"
        save_file({key: one for key, one in load_file(file).items() if "text" not in key}, file, {"format": "pt"})
        with pytest.raises(WeightsError, match="its file lacks a part of the two towers"):
            ph.load(f"hf:{tmp_path}#a;b")

    def test_a_model_of_images_and_texts_of_another_kind_is_refused_before_its_weights_are_read(self, tmp_path):
        library = require("transformers", "hf")
        text = library.LlamaConfig(vocab_size=32, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
        for config, said in (
            (
                library.LlavaConfig(vision_config=library.CLIPVisionConfig(), text_config=text),
                r"\(llava\) that is neither",
            ),
            (library.OwlViTConfig(), r"\(owlvit\) that is neither"),
            (library.Siglip2Config(), "NaFlex"),
        ):
            config.save_pretrained(tmp_path)
            with pytest.raises(CardError, match=said):
                ph.load(f"hf:{tmp_path}#a;b")

    def test_a_classifier_whose_head_was_not_trained_is_refused(self, tmp_path):
        library = require("transformers", "hf")
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        library.ViTModel(library.ViTConfig(image_size=32, patch_size=8, **small)).save_pretrained(tmp_path)
        library.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
        with pytest.raises(WeightsError, match=r"has no weights for classifier.bias"):
            ph.load(f"hf:{tmp_path}")


class TestDemo:
    def test_tells_texts_apart_on_new_images(self):
        from demo.train_text import accuracy

        from phosphene.demo.towers import SmallTwoTower
        from phosphene.sources.demo import CARDS
        from phosphene.sources.weights import load_weights

        model = SmallTwoTower()
        load_weights(model, CARDS.parent / "weights" / "shapes_text.safetensors", network="shapes-text")
        assert accuracy(model.eval(), 240) > 0.85

    def test_a_word_that_it_does_not_know_is_refused_with_those_it_knows(self):
        with pytest.raises(ConceptError, match=r"knows no 'people'. Its words: a, an, and, arrow"):
            ph.load(SPEC, prompts=["purple people"])

    def test_maps_of_texts_are_made_scored_and_found_again(self, tmp_path):
        few = {"steps": 2, "refine_steps": 1, "rounds": 1, "batch_size": 2}
        concepts = ["text:a red star", "text:something blue", "text:a red star vs text:a blue ring"]
        maps = ph.map_concepts(SPEC, concepts, overrides=few, out=tmp_path / "run", progress=False)
        assert [one.label for one in maps] == ["a red star", "something blue", "a red star vs a blue ring"]
        assert distance(maps["text:a red star"][0].nu, maps["something blue"][0].nu) > ROOM
        run = ph.open_run(tmp_path / "run")
        assert run.facts()["model"]["spec"] == f"{SPEC}#something blue"
        (own,) = ph.score(run, progress=False)
        assert own.target == "shapes-text"
        (other,) = ph.score(run, "demo:shapes-text#something blue;something red", progress=False)
        assert other.target_spec.endswith("#something blue;something red")
