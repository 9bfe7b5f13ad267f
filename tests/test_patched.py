"""What all results of patching say of the way between the two scores, and of metrics that are functions."""

import pytest
import torch

from fluoroscope import metrics
from fluoroscope.analyses.activation_patching import activation_patching
from fluoroscope.analyses.attribution_patching import attribution_patching
from fluoroscope.analyses.causal_tracing import causal_tracing
from fluoroscope.analyses.circuit import circuit
from fluoroscope.analyses.edges import edges
from fluoroscope.analyses.head_patching import head_patching
from fluoroscope.analyses.neuron_patching import neuron_patching
from fluoroscope.analyses.path_patching import path_patching
from fluoroscope.analyses.path_tree import path_tree
from fluoroscope.errors import ArgumentError, Cancelled
from fluoroscope.progress import listening
from fluoroscope.workflows.localise import localise

PAIR = ("abcabd", "abcabe")
ALL = [
    (head_patching, {}),
    (activation_patching, {}),
    (neuron_patching, {"layers": [0]}),
    (path_patching, {"receivers": ["logits"]}),
    (attribution_patching, {"top_k": 3}),
    (edges, {"top_k": 3, "method": "eap"}),
]


@pytest.fixture(scope="module")
def tokens(tiny_model):
    """The token whose logit changes most between the two prompts, and the one whose logit changes least."""
    clean, corrupted = (tiny_model.trace(text).logits[0, -1] for text in PAIR)
    change = clean - corrupted
    return int(change.argmax()), int(change.argmin())


@pytest.mark.parametrize(("function", "keywords"), ALL)
def test_a_function_is_a_metric_like_any_other(tiny_model, tokens, function, keywords):
    up, down = tokens

    def lead(logits):
        return logits[:, up] - logits[:, down]

    own = function(tiny_model, *PAIR, metric=lead, **keywords)
    named = function(tiny_model, *PAIR, answer=up, foil=down, **keywords)
    assert own.metric == "lead"
    assert own.answer is None
    assert "score by lead" in own.summary()
    assert own.clean_score == pytest.approx(named.clean_score, abs=1e-5)
    assert own.views()[0].title.replace("score by lead", named.asked()) == named.views()[0].title
    assert _numbers(own) == pytest.approx(_numbers(named), abs=1e-4)


def _numbers(result):
    """All numbers of its first picture, in order of their places."""
    found = []
    for row in getattr(result, "effects", None) or getattr(result, "senders", None) or result.kinds[0].shares:
        found += [row.effect] if hasattr(row, "effect") else [each or 0.0 for each in row]
    return found


def test_so_it_is_of_a_circuit(tiny_model, tokens):
    up, down = tokens
    own = circuit(tiny_model, clean=PAIR[0], corrupted=PAIR[1], metric=lambda rows: rows[:, up] - rows[:, down])
    assert own.metric == "own_metric"
    named = circuit(tiny_model, clean=PAIR[0], corrupted=PAIR[1], answer=up, foil=down)
    assert [wire.sender for wire in own.edges] == [wire.sender for wire in named.edges]


def test_a_function_that_is_no_metric_is_refused(tiny_model):
    with pytest.raises(ArgumentError, match=r"metric gave \[2, 11\] for 2 rows|metric gave \[\d+, \d+\] for"):
        head_patching(tiny_model, *PAIR, metric=lambda rows: rows)
    with pytest.raises(ArgumentError, match="a function of your own takes no answer"):
        head_patching(tiny_model, *PAIR, metric=lambda rows: rows[:, 0], answer="h")
    with pytest.raises(ArgumentError, match="has no gradient"):
        attribution_patching(tiny_model, *PAIR, metric=lambda rows: rows[:, 0].detach())
    with pytest.raises(ArgumentError, match=r"localise cannot take metric: .*CausalTrace\.metric"):
        localise(tiny_model, *PAIR, metric=lambda rows: rows[:, 0])  # type: ignore[arg-type]


@pytest.mark.parametrize(("function", "keywords"), ALL)
def test_a_gap_of_rounding_is_refused(tiny_model, tokens, function, keywords):
    with pytest.raises(ArgumentError, match="score the same, up to rounding"):
        function(tiny_model, *PAIR, metric=lambda rows: rows[:, tokens[0]] * 1e-8 + 1, **keywords)


