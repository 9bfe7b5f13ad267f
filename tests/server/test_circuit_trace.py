"""Circuit Trace's own interface: its five presets, one prompt whole, one sweep, layers as they are computed."""

import json

import pytest
import torch
from starlette.testclient import TestClient
from transformers import AutoModelForCausalLM, AutoTokenizer

import fluoroscope
import tiny
from fluoroscope import registry
from fluoroscope.server.app import application
from fluoroscope.server.circuit_trace import PRESETS
from fluoroscope.server.settings import Settings
from server.labs import Held, heard
from shared import SHARED, needs_shared

THEIRS = {
    "When Mary and John went to the store, John gave a drink to",
    "The cat sat on the mat. The cat sat on the",
    "The capital of France is",
    "The war lasted from the year 1732 to 17",
    "The password is SWORDFISH. Again, the password is",
}


@pytest.fixture(scope="module")
def analysed(client):
    answer = client.post("/api/analyze", json={"prompt": tiny.PROMPT, "top_k": 4, "top_path_per_layer": 2})
    assert answer.status_code == 200
    return answer.json()


def test_the_five_presets_are_there_with_what_is_expected_of_them(client):
    listed = client.get("/api/presets").json()
    assert {each["prompt"] for each in listed if each["known_of"] == "gpt2"} == THEIRS
    assert len({each["id"] for each in listed}) == len(listed)
    for each in listed:
        assert all(each[name] for name in ("title", "corrupted", "answer", "foil", "expected"))
        assert each["corrupted"] != each["prompt"]


KNOWN = [each for each in PRESETS if each.known_of == "specimen" or each.id in ("ioi", "induction", "factual")]


@needs_shared
@pytest.mark.parametrize("preset", PRESETS[:5], ids=lambda preset: preset.id)
def test_presets_in_the_tokens_of_gpt2(preset):
    tokenizer = AutoTokenizer.from_pretrained(SHARED / "models" / "tokenizer-gpt2")
    prompt, corrupted = (tokenizer(text)["input_ids"] for text in (preset.prompt, preset.corrupted))
    assert len(prompt) == len(corrupted)
    for word in (*preset.answer.split("|"), *preset.foil.split("|")):
        assert len(tokenizer(word)["input_ids"]) == 1, word


@pytest.mark.parametrize("preset", KNOWN, ids=lambda preset: preset.id)
def test_presets_on_the_specimen(preset):
    """Its own ones, and those of Circuit Trace that it knows, have one answer token and as many tokens corrupted."""
    model = fluoroscope.load()
    both = [model.tokens(text) for text in (preset.prompt, preset.corrupted)]
    assert len(both[0].rows[0]) == len(both[1].rows[0])

    def lead(text):
        found = registry.run("logit_attribution", model, prompt=text, target=preset.answer, foil=preset.foil)
        return found.logit

    assert lead(preset.prompt) > 0
    assert lead(preset.prompt) > lead(preset.corrupted)


def test_an_analysis_holds_what_the_analyses_say(analysed, tiny_model):
    prediction = registry.run("next_token", tiny_model, prompt=tiny.PROMPT, top_k=4).model_dump(mode="json")
    assert analysed["predictions"] == prediction["predictions"]
    assert [token["id"] for token in analysed["tokens"]] == list(tiny_model.tokens(tiny.PROMPT).rows[0])
    assert len(analysed["heads"]) == 6
    assert all(head["label"] for head in analysed["heads"])
    assert [len(analysed["logit_lens"][0]["top"]), len(analysed["logit_lens"])] == [3, 3]


def test_patterns_are_hugging_faces_and_the_flow_is_their_mean(analysed, tiny_folder, tiny_model):
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder, attn_implementation="eager").eval()
    with torch.no_grad():
        found = plain(tiny_model.tokens(tiny.PROMPT).ids, output_attentions=True)
    patterns = torch.cat(found.attentions)
    torch.testing.assert_close(torch.tensor(analysed["attention"]), patterns, atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.tensor(analysed["token_flow"]), patterns.mean((0, 1)), atol=1e-5, rtol=0)
    assert analysed["target"]["logit"] == pytest.approx(float(found.logits[0, -1].max()), abs=1e-4)


