"""The field's files in place, against the records themselves; and files that are broken, by their line."""

import csv
import json
import re

import pytest

from fluoroscope import tasks
from fluoroscope.analyses.task_patching import task_patching
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.tasks import Dataset
from shared import SHARED, needs_shared

PROMPTS = SHARED / "data" / "prompts"

FILES = {
    "greater_than.csv": 1000,
    "ioi_llama.csv": 499,
    "sva/simple_train.jsonl": 400,
    "sva/simple_test.jsonl": 90,
    "sva/nounpp_test.jsonl": 400,
    "blimp/anaphor_gender_agreement.jsonl": 950,
    "blimp/anaphor_number_agreement.jsonl": 950,
    "blimp/determiner_noun_agreement_1.jsonl": 700,
    "blimp/irregular_plural_subject_verb_agreement_1.jsonl": 400,
    "blimp/npi_present_1.jsonl": 950,
    "blimp/regular_plural_subject_verb_agreement_1.jsonl": 550,
    "lre/adj_comparative.json": 40,
    "lre/city_in_country.json": 14,
    "lre/country_capital_city.json": 14,
    "lre/country_language.json": 20,
    "lre/object_superclass.json": 65,
    "lre/occupation_gender.json": 19,
    "lre/verb_past_tense.json": 70,
    "rome_known_1000.json": 1000,
    "function_vectors/capitalize.json": 400,
    "function_vectors/country-capital.json": 45,
    "function_vectors/next_item.json": 150,
    "function_vectors/present-past.json": 280,
    "function_vectors/singular-plural.json": 100,
    "winogender_all_sentences.tsv": 40,
}
"""At least so many pairs with GPT-2's tokenizer."""