@pytest.mark.parametrize(("function", "keywords"), ALL)
def test_a_way_that_is_reversed_or_short_is_said(tiny_model, tokens, function, keywords):
    up, down = tokens
    reversed_ = function(tiny_model, *PAIR, answer=down, foil=up, **keywords)
    assert reversed_.summary().endswith("answered worse than the corrupted one, so that shares go the other way.")
    plain = function(tiny_model, *PAIR, answer=up, metric="log_probability", **keywords)
    assert "Doubt" not in plain.summary()
    short = plain.model_copy(update={"clean_score": plain.corrupted_score + 1e-3})
    assert short.summary().endswith("both prompts score almost the same, so that shares say little.")


def test_rounding_grows_with_the_logits_that_were_read():
    logits, scores = torch.tensor([[40.0, 1.0]]), torch.tensor([0.25])
    assert metrics.rounding(metrics.logit(0), logits, scores) == pytest.approx(8 * 40 * 2**-23)
    assert metrics.rounding(metrics.probability(0), logits, scores) == pytest.approx(8 * 10 * 2**-23)
    assert metrics.rounding(metrics.logit(0), logits.double(), scores) == pytest.approx(8 * 40 * 2**-52)


def test_positions_are_named_and_each_counts_once(tiny_model):
    for function, keywords in (
        (head_patching, {}),
        (activation_patching, {}),
        (path_patching, {"receivers": ["logits"]}),
    ):
        with pytest.raises(ArgumentError, match=r"positions=\[\] names no token"):
            function(tiny_model, *PAIR, answer="h", foil="b", positions=[], **keywords)
        once = function(tiny_model, *PAIR, answer="h", foil="b", positions=[5], **keywords)
        assert function(tiny_model, *PAIR, answer="h", foil="b", positions=[-1, 5, 5], **keywords) == once


def test_what_would_never_end_is_refused_before_it_begins(tiny_model):
    with pytest.raises(ArgumentError, match="samples=100,000 are more draws than the 1,000"):
        causal_tracing(tiny_model, "abcabd", "bd", samples=100_000)
    with pytest.raises(ArgumentError, match=r"100,000,000 steps .* Give 1 to 1,024"):
        edges(tiny_model, *PAIR, answer="h", foil="b", steps=10**8)


def test_noise_beyond_what_numbers_hold_is_refused(tiny_model):
    with pytest.raises(ArgumentError, match=r"gives no finite scores\. Take a smaller strength"):
        causal_tracing(tiny_model, "abcabd", "bd", strength=1e38)


def test_a_threshold_is_of_acdc_alone(tiny_model):
    with pytest.raises(ArgumentError, match=r"eap has no threshold\. Leave it out, and give a size"):
        circuit(tiny_model, clean=PAIR[0], corrupted=PAIR[1], method="eap", threshold=0.5)


def test_a_circuit_of_all_edges_says_that_none_smaller_does(tiny_model, tokens):
    found = circuit(tiny_model, clean=PAIR[0], corrupted=PAIR[1], answer=tokens[0], foil=tokens[1])
    assert found.below is not None
    assert found.below < len(found.edges) / found.total
    every = found.model_copy(update={"total": len(found.edges), "below": 0.9})
    assert every.summary().startswith("No circuit of 90.0 % of the edges or less does 95.0 %: ")
    given = circuit(tiny_model, clean=PAIR[0], corrupted=PAIR[1], answer=tokens[0], foil=tokens[1], size=0.5)
    assert given.below is None


def test_a_tie_and_a_part_of_a_sweep_are_told_as_that(tiny_model, tokens):
    whole = activation_patching(tiny_model, *PAIR, answer=tokens[0], foil=tokens[1], site="z")
    assert " the heads of block " in whole.summary()
    assert " restore " in whole.summary()
    tied = whole.model_copy(update={"effects": tuple(tuple(0.5 for _ in row) for row in whole.effects)})
    assert (
        f"as much as {len(whole.cells()) - 1} others, and no other does more of {len(whole.cells())}" in tied.summary()
    )
    rest = tuple(tuple(None for _ in row) for row in whole.effects[1:])
    part = whole.model_copy(update={"effects": (whole.effects[0], *rest), "missing": 6})
    assert part.summary().split(" of ")[-1].startswith(f"{len(whole.positions)} measured")


