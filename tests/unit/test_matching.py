"""Matching a source's concepts to a target's classes by label."""

import pytest

from phosphene.concepts import Concept
from phosphene.errors import ConceptError
from phosphene.labels import Labels
from phosphene.metrics.matching import classes_of, match


def pairs(*labels):
    return dict(enumerate(labels))


def test_the_same_labels_are_the_same_classes_even_where_a_name_stands_twice():
    labels = ["lion, king of beasts", "crane", "crane", "maillot", "maillot, tank suit"]
    assert match(pairs(*labels), Labels(labels)) == {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}
    assert match({2: "Crane ", 1: " CRANE"}, Labels(labels)) == {1: 1, 2: 2}


def test_another_order_is_found_by_label():
    assert match(pairs("cat", "dog", "Sea  Gull"), Labels(["sea gull", "cat", "dog"])) == {0: 1, 1: 2, 2: 0}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("lion, king of beasts, Panthera leo", "lion"),  # torchvision's labels
        ("lion", "lion, king of beasts, Panthera leo"),
        ("panthera leo", "lion, king of beasts, Panthera leo"),
        ("lion , King of  Beasts,Panthera leo", "lion, king of beasts, Panthera leo"),
    ],
)
def test_synonyms(source, target):
    assert match(pairs("dog", source), Labels([target, "x", "dog"])) == {0: 2, 1: 0}


def test_a_full_label_goes_before_a_first_synonym_and_that_before_any_other():
    labels = Labels(["suit", "maillot, tank suit", "maillot", "missile", "projectile, missile"])
    assert match({9: "maillot"}, labels) == {9: 2}
    assert match({9: "maillot, tank suit"}, labels) == {9: 1}
    assert match({9: "projectile, missile, rocket"}, labels) == {9: 4}
    assert match({9: "missile, projectile"}, labels) == {9: 3}


def test_position_decides_between_equal_names_when_all_others_moved_alike():
    """1,001 classes with a background first, against 1,000 without; twice each, as in ImageNet."""
    target = Labels(["tench", "crane", "lion", "crane", "maillot", "maillot"])
    source = {1: "tench, Tinca tinca", 3: "lion, king of beasts", 2: "crane", 4: "crane", 5: "maillot"}
    assert match(source, target) == {1: 0, 3: 2, 2: 1, 4: 3, 5: 4}


def test_position_does_not_decide_when_the_others_moved_differently_or_do_not_say():
    target = Labels(["crane", "lion", "dog", "crane"])
    for source in ({2: "lion", 1: "crane", 0: "dog"}, {1: "crane"}):
        with pytest.raises(ConceptError, match=r"'crane' \(classes 0, 3\)"):
            match(source, target)


def test_position_alone_is_no_name():
    with pytest.raises(ConceptError, match="'cow'"):
        match(pairs("cat", "cow"), Labels(["cat", "dog"]))


def test_what_is_missing_is_named_five_at_most_and_counted():
    concepts = pairs("cat", *(f"thing {number}" for number in range(8)))
    with pytest.raises(ConceptError) as caught:
        match(concepts, Labels(["cat", "dog"]), "zoo")
    line = str(caught.value)
    assert line.startswith("8 of 9 concepts have no class of their own in zoo: 'thing 0', ")
    assert "'thing 4' and 3 more. " in line
    assert "thing 5" not in line
    assert "labels" in line
    assert "\n" not in line


def test_hostile_and_endless_labels_are_named_safely():
    with pytest.raises(ConceptError) as caught:
        match(pairs("\x1b[2J" + "a" * 10_000, "b"), Labels(["b", "c"]))
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_two_concepts_of_one_class_are_refused():
    with pytest.raises(ConceptError, match=r"'lion' \(0\) and 'Panthera leo' \(7\) are all 'lion, panthera leo' \(1\)"):
        match({0: "lion", 7: "Panthera leo"}, Labels(["dog", "lion, panthera leo"]))


@pytest.mark.parametrize("label", ["", " ", ",", " , "])
def test_blank_labels_match_nothing_but_themselves_in_place(label):
    with pytest.raises(ConceptError):
        match({0: "cat", 1: label}, Labels(["cat", "dog", "", " "]))
    assert match({0: "cat", 1: ""}, Labels(["cat", " "])) == {0: 0, 1: 1}


def test_labels_never_join_blank_synonyms():
    assert Labels(["a,,b", ""]).sharing("c, ,d") == Labels(["a,,b", ""]).closest("c, ,d") == []


def test_classes_of_concepts_of_one_classifier():
    one, other = Concept.of_class(1, "a"), Concept(((0, "b"),), ((1, "a"),))
    assert classes_of([one, other, one]) == {1: "a", 0: "b"}
    with pytest.raises(ConceptError, match="class 1 is 'a' in one map and 'b' in another"):
        classes_of([one, Concept.of_class(1, "b")])


def test_numbers_only():
    assert Labels.numbered(3).numbers_only
    assert not Labels(["class 0", "class 1", "cat"]).numbers_only


def test_imagenet_against_its_first_synonyms_without_background(shared):
    """The lists that people really have: 1,001 full labels, and 1,000 first synonyms (as torchvision's)."""
    names = Labels.read(shared / "zoo" / "imagenet_1001.txt")
    short = Labels([names.short(index) for index in range(1, 1001)])
    assert match({index: names[index] for index in range(1, 1001)}, short) == {i: i - 1 for i in range(1, 1001)}
    assert match(dict(enumerate(short)), names) == {i: i + 1 for i in range(1000)}
    with pytest.raises(ConceptError, match=r"1 of 1001 concepts .* 'background'"):
        match(dict(enumerate(names)), short)
