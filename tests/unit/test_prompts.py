"""Texts as concepts: the prompts in expressions and specs, and the classifier that a two-tower model becomes with them."""

import pytest
import torch
from torch import nn

import phosphene as ph
from phosphene.arguments import to_classifier, to_concepts
from phosphene.concepts import Concept
from phosphene.errors import CardError, ConceptError, SpecError, WeightsError
from phosphene.expressions import find_among
from phosphene.extras import require
from phosphene.prompts import prompts_of, read_prompts, split_spec, to_expression
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

    def test_become_expressions_of_labels(self):
        assert to_expression("text:a cat, asleep") == "a cat asleep"
        assert to_expression("text:a + text:b vs text:c, d") == '"a" + "b" vs "c d"'
        assert to_expression("star vs ring") == "star vs ring"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("text:", "lacks a prompt"),
            ("text:a vs text:", "lacks a prompt"),
            ("text:a husky vs a wolf", "write text: before each prompt, text:A vs text:B"),
            ("text:a;b", "put it into a file"),
            ('text:the word "no"', "put it into a file"),
            ("text:a photo of a {}", "put it into a file"),
            ("text:number #1", "put it into a file"),
            ("text:names.txt", "put it into a file"),
        ],
    )
    def test_that_cannot_be_read_are_refused_with_the_way_to_write_them(self, text, said):
        with pytest.raises(ConceptError, match=said.replace("+", "\\+")):
            prompts_of(text)

    def test_find_maps_by_prompt(self):
        concepts = [Concept.of_class(0, "a cat asleep"), Concept.of_class(1, "a dog")]
        assert find_among("text:a cat, asleep", concepts, "here") == 0
        assert find_among("text:a dog vs text:a cat, asleep", [*concepts, contrast(concepts)], "here") > 1


def contrast(concepts):
    return Concept.of_sides(((1,), (0,)), {0: concepts[0].label, 1: concepts[1].label})


class TestSpecs:
    def test_are_split_at_the_first_mark_unless_a_file_is_called_so(self, tmp_path):
        assert split_spec("hf:a/b#one;two #3") == ("hf:a/b", "one;two #3")
        assert split_spec("demo:shapes") == ("demo:shapes", "")
        (tmp_path / "net#1.toml").touch()
        assert split_spec(str(tmp_path / "net#1.toml")) == (str(tmp_path / "net#1.toml"), "")

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

    def test_with_a_template_and_nothing_to_put_in_are_refused(self):
        with pytest.raises(SpecError, match="no class names to hold"):
            read_prompts("a photo of a {};a dog", ["{}"])
        with pytest.raises(CardError, match="does not exist"):
            read_prompts("missing.txt", ["{}"])


class TestTwoTowers:
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

    def test_with_one_prompt_measure_it(self):
        one = to_classifier(letters(), concepts="text:r")
        assert one.regression
        (concept,) = to_concepts("text:r", one)
        assert concept.unit.output == "r"

    def test_without_prompts_are_refused_with_both_ways_to_give_some(self):
        with pytest.raises(CardError, match=r"-c 'text:A PROMPT'.*'letters#A PROMPT;ANOTHER'"):
            to_classifier(letters(), concepts="star")

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

    def test_templates_of_a_card_are_for_them_alone(self, tmp_path):
        card = tiny.make_card(tmp_path).write(templates=["a {}"])
        with pytest.raises(CardError, match="templates are for two-tower models"):
            ph.load(card.path, trust=True)


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
        with pytest.raises(ConceptError, match="longer than the 8 tokens"):
            ph.load(f"hf:{tmp_path}", prompts=["a photo of a red star", "a photo of a red star a photo of a"])

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
