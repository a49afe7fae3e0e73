"""Words are matched with classes, and label files are parsed."""

import json
import re

import pytest

from phosphene.errors import CardError, ConceptError
from phosphene.labels import Labels
from tests import tiny
from tests.tiny import LABELS


@pytest.fixture
def labels():
    return Labels(LABELS)


@pytest.mark.parametrize(
    "concept",
    [
        0,
        "0",
        " 0 ",
        "lion, king of beasts, Panthera leo",
        "lion",
        "king of beasts",
        "panthera LEO",
        "  King   of\tBeasts ",
        "LION, king of beasts,  panthera leo",
    ],
)
def test_a_class_is_named_by_index_label_or_synonym(labels, concept):
    assert labels.find(concept) == 0


def test_a_full_label_with_synonyms_is_found_although_its_first_word_is_ambiguous(labels):
    assert labels.find("maillot, tank suit") == 4
    assert labels.find("tank suit") == 4


@pytest.mark.parametrize(("word", "first", "second"), [("crane", 1, 2), ("Maillot", 3, 4), (" CRANE ", 1, 2)])
def test_an_ambiguous_word_is_refused_with_both_candidates(labels, word, first, second):
    with pytest.raises(ConceptError) as error:
        labels.find(word)
    names = re.findall(r"'([^']+ \(\d\))'", str(error.value))
    assert [labels.find(name) for name in names] == [first, second]
    if LABELS[first] == LABELS[second]:  # then the neighbours say which is which
        assert f"(next to {LABELS[first - 1].split(',')[0]} and " in str(error.value)


def test_a_synonym_with_its_index_names_one_class(labels):
    assert labels.find("crane (2)") == 2
    assert labels.find("Tank suit (4)") == 4
    for wrong in ("crane (0)", "crane (9)", "heron (2)"):
        with pytest.raises(ConceptError):
            labels.find(wrong)


def test_a_label_that_repeats_its_own_synonym_is_not_ambiguous():
    assert Labels(["tank, tank, army tank", "ship"]).find("tank") == 0


def test_an_unknown_word_is_refused_with_the_nearest(labels):
    with pytest.raises(ConceptError, match=r"'loin'.* lion"):
        labels.find("loin")
    with pytest.raises(ConceptError, match=r"'qqqqqq'.*index"):
        labels.find("qqqqqq")


@pytest.mark.parametrize("concept", [5, "5", -1, "-1", "99999999999999999999"])
def test_an_index_out_of_range_is_refused_with_the_range(labels, concept):
    with pytest.raises(ConceptError, match="0 to 4"):
        labels.find(concept)


@pytest.mark.parametrize("word", ["", " ", ",", "²", "--1", "1.0", "-"])
def test_words_that_only_look_like_an_index_or_a_name_are_refused(labels, word):
    with pytest.raises(ConceptError):
        labels.find(word)


def test_labels_are_a_sequence_in_output_order(labels):
    assert len(labels) == 5
    assert list(labels) == list(LABELS)
    assert labels[-1] == LABELS[-1]
    assert labels[:2] == LABELS[:2]
    assert labels.short(0) == "lion"


def test_they_show_how_many_they_are_and_the_first_of_them():
    assert repr(Labels(["lion, king of beasts", "crane"])) == "Labels(2 classes: lion, crane)"
    assert repr(Labels.numbered(7)) == "Labels(7 classes: class 0, class 1, class 2, class 3, class 4 and 2 more)"
    assert repr(Labels(["a\nb"], what=("output", "outputs"))) == "Labels(1 output: a b)"


def test_numbered_labels_can_be_named():
    numbered = Labels.numbered(12)
    assert numbered.find("class 11") == 11
    assert len(numbered) == 12


def test_text_file_may_have_a_mark_blank_ends_and_windows_lines(tmp_path):
    file = tmp_path / "labels.txt"
    file.write_bytes("\ufefftench, Tinca tinca\r\n  goldfish \r\n\r\n\n".encode())
    assert list(Labels.read(file)) == ["tench, Tinca tinca", "goldfish"]