@needs_shared
@pytest.mark.parametrize("file", FILES)
def test_every_file_gives_pairs_that_fit(gpt2, file):
    dataset = tasks.read(PROMPTS / file, gpt2)
    assert len(dataset) >= FILES[file]
    assert all(re.fullmatch(r"(line|record) \d+", where) for where in dataset.dropped)
    for pair in dataset.pairs[:: max(17, len(dataset) // 20)]:
        one, other = (gpt2.tokens(text).rows[0] for text in (pair.clean, pair.corrupted))
        assert len(one) == len(other)
        assert one != other
        for side in (pair.answer, pair.foil):
            if "|" not in side:
                assert gpt2.tokens(pair.clean + side).rows[0][:-1] == one
        assert all(0 <= start < end <= len(pair.clean) for start, end in pair.spans.values())


def records(file):
    text = (PROMPTS / file).read_text("utf8")
    if file.endswith("jsonl"):
        return [json.loads(line) for line in text.splitlines()]
    if file.endswith("json"):
        return json.loads(text)
    return list(csv.DictReader(text.splitlines(), delimiter="\t" if file.endswith("tsv") else ","))


@needs_shared
def test_greater_than_keeps_its_texts_and_takes_years_by_the_label(gpt2):
    dataset = tasks.read(PROMPTS / "greater_than.csv", gpt2, n=50)
    for pair, record in zip(dataset, records("greater_than.csv"), strict=False):
        assert (pair.clean, pair.corrupted) == (record["clean"], record["corrupted"])
        years = [*map(int, pair.foil.split("|")), *map(int, pair.answer.split("|"))]
        assert years == list(range(100))
        assert int(pair.answer[:2]) == int(record["label"]) + 1


@needs_shared
@pytest.mark.parametrize("variant", [None, "hard"])
def test_ioi_reads_names_from_the_texts(gpt2, variant):
    dataset = tasks.read(PROMPTS / "ioi_llama.csv", gpt2, variant=variant)
    for pair, record in zip(dataset, records("ioi_llama.csv"), strict=False):
        assert pair.clean == record["clean"]
        assert pair.corrupted == record["corrupted_hard" if variant else "corrupted"]
        io, s = pair.answer.strip(), pair.foil.strip()
        assert (len(re.findall(rf"\b{io}\b", pair.clean)), len(re.findall(rf"\b{s}\b", pair.clean))) == (1, 2)
        assert [pair.clean[slice(*pair.spans[role])] for role in ("IO", "S1", "S2")] == [io, s, s]


@needs_shared
def test_agreement_is_as_it_stands(gpt2):
    wanted = {tuple(record.values())[:4] for record in records("sva/nounpp_test.jsonl")}
    dataset = tasks.read(PROMPTS / "sva/nounpp_test.jsonl", gpt2)
    assert {(pair.clean, pair.corrupted, pair.answer, pair.foil) for pair in dataset} <= wanted
    assert len(dataset) + len(dataset.dropped) == 480


@needs_shared
def test_blimp_is_corrupted_by_a_record_whose_words_are_swapped_where_one_is_as_long(gpt2):
    rows = records("blimp/anaphor_gender_agreement.jsonl")
    words = {row["one_prefix_prefix"]: (row["one_prefix_word_good"], row["one_prefix_word_bad"]) for row in rows}
    lengths = {text: len(gpt2.tokens(text).rows[0]) for text in words}
    have = {(*words[text], length) for text, length in lengths.items()}
    for pair in tasks.read(PROMPTS / "blimp/anaphor_gender_agreement.jsonl", gpt2):
        good, bad = words[pair.clean]
        assert (pair.answer, pair.foil) == (f" {good}", f" {bad}")
        swapped = words[pair.corrupted] == (bad, good)
        assert swapped or ((bad, good, lengths[pair.clean]) not in have and words[pair.corrupted][0] != good)


@needs_shared
def test_facts_are_corrupted_by_another_subject_of_their_relation(gpt2):
    known = records("rome_known_1000.json")
    for pair in tasks.read(PROMPTS / "rome_known_1000.json", gpt2):
        start, end = pair.spans["subject"]
        subject = pair.clean[start:end]
        other = pair.corrupted[start : len(pair.corrupted) - (len(pair.clean) - end)]
        assert pair.clean.replace(subject, other, 1) == pair.corrupted
        asked = {
            each["relation_id"]
            for each in known
            if (each["prompt"], each["subject"], f" {each['attribute']}") == (pair.clean, subject, pair.answer)
        }
        assert any(
            (each["subject"], f" {each['attribute']}") == (other, pair.foil) and each["relation_id"] in asked
            for each in known
        )


@needs_shared
@pytest.mark.parametrize("variant", [None, "zero_shot"])
def test_relations_take_the_first_template(gpt2, variant):
    whole = records("lre/country_capital_city.json")
    template = whole["prompt_templates_zs" if variant else "prompt_templates"][0]
    table = {template.format(each["subject"]): each["object"] for each in whole["samples"]}
    dataset = tasks.read(PROMPTS / "lre/country_capital_city.json", gpt2, variant=variant)
    assert dataset.name == "country capital city"
    for pair in dataset:
        assert (pair.answer, pair.foil) == (f" {table[pair.clean]}", f" {table[pair.corrupted]}")


@needs_shared
def test_function_vectors_shuffle_the_outputs_of_ten_examples(gpt2):
    table = {(each["input"], each["output"]) for each in records("function_vectors/country-capital.json")}
    for pair in tasks.read(PROMPTS / "function_vectors/country-capital.json", gpt2):
        clean, corrupted = (re.findall(r"Q: (.*)\nA: (.*)\n\n", text) for text in (pair.clean, pair.corrupted))
        assert len(clean) == 10
        assert set(clean) <= table
        assert [each for each, _ in clean] == [each for each, _ in corrupted]
        assert sorted(each for _, each in clean) == sorted(each for _, each in corrupted)
        assert not set(clean) & set(corrupted)
        query = pair.clean[slice(*pair.spans["query"])]
        assert (query, pair.answer[1:]) in table
        assert pair.clean.endswith(f"Q: {query}\nA:")
        assert query not in dict(clean)
        assert pair.foil != pair.answer
    again = tasks.read(PROMPTS / "function_vectors/country-capital.json", gpt2)
    other = tasks.read(PROMPTS / "function_vectors/country-capital.json", gpt2, seed=1)
    assert again.pairs[-1] == pair
    assert other.pairs[-1] != pair


@needs_shared
def test_winogender_swaps_he_and_she_and_goes_on_for_both_readings(gpt2):
    sentences = {each["sentid"]: each["sentence"] for each in records("winogender_all_sentences.tsv")}
    for pair in tasks.read(PROMPTS / "winogender_all_sentences.tsv", gpt2):
        occupation = [name for name, text in sentences.items() if text.startswith(pair.clean + pair.answer)]
        participant = [name for name, text in sentences.items() if text.startswith(pair.clean + pair.foil)]
        female = [name for name, text in sentences.items() if text.startswith(pair.corrupted)]
        assert any(".0.male" in name for name in occupation)
        assert any(".1.male" in name for name in participant)
        assert any(".female" in name for name in female)
        if "occupation" in pair.spans:
            assert occupation[0].split(".")[0] == pair.clean[slice(*pair.spans["occupation"])].lower()


@needs_shared
def test_the_embedded_model_reads_what_its_tokenizer_has(specimen):
    assert len(tasks.read(PROMPTS / "greater_than.csv", specimen, n=30)) == 30
    dataset = tasks.read(PROMPTS / "lre/country_capital_city.json", specimen)
    assert {pair.answer for pair in dataset} >= {" Lima", " Madrid"}
    with pytest.raises(ArgumentError, match=r"no record .* is a pair for this tokenizer: ' women' is|' men' is"):
        tasks.read(PROMPTS / "lre/occupation_gender.json", specimen)


# ── our own ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["ioi", "greater_than", "docstring"])
def test_a_saved_set_is_read_again(specimen, tmp_path, name):
    dataset = tasks.make(name, specimen, 5)
    path = dataset.save(tmp_path / "set.json")
    assert path.read_text("utf8") == dataset.to_json() + "\n"
    again = tasks.read(path, specimen)
    assert again == Dataset(dataset.name, dataset.pairs)
    assert [pair.spans for pair in again] == [pair.spans for pair in dataset]


def test_pairs_of_ones_own_are_read_from_a_table(specimen, tmp_path):
    france = {"clean": "The capital of France is", "answer": " Paris", "foil": " Rome"}
    rows = [
        france | {"corrupted": "The capital of Italy is"},
        france | {"corrupted": "The capital is"},
        france | {"corrupted": "The capital of Italy is", "answer": " Nukualofa"},
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf8")
    with (tmp_path / "pairs.csv").open("w", encoding="utf8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for file, offset in (("pairs.jsonl", 1), ("pairs.csv", 2)):
        dataset = tasks.read(tmp_path / file, specimen)
        assert [pair.corrupted for pair in dataset] == ["The capital of Italy is"]
        assert list(dataset.dropped) == [f"line {offset + 1}", f"line {offset + 2}"]
        reasons = list(dataset.dropped.values())
        assert "are 5 and 3 tokens" in reasons[0]
        assert "' Nukualofa' is" in reasons[1]


# ── what is broken ───────────────────────────────────────────────────────────────────────────────────

GOOD = '{"clean_prefix": "The boy", "patch_prefix": "The king", "clean_answer": " is", "patch_answer": " are"}'
CASES = {
    "a.jsonl": (GOOD + "\n\n{oops}", "line 3: "),
    "b.jsonl": (GOOD + "\n[1]", "line 2: a list is no record"),
    "c.jsonl": (GOOD + "\n" + GOOD.replace("patch_answer", "answer"), "line 2: no text 'patch_answer'"),
    "d.jsonl": (GOOD + "\n" + GOOD.replace('" are"', "7"), "line 2: no text 'patch_answer'"),
    "e.jsonl": ("", "has no record"),
    "f.csv": ("clean,corrupted,label\na,b", "line 2: not the 3 columns"),
    "g.csv": ("clean,corrupted,label\na,b,1,2", "line 2: not the 3 columns"),
    "h.csv": ("clean,corrupted,label\nThe war,The war,52", "line 2: 'The war' does not begin in a year"),
    "i.csv": (
        "clean,corrupted,label\nThe war lasted from the year 1732 to the year 17,x,33",
        "line 2: .* does not begin in a year that ends in '33'",
    ),
    "j.csv": ("clean,corrupted,corrupted_hard\nA b A,C b A,C c C", "line 2: clean and corrupted_hard differ in more"),
    "k.csv": ('clean,corrupted,label\n"The war', "line 2: unexpected end of data"),
    "l.csv": ("one,two\n1,2", "holds no prompt pairs that we know"),
    "m.json": ("[", "is no strict JSON"),
    "n.json": ('{"samples": []}', "has no record"),
    "o.json": ('{"samples": [{"subject": "France", "object": "Paris"}]}', "record 1: the first template is None"),
    "p.json": (
        '[{"prompt": "a", "subject": "b", "attribute": "c", "relation_id": "d"}]',
        "record 1: 'a' does not hold",
    ),
    "q.json": ('{"kind": "prompt pairs", "version": 2, "pairs": []}', "is of version 2, not 1"),
    "r.json": (
        '{"kind": "prompt pairs", "version": 1, "pairs": [{"clean": "a", "corrupted": "b", "answer": "c", "foil": "d", '
        '"spans": {"x": [0, 9]}}]}',
        "record 1: 'x' is at \\[0, 9\\]",
    ),
    "s.tsv": ("sentid\tsentence\nnurse.1.txt\tThe nurse", "line 2: 'nurse.1.txt' is no occupation"),
    "t.tsv": (
        "sentid\tsentence\nnurse.man.0.male.txt\tThe nurse said he can",
        "line 2: there is no 'nurse.man.0.female",
    ),
    "u.txt": ("text", "is no file of prompt pairs"),
    "v.csv": (b"clean,corrupted,label\n\xff,b,c", "is no UTF-8 text"),
}


@pytest.mark.parametrize("file", CASES)
def test_a_broken_file_is_refused_by_its_line(specimen, tmp_path, file):
    text, message = CASES[file]
    (tmp_path / file).write_bytes(text if isinstance(text, bytes) else text.encode("utf8"))
    with pytest.raises(ArtifactError, match=message):
        tasks.read(tmp_path / file, specimen)


def test_what_cannot_be_had_of_a_file_is_told(specimen, tmp_path):
    with pytest.raises(ArtifactError, match="there is no file"):
        tasks.read(tmp_path / "missing.csv", specimen)
    path = tasks.make("ioi", specimen, 3).save(tmp_path / "three.json")
    with pytest.raises(ArgumentError, match=r"three.json has 3 pairs for this tokenizer, 4 were asked for"):
        tasks.read(path, specimen, n=4)
    with pytest.raises(ArgumentError, match=r"a set of pairs has no variant 'hard'. Leave it out"):
        tasks.read(path, specimen, variant="hard")


def test_a_pair_of_one_prompt_is_left_out_by_its_line_as_one_of_unequal_lengths_is(specimen, tmp_path):
    pairs = json.loads(tasks.make("ioi", specimen, 3).to_json())
    pairs["pairs"][0]["corrupted"] = pairs["pairs"][0]["clean"]
    pairs["pairs"][2]["corrupted"] += " the"
    for pair in pairs["pairs"]:
        pair["spans"] = {}
    (tmp_path / "own.json").write_text(json.dumps(pairs), "utf8")
    found = tasks.read(tmp_path / "own.json", specimen)
    assert len(found) == 1
    assert "both prompts are" in found.dropped["record 1"]
    assert "tokens" in found.dropped["record 3"]
    told = task_patching(specimen, "own", file=str(tmp_path / "own.json"), pairs=3, floor=False).summary()
    assert "Left out of the file: record 1 (both prompts are" in told
    assert "; record 3 (" in told
