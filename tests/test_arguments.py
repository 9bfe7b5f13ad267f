import importlib
import inspect

import numpy as np
import pytest
import torch

from fluoroscope import registry
from fluoroscope.analyses.ablation import ablation
from fluoroscope.analyses.activation_patching import activation_patching
from fluoroscope.analyses.attribution_patching import attribution_patching
from fluoroscope.analyses.causal_tracing import causal_tracing
from fluoroscope.analyses.circuit import circuit
from fluoroscope.analyses.edges import edges
from fluoroscope.analyses.gradient_attribution import gradient_attribution
from fluoroscope.analyses.head_patching import head_patching
from fluoroscope.analyses.neuron_patching import neuron_patching
from fluoroscope.analyses.next_token import next_token
from fluoroscope.errors import ArgumentError
from fluoroscope.workflows.localise import localise

PAIR = ("abcabd", "abcabe")
ASKED = {"answer": "h", "foil": "b"}
WRONG = [
    (head_patching, {"precision": "float16"}, "precision: .*'float32' or 'bfloat16'"),
    (head_patching, {"positions": -1}, "positions: .*list"),
    (head_patching, {"positions": [1.0]}, "positions: .*integer"),
    (head_patching, {"positions": "end"}, "positions: .*list"),
    (head_patching, {"part": "foo"}, "part: .*'z'"),
    (head_patching, {"metric": None}, "metric: "),
    (head_patching, {"direction": "x"}, "direction: .*'denoise' or 'noise'"),
    (head_patching, {"budget": None}, "budget: .*integer"),
    (head_patching, {"budget": "1GB"}, "budget: .*integer"),
    (head_patching, {"answer": [" Mary", " Anna"]}, r"answer: .*bars between its tokens: ' Mary\| Anna'"),
    (head_patching, {"answer": 2.5}, "answer: .*text or token ids"),
    (head_patching, {"foil": True}, "foil: .*string"),
    (head_patching, {"top_k": 3}, "has no parameter 'top_k'"),
    (neuron_patching, {"layers": 1}, "layers: .*list"),
    (neuron_patching, {"top_k": "5"}, "top_k: .*integer"),
    (neuron_patching, {"top_k": 2.5}, "top_k: .*integer"),
    (neuron_patching, {"top_k": None}, "top_k: .*integer"),
    (edges, {"steps": 2.5}, "steps: .*integer"),
    (edges, {"method": "ig"}, "method: .*'eap-ig'"),
    (attribution_patching, {"steps": True}, "steps: .*integer"),
    (localise, {"top_k": "8"}, "top_k: .*integer"),
]
ALONE = [
    (circuit, {"task": "ioi", "size": "10%"}, "size: .*number"),
    (circuit, {"task": "ioi", "size": float("nan")}, "size: .*finite"),
    (circuit, {"task": "ioi", "pairs": 2.5}, "pairs: .*integer"),
    (circuit, {"task": "ioi", "seed": 10**30}, "seed: .*64 bits"),
    (circuit, {"clean": 3, "corrupted": "abd"}, "clean: .*text, token ids, Tokens or a chat"),
    (causal_tracing, {"prompt": "abc", "subject": 3}, "subject: .*string"),
    (causal_tracing, {"prompt": "abc", "subject": "b", "samples": 2.5}, "samples: .*integer"),
    (causal_tracing, {"prompt": "abc", "subject": "b", "strength": "3"}, "strength: .*number"),
    (causal_tracing, {"prompt": "abc", "subject": "b", "strength": float("nan")}, "strength: .*finite"),
    (ablation, {"prompt": "abc", "ablation": "foo"}, "no parameter 'ablation'"),
    (next_token, {}, "needs 'prompt'"),
    (next_token, {"prompt": None}, "prompt: .*It takes text, token ids, Tokens or a chat: "),
]