def test_a_blank_line_inside_a_text_file_keeps_its_place(tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("a\n\nc\n", encoding="utf-8")
    assert list(Labels.read(file)) == ["a", "", "c"]


@pytest.mark.parametrize("data", [["a", "b", "c"], {"2": "c", "0": "a", "1": "b"}])
def test_json_list_and_object(tmp_path, data):
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    assert list(Labels.read(file)) == ["a", "b", "c"]


INDEXED = {0: "cat, felis", 1: "dog", 2: "eel"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.txt", "{0: 'cat, felis',\n 1: 'dog',\n 2: \"eel\"}\n"),
        ("labels.txt", "['cat, felis', 'dog', 'eel']"),
        ("labels.txt", "0 cat, felis\n1 dog\n2  eel\n"),
        ("labels.txt", "0: cat, felis\n1: dog\n2: eel\n"),
        ("labels.txt", "n01440764 cat, felis\nn01443537 dog\nn01484850 eel\n"),
        ("labels.txt", "0 n01440764 cat, felis\n1 n01443537 dog\n2 n01484850 eel\n"),
        ("labels.csv", '0,"cat, felis"\n1,dog\n2,eel\n'),
        ("labels.csv", 'index,label\r\n0,"cat, felis"\r\n1,dog\r\n2,eel\r\n'),
        ("labels.tsv", "0\tcat, felis\n1\tdog\n2\teel\n"),
        ("labels.yaml", "- cat, felis\n- 'dog'\n- eel\n"),
        ("labels.yaml", 'names:\n  0: "cat, felis"\n  1: dog\n  2: eel\n'),
        ("labels.yaml", "names: ['cat, felis', 'dog', 'eel']\n"),
        ("labels.json", json.dumps({f"{index:03}": name for index, name in INDEXED.items()})),
        ("class_to_idx.json", json.dumps({name: index for index, name in reversed(INDEXED.items())})),
        ("config.json", json.dumps({"model_type": "vit", "id2label": INDEXED, "label2id": {}})),
        ("index.json", json.dumps({index: [f"n0144376{index}", name] for index, name in INDEXED.items()})),
    ],
)
def test_names_are_read_from_the_files_that_people_have(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode())
    assert list(Labels.read(tmp_path / name)) == list(INDEXED.values())


@pytest.mark.parametrize(
    "lines",
    [
        ["1 cat", "2 dog"],
        ["0 cat", "2 dog"],
        ["n01440764 cat", "dog"],
        ["0", "1"],
        ["- cat", "dog"],
        ["a,b", "c"],
        ["0 fingers", "1 finger", "2 fingers", "3 fingers"],
        ["0:00", "1:00"],
        ["[background]", "cat", "[other]"],
    ],
)
def test_what_may_be_part_of_the_names_is_kept(tmp_path, lines):
    (tmp_path / "labels.txt").write_text("\n".join(lines), encoding="utf-8")
    assert list(Labels.read(tmp_path / "labels.txt")) == lines


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_refused_with_the_fix(tmp_path, encoding):
    (tmp_path / "labels.txt").write_text("K\xe4fer\nHund\n", encoding=encoding)
    with pytest.raises(CardError, match=r"labels\.txt.*save it as UTF-8"):
        Labels.read(tmp_path / "labels.txt")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read"),
        ('{"0": "a", "2": "c"}', "no label for class 1"),
        ('["a", 1]', "list of names"),
        ('{"0": ["n01", "a"]}', "list of names"),
        ("7", "list of names"),
    ],
)
def test_malformed_json_is_refused_by_name(tmp_path, text, says):
    file = tmp_path / "labels.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CardError, match=says) as error:
        Labels.read(file)
    assert str(file) in str(error.value)


def test_labels_that_no_file_can_hold_are_refused_by_name(tmp_path):
    file = tmp_path / "labels.json"
    for label, says in (("\ud800", "half a character"), ("a" * 1001, "has 1,001 characters; at most 1000")):
        file.write_text(json.dumps(["a", label]), encoding="utf-8")
        with pytest.raises(CardError, match=f"^label file {re.escape(str(file))}: the label of class 1.*{says}"):
            Labels.read(file)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([0, 1, 2, 3, 4], r"the label of class 0 is 0 \(int\): labels must be texts\."),
        (["a", None, "c"], r"the label of class 1 is None \(NoneType\): labels must be texts\."),
        ([b"a", "b"], r"the label of class 0 is b'a' \(bytes\)"),
        ({0: "a", 1: "b"}, "labels are a dict: give a list of texts, in the order of the outputs"),
        ({"a", "b"}, "labels are a set: give a list of texts"),
        (frozenset("ab"), "labels are a frozenset: give a list of texts"),
        (
            ["a", "b\udce9"],
            r"the label of class 1, 'b\\udce9', has half a character \(a lone surrogate\): leave it out",
        ),
        (["a" * 1001], "the label of class 0 has 1,001 characters"),
    ],
)
def test_labels_given_in_python_are_texts_in_order(labels, says):
    with pytest.raises(CardError, match=f"^{says}"):
        tiny.classifier(labels=labels)