def test_contributions_sum_to_the_logit_and_the_path_holds_the_largest_of_each_layer(analysed):
    assert sum(part["value"] for part in analysed["contributions"]) == pytest.approx(
        analysed["target"]["logit"], abs=1e-4
    )
    assert abs(analysed["residue"]) < 1e-4
    of = {(head["layer"], head["head"]): head["contribution"] for head in analysed["heads"]}
    for layer in range(2):
        largest = sorted((key for key in of if key[0] == layer), key=lambda key: -abs(of[key]))[:2]
        path = [(each["layer"], each["head"]) for each in analysed["top_path"] if each["layer"] == layer]
        assert path == largest


def test_a_sweep_is_what_replacing_z_by_hand_gives(client, tiny_model):
    pair = {"clean": "abc", "corrupted": "xyz"}
    answer = client.post("/api/patch", json=pair).json()
    assert len(answer["sweep"]) == 6
    sizes = [abs(each["recovered"]) for each in answer["sweep"]]
    assert sizes == sorted(sizes, reverse=True)
    clean = tiny_model.trace(pair["clean"], ["z.*"])
    target = int(clean.logits[0, -1].argmax())
    start = float(tiny_model.trace(pair["corrupted"]).logits[0, -1].double().softmax(-1)[target])
    for each in answer["sweep"]:
        site = f"z.{each['layer']}.{each['head']}"
        value = clean[site]
        edited = tiny_model.trace(pair["corrupted"], edits={site: lambda old, value=value: value})
        chance = float(edited.logits[0, -1].double().softmax(-1)[target])
        assert each["probability"] == pytest.approx(chance, abs=1e-5)
        assert each["delta"] == pytest.approx(chance - start, abs=1e-5)


def test_layers_come_while_the_model_computes_and_done_is_the_whole_analysis(lab, analysed):
    with lab.socket("/ws/analyze") as socket, Held(lab.models) as held:
        socket.send(json.dumps({"prompt": tiny.PROMPT, "top_k": 4, "top_path_per_layer": 2}))
        said = heard(socket, "layer")
        assert [message["type"] for message in said] == ["accepted", "layer"]
        assert (held.ran, held.go.is_set()) == (0, False)
        held.go.set()
        said += heard(socket, "done")
    assert [message["type"] for message in said] == ["accepted", "layer", "layer", "done"]
    assert said[0]["tokens"] == analysed["tokens"]
    for number, layer in enumerate(said[1:3]):
        assert (layer["layer"], layer["of"]) == (number, 2)
        assert layer["attention"] == analysed["attention"][number]
        for name in ("entropy", "concentration", "value_norm"):
            theirs = [head[name] for head in analysed["heads"] if head["layer"] == number]
            assert layer["heads"][name] == pytest.approx(theirs, abs=1e-6), name
    assert said[-1]["result"] == analysed


def test_without_attention_it_is_short(client, analysed):
    answer = client.post("/api/analyze", json={"prompt": tiny.PROMPT, "top_k": 4, "attention": False}).json()
    assert answer == {name: value for name, value in analysed.items() if name != "attention"}


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/api/analyze", {}), ("/api/analyze", {"prompt": 3}), ("/api/analyze", {"prompt": "a", "topk": 3}),
        ("/api/analyze", {"prompt": "a", "top_k": 0}), ("/api/analyze", {"prompt": "a", "top_k": 10**6}),
        ("/api/analyze", {"prompt": "a", "top_k": "3"}), ("/api/analyze", {"prompt": ""}),
        ("/api/patch", {"clean": "a"}), ("/api/patch", {"clean": "ab", "corrupted": "a"}),
        ("/api/patch", {"clean": "ab", "corrupted": "ab", "head": 1}),
    ],
)  # fmt: skip
def test_wrong_requests_say_what_is_wrong(client, path, asked):
    answer = client.post(path, json=asked)
    assert answer.status_code == 422
    assert set(answer.json()) == {"error", "message", "hint"}


def test_attention_that_no_json_can_hold_is_refused_before_it_is_computed(tiny_folder):
    with TestClient(application(Settings(model=tiny_folder, max_bytes=50_000)), base_url="http://localhost") as client:
        refused = client.post("/api/analyze", json={"prompt": "a" * 40})
        assert refused.status_code == 413
        assert '"attention": false' in refused.json()["hint"]
        assert client.post("/api/analyze", json={"prompt": "a" * 40, "attention": False}).status_code == 200
        assert client.post("/api/analyze", json={"prompt": "a" * 10}).status_code == 200
