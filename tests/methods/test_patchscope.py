"""States put into another prompt: against hooks on the plain model, and against the prompt that they come from."""

from contextlib import contextmanager

import pytest
import torch

import tiny
from architectures.common import ids, model, plain
from fluoroscope.errors import ArgumentError, SiteError, TokenError
from fluoroscope.generation import generate
from fluoroscope.methods import patchscope
from fluoroscope.methods.patchscope import Target, agreement, continuations, logits, target
from fluoroscope.methods.translators import depth_sites
from fluoroscope.sites import Site

CASES = ["gpt2", "llama", "gemma2", "falcon", "phi3", "cohere", "granite", "mixtral", "opt", "bloom"]
BLOCKS = {"gpt2": "transformer.h", "llama": "model.layers"}


def states_of(found, prompt, slot):
    trace = found.trace(prompt, sites=depth_sites(found.n_layers))
    return trace, [(Site.parse(name), trace[name][0, slot]) for name in depth_sites(found.n_layers)]


def goal_of(found, prompt, slot, site=None):
    return Target(found.tokens(prompt), slot, None if site is None else Site.parse(site))


@pytest.mark.parametrize("slot", [12, 5])
@pytest.mark.parametrize("case", CASES)
def test_put_back_where_it_was_a_state_changes_nothing(case, slot):
    found, prompt = model(case), ids(1)
    trace, states = states_of(found, prompt, slot)
    put = logits(found, goal_of(found, prompt, slot), states)
    torch.testing.assert_close(put, trace.logits[0, -1].expand_as(put), atol=1e-5, rtol=1e-5)
    alone = logits(found, goal_of(found, prompt, slot), states[1:2])
    assert torch.equal(alone[0], trace.logits[0, -1])


@contextmanager
def patched(hf, case, block, slot, state):
    """Replaces the stream behind a block, or before the first one (block -1), by a hook of torch's own."""
    blocks = hf.get_submodule(BLOCKS[case])

    def write(stream):
        if stream.shape[1] > slot:  # a later pass of a cached generation holds the new token alone
            stream = stream.clone()
            stream[:, slot] = state
        return stream

    def after(module, args, output):
        return write(output) if isinstance(output, torch.Tensor) else (write(output[0]), *output[1:])

    handle = (
        blocks[0].register_forward_pre_hook(lambda module, args: (write(args[0]), *args[1:]))
        if block < 0
        else blocks[block].register_forward_hook(after)
    )
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("site", [None, "resid_pre.0", "resid_post.1"])
@pytest.mark.parametrize("case", ["gpt2", "llama"])
def test_it_is_what_a_plain_forward_hook_does(case, site, monkeypatch):
    """The source is another prompt of another length, the placeholder in the middle of the target."""
    found, hf = model(case), plain(case)
    source, goal = ids(3)[1], ids(1, seed=4)[0]
    with torch.no_grad():
        hidden = hf(torch.tensor([source]), output_hidden_states=True).hidden_states  # the last one behind the norm
    _, states = states_of(found, [source], 3)
    for depth, (_, state) in enumerate(states[:-1]):
        torch.testing.assert_close(state, hidden[depth][0, 3], atol=1e-5, rtol=1e-5)
    put = logits(found, goal_of(found, [goal], 6, site), states)
    written = []  # these models have no tokenizer to make texts of the ids

    def remember(*given, **options):
        written.append(generate(*given, **options, stop_tokens=[]))
        return written[0]

    monkeypatch.setattr(patchscope, "generate", remember)
    continuations(found, goal_of(found, [goal], 6, site), states, 4)
    for depth, (row, (_, state)) in enumerate(zip(put, states, strict=True)):
        block = depth - 1 if site is None else {"resid_pre.0": -1, "resid_post.1": 1}[site]
        with torch.no_grad(), patched(hf, case, block, 6, state):
            torch.testing.assert_close(row, hf(torch.tensor([goal])).logits[0, -1], atol=1e-5, rtol=1e-5)
            whole = goal
            for _ in range(4):
                whole = [*whole, int(hf(torch.tensor([whole]), use_cache=False).logits[0, -1].argmax())]
        assert written[0].ids[depth + 1] == whole[len(goal) :]
    assert (put[1:] - put[:-1]).abs().max() > 1e-2