def test_a_tree_that_was_stopped_tells_its_edges(tiny_model, tokens):
    asked = {"answer": tokens[0], "foil": tokens[1], "threshold": 0.0}
    whole = path_tree(tiny_model, *PAIR, **asked)

    def stop(label, done, _total):
        return not (label == "level 2" and done == 1)

    with listening(stop), pytest.raises(Cancelled) as stopped:
        path_tree(tiny_model, *PAIR, **asked)
    part = stopped.value.partial
    assert 0 < len(part.links) < len(whole.links)
    assert part.links == whole.links[: len(part.links)]
    assert part.summary().startswith("Partial, ")


def _stopped_at(label, done, function, *args, **keywords):
    """What there was when it was cancelled, once so much of this was done."""

    def stop(told, count, _total):
        return not (told == label and count == done)

    with listening(stop), pytest.raises(Cancelled) as stopped:
        function(*args, **keywords)
    return stopped.value.partial


@pytest.mark.parametrize("method", ["exact", "eap"])
def test_edges_that_were_stopped_tell_those_that_were_patched(tiny_model, tokens, method):
    asked = {"answer": tokens[0], "foil": tokens[1], "method": method, "top_k": 60}
    whole = edges(tiny_model, *PAIR, **asked)
    part = _stopped_at("edges", 1, edges, tiny_model, *PAIR, **asked)
    found = {(each.sender, each.receiver): each.exact for each in whole.top}
    assert 3 < len(part.top) < len(whole.top)
    assert {each.receiver[:2] for each in part.top} <= {"L0", "ml"}
    assert all(each.exact == found[each.sender, each.receiver] for each in part.top if each.exact)
    every, some = (sum(value is not None for row in each.effects for value in row) for each in (whole, part))
    assert part.missing == (every - some if method == "exact" else 60 - len(part.top))
    assert part.summary().startswith(f"Partial, {part.missing} effects not measured. Of ")
    assert _stopped_at("edges", 0, edges, tiny_model, *PAIR, **asked) is None


def test_a_circuit_that_was_stopped_tells_what_it_is_worth_so_far(tiny_model, tokens):
    asked = {"clean": PAIR[0], "corrupted": PAIR[1], "answer": tokens[0], "foil": tokens[1], "method": "exact"}
    whole = circuit(tiny_model, **asked, leave_out=True)
    runs = 0

    def stop(label, done, total):
        nonlocal runs
        runs += label == "circuits" and done == total
        return not (runs == 7 and label == "circuits")

    with listening(stop), pytest.raises(Cancelled) as stopped:
        circuit(tiny_model, **asked, leave_out=True)
    part = stopped.value.partial
    assert (part.edges, part.faithfulness, part.rest) == (whole.edges, whole.faithfulness, whole.rest)
    assert part.missing == 1 + (not part.curve) + (not part.random)
    assert not part.without
    assert part.summary().startswith(f"Partial, {part.missing} measure")
    assert len(part.views()) < len(whole.views())
    assert _stopped_at("edges", 2, circuit, tiny_model, **asked) is None  # what was found is no circuit yet


def test_what_restores_nothing_is_not_named(tiny_model, tokens):
    found = head_patching(tiny_model, *PAIR, answer=tokens[0], foil=tokens[1])
    nothing = found.model_copy(update={"effects": tuple(tuple(0.0 for _ in row) for row in found.effects)})
    assert " single heads restore: none as much as 0.1 %; 0 of 6 heads reach" in nothing.summary()
    into = path_patching(tiny_model, *PAIR, answer=tokens[0], foil=tokens[1], receivers=["L0H1"])
    assert [each.label for each in into.senders] == ["token embedding"]


def test_neurons_of_which_none_was_come_to_are_not_told_of(tiny_model, tokens):
    found = neuron_patching(tiny_model, *PAIR, answer=tokens[0], foil=tokens[1], layers=[0])
    none = tuple(tuple(None for _ in row) for row in found.effects)
    part = found.model_copy(update={"effects": none, "missing": len(none[0])})
    assert "single neurons restore: none was measured; all neurons of block 0 at once" in part.summary()


def test_a_metric_that_this_analysis_has_not_is_known_elsewhere(tiny_model):
    with pytest.raises(ArgumentError, match=r"\('kl'\)\. It is a metric of head_patching, activation_patching"):
        causal_tracing(tiny_model, "abcabd", "bd", metric="kl")  # type: ignore[arg-type]