@pytest.mark.parametrize("name", sorted(registry.specs()))
def test_every_analysis_is_checked_where_python_calls_it(name):
    spec = registry.get(name)
    function = getattr(importlib.import_module(spec.module), name)
    assert inspect.signature(function) == inspect.signature(inspect.unwrap(function))
    assert function.__doc__
    with pytest.raises(ArgumentError, match=f"^{spec.command} has no parameter 'bogus'"):
        function(None, bogus=1)
    needed = {item.name: "a" if item.type == "str" else ["a"] for item in spec.parameters if item.required}
    with pytest.raises(ArgumentError, match=f"^{name} takes a model first, not 'gpt2'. fluoroscope.load"):
        function("gpt2", **needed)


@pytest.mark.parametrize(("function", "keywords", "message"), WRONG)
def test_a_wrong_value_is_refused_before_anything_runs(tiny_model, monkeypatch, function, keywords, message):
    monkeypatch.setattr(type(tiny_model), "trace", lambda *_, **__: pytest.fail("it ran"))
    with pytest.raises(ArgumentError, match=message):
        function(tiny_model, *PAIR, **keywords)


@pytest.mark.parametrize(("function", "keywords", "message"), ALONE)
def test_so_is_one_of_an_analysis_without_a_pair(tiny_model, function, keywords, message):
    with pytest.raises(ArgumentError, match=message):
        function(tiny_model, **keywords)


def test_arguments_by_place_are_checked_too(tiny_model):
    with pytest.raises(ArgumentError, match=r"head_patching takes 3 arguments by place .* not 4"):
        head_patching(tiny_model, *PAIR, "d")  # type: ignore[misc]
    with pytest.raises(ArgumentError, match="given 'clean' twice"):
        head_patching(tiny_model, *PAIR, clean="abcabd")  # type: ignore[misc]


def test_forms_that_python_has_give_what_text_gives(tiny_model):
    ids = [tiny_model.tokens(text).rows[0] for text in PAIR]
    expected = head_patching(tiny_model, *PAIR, answer="d|f", foil="e", positions=[1, 5])
    answer, foil = expected.answer_ids, expected.foil_ids[0]
    forms = [
        (ids, answer, foil, (1, 5)),
        ([tiny_model.tokens(text) for text in PAIR], list(answer), np.int64(foil), np.array([1, 5])),
        ([torch.tensor(row) for row in ids], "d|f", (foil,), [np.int64(1), torch.tensor(5)]),
    ]
    for pair, target, against, positions in forms:
        found = head_patching(tiny_model, *pair, answer=target, foil=against, positions=positions)
        assert found == expected
    whole = activation_patching(tiny_model, *PAIR, **ASKED, positions=range(2))  # type: ignore[arg-type]
    assert whole == activation_patching(tiny_model, *PAIR, **ASKED, positions=[0, 1])


@pytest.mark.parametrize("other", ["kl_divergence", "log_prob", "prob_diff", "l2_distance", "cosine_distance"])
def test_other_names_of_metrics_are_known_on_every_way(tiny_model, other):
    found = head_patching(tiny_model, *PAIR, **ASKED, metric=other)
    assert found.metric in registry.get("head_patching").parameters[6].choices
    assert found == head_patching(tiny_model, *PAIR, **ASKED, metric=found.metric)
    called = registry.run("head-patching", tiny_model, clean=PAIR[0], corrupted=PAIR[1], **ASKED, metric=other)
    assert called.call.arguments["metric"] == found.metric


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_gradients_can_be_had_in_any_mode_of_the_caller(tiny_model, mode):
    asked = [
        (attribution_patching, PAIR, {**ASKED, "top_k": 3}),
        (edges, PAIR, {**ASKED, "method": "eap", "top_k": 3}),
        (edges, PAIR, {**ASKED, "top_k": 3}),
        (gradient_attribution, PAIR[:1], {}),
    ]
    for function, prompts, keywords in asked:
        expected = function(tiny_model, *prompts, **keywords)
        with mode():
            assert function(tiny_model, *prompts, **keywords) == expected
            assert not torch.is_grad_enabled()