def test_names_of_groups_and_models_can_be_written_to_files():
    with pytest.raises(CardError, match="its name has to be words"):
        tiny.classifier(groups={"a\udce9": ["lion", "tank suit"]})
    for facts in ({"name": "a\udce9"}, {"spec": "a\udce9.toml"}):
        with pytest.raises(CardError, match=r"model .*: runs cannot hold a name that is not UTF-8: rename it\."):
            tiny.classifier(**facts)


def test_missing_unreadable_and_undecodable_files_are_refused(tmp_path):
    with pytest.raises(CardError, match="does not exist"):
        Labels.read(tmp_path / "none.txt")
    with pytest.raises(CardError, match="cannot be read"):
        Labels.read(tmp_path)
    (tmp_path / "bad.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(CardError, match="cannot be read"):
        Labels.read(tmp_path / "bad.txt")


def test_a_group_names_several_classes():
    labels = Labels(["cat, felis", "dog", "bus"], {" Pet  animal": ["dog", "Felis"], "moving": (0, 1, 2)})
    assert labels.members("pet animal") == (0, 1)
    assert labels.members("dog") == labels.members(1) == (1,)
    assert labels.groups == {"Pet animal": (0, 1), "moving": (0, 1, 2)}
    assert labels.has("PET animal")
    with pytest.raises(ConceptError, match=r"no class is called 'pet animl'\. Did you mean Pet animal"):
        labels.members("pet animl")
    for name in (3, "", " ", "7", "a, b", 'a "b"'):
        with pytest.raises(CardError, match="its name has to be words"):
            Labels(["cat", "dog"], {name: ["cat", "dog"]})


NUMERIC = ["0", "1", "10", "11", "2", "3", "4", "5", "6", "7", "8", "9"]  # in the order of folders


def test_a_number_that_is_an_index_and_the_label_of_another_class_is_refused():
    labels = Labels(NUMERIC)
    with pytest.raises(ConceptError, match=r"^'2' may be the index .*: write '10 \(2\)' or '2 \(4\)'\.$"):
        labels.find("2")
    assert labels.find("10 (2)") == labels.find("(2)") == labels.find(2) == labels.find_name("10") == 2
    assert labels.find("2 (4)") == labels.find_name("2") == 4
    assert labels.find("0") == 0
    digits = Labels([str(number) for number in range(10)])
    assert [digits.find(str(number)) for number in range(10)] == list(range(10))
    signs = Labels(["-1", "5", "12"])
    assert (signs.find("-1"), signs.find("12"), signs.find("2"), signs.find(-0)) == (0, 2, 2, 0)
    for beyond in (-1, 12, "(12)"):
        with pytest.raises(ConceptError, match=f"index {str(beyond).strip('()')} is out of range"):
            signs.find(beyond)
    with pytest.raises(ConceptError, match=r"write '\(0\)' or '0 \(1\)'"):
        Labels(["", "0"]).find("0")
    padded = Labels(["01", "02", "03"])
    assert (padded.find("01"), padded.find("3"), padded.find("0")) == (0, 2, 0)
    with pytest.raises(ConceptError, match=r"write '01 \(0\)' or '02 \(1\)'"):
        padded.find("1")
    with pytest.raises(ConceptError, match="no class is called '02'"):
        Labels(["0", "1", "10", "2"]).find("02")


def test_of_classes_some_of_whose_labels_are_unknown_a_number_may_be_the_label_of_another():
    labels = Labels(["", "", "10"], partial=True)
    with pytest.raises(ConceptError, match=r"write '10 \(2\)'"):
        labels.find("2")
    assert labels.find(2) == labels.find("(2)") == labels.find("10") == 2
    assert Labels(["lion", "1"], partial=True).find("1") == 1


def test_groups_hold_names_in_quotes_and_indices_without():
    assert Labels(NUMERIC, {"even": ["2", "10 (2)"], "first": [2, 3]}).groups == {"even": (2, 4), "first": (2, 3)}
    with pytest.raises(CardError, match=r"group 'pair': no class is called '1'\. An index is written without quotes\."):
        Labels(["cat", "dog"], {"pair": ["cat", "1"]})


def test_a_class_is_named_so_that_it_is_found_again():
    labels = Labels(["crane, bird", "crane, machine", "lion, king", "2", ""])
    for index in range(5):
        assert labels.find_name(labels.name(index)) == index
        assert labels.find(labels.name(index)) == index
    assert labels.name(2) == "lion"