def test_the_first_row_of_the_continuations_is_the_prompt_as_it_is(tiny_model):
    _, states = states_of(tiny_model, tiny.PROMPT, -1)
    goal = target(tiny_model, "abc ? x", None, None, None)
    texts = continuations(tiny_model, goal, states, 5)
    assert len(texts) == 1 + len(states)
    assert texts[0] == tiny_model.generate("abc ? x", max_new_tokens=5).text


def test_agreement_is_the_mean_over_all_positions(tiny_model):
    trace = tiny_model.trace("Hello you", sites=depth_sites(2))
    goal = target(tiny_model, "aa bb ?", None, None, None)
    own = trace.logits[0].argmax(-1)
    for each in agreement(tiny_model, goal, trace):
        right, surprisal, lens_right, lens_surprisal = [], [], [], []
        for slot, token in enumerate(own):
            edit = {each.site: lambda value, slot=slot, site=each.site: put_last(value, trace[site][0, slot])}
            log_p = tiny_model.trace("aa bb ?", edits=edit).logits[0, -1].log_softmax(-1)
            log_q = tiny_model.unembed(trace[each.site][0, slot]).detach().log_softmax(-1)
            right.append(float(log_p.argmax() == token))
            lens_right.append(float(log_q.argmax() == token))
            surprisal.append(-float(log_p[token]))
            lens_surprisal.append(-float(log_q[token]))
        means = [sum(part) / len(own) for part in (right, surprisal, lens_right, lens_surprisal)]
        found = [each.precision, each.surprisal, each.lens_precision, each.lens_surprisal]
        assert found == pytest.approx(means, abs=1e-4)
    assert each.precision == each.lens_precision == 1


def put_last(value, state):
    value[:, -1] = state
    return value


@pytest.mark.parametrize(
    ("prompt", "placeholder", "position", "slot"),
    [
        ("ab ? c", None, None, 3),
        ("ab x ?", "x", None, 3),
        ("ab ? c", None, -1, 5),
        ("ab ?? c", None, 0, 0),
        ("? ab", "?", None, 0),
    ],
)
def test_the_placeholder_is_found_by_its_text_or_its_index(tiny_model, prompt, placeholder, position, slot):
    goal = target(tiny_model, prompt, placeholder, position, None)
    assert goal.slot == slot
    assert goal.into(Site("resid_post", 1)) == Site("resid_post", 1)


def test_what_marks_no_one_token_is_refused(tiny_model):
    for prompt, placeholder, times in [("abc", None, 0), ("a ? b ?", None, 2), ("abc", "", 0)]:
        with pytest.raises(TokenError, match=rf"holds the placeholder .* {times} times.*exactly once"):
            target(tiny_model, prompt, placeholder, None, None)
    with pytest.raises(TokenError, match=r"'bc' is no token of the target prompt, which has 'b' \+ 'c' there"):
        target(tiny_model, "abc", "bc", None, None)
    with pytest.raises(TokenError, match="no token 3"):
        target(tiny_model, "abc", None, 3, None)
    with pytest.raises(ArgumentError, match="not both"):
        target(tiny_model, "abc", "a", 0, None)


def test_only_a_stream_of_the_model_can_be_overwritten(tiny_model):
    assert target(tiny_model, "a?", None, None, "blocks.1.hook_resid_pre").site == Site("resid_pre", 1)
    with pytest.raises(ArgumentError, match=r"attn_out\.1 is no residual stream"):
        target(tiny_model, "a?", None, None, "attn_out.1")
    with pytest.raises(SiteError):
        target(tiny_model, "a?", None, None, "resid_post.7")
