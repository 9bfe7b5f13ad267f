"""Every family against Hugging Face's own forward: padded or not, eager or SDPA, whole or cached, one row or three."""

from typing import Literal

import pytest
import torch

from architectures.common import ids, model, plain, real, relative
from architectures.zoo import ATTENTION, CASES
from fluoroscope.sites import Site
from fluoroscope.trace import Trace

EXPLICIT = ("scores", "pattern")
IMPLEMENTATIONS = [(case, attn) for case in CASES for attn in ATTENTION[case]]
Pad = Literal["right", "left"]


def outer_sites(case: str, attn: str) -> list[Site]:
    return [site for site in model(case, attn).sites() if site.name not in EXPLICIT]


@pytest.mark.parametrize(("batch", "pad"), [(1, "none"), (3, "none"), (3, "left"), (3, "right")])
@pytest.mark.parametrize(("case", "attn"), IMPLEMENTATIONS)
def test_logits_equal_hugging_face_bit_for_bit_while_every_outer_site_is_kept(
    case: str, attn: str, pad: str, batch: int
) -> None:
    found, hf = model(case, attn), plain(case, attn)
    prompt = [row[:5] for row in ids(batch)] if pad == "none" else ids(3)
    side: Pad = "left" if pad == "left" else "right"
    tokens = found.tokens(prompt, pad=side)
    with torch.no_grad():
        expected = hf(**found.inputs(tokens)).logits
    trace = found.trace(tokens, sites=outer_sites(case, attn))
    assert torch.equal(trace.logits, expected)
    assert torch.equal(found.trace(tokens).logits, expected)


@pytest.mark.parametrize(("case", "attn"), IMPLEMENTATIONS)
def test_padded_batch_equals_single_prompts_at_every_site(case: str, attn: str) -> None:
    found = model(case, attn)
    sites = outer_sites(case, attn)
    alone = [found.trace(prompt, sites=sites) for prompt in ids(3)]
    sides: tuple[Pad, Pad] = ("left", "right")
    for pad in sides:
        same_as_alone(found.trace(ids(3), sites=sites, pad=pad), alone, sites)


def same_as_alone(together: Trace, singly: list[Trace], sites: list[Site]) -> None:
    for row, alone in enumerate(singly):
        mask = together.tokens.mask[row]
        for site in [*sites, Site("logits")]:
            value = together[site].movedim(site.kind.position_axis, 1)[row, mask]
            expected = alone[site].movedim(site.kind.position_axis, 1)[0]
            if site.name == "router_choice":
                assert torch.equal(value.sort(-1)[0], expected.sort(-1)[0])
            elif site.name != "router_weights":  # their order may differ where two weights are close
                assert relative(value, expected) < 1e-5, str(site)


@pytest.mark.parametrize(
    ("case", "attn", "batch"),
    [
        (case, attn, batch)
        for case, attn in IMPLEMENTATIONS
        for batch in (1, 3)
        if batch == 3 or attn == ATTENTION[case][0]
    ],
)
def test_cached_steps_equal_one_forward_at_every_site(case: str, attn: str, batch: int) -> None:
    """A prompt and six generated tokens, padded on the left, against single uncached traces of the same tokens."""
    found = model(case, attn)
    sites = found.sites()
    prompt = [row[:7] for row in ids(batch)]
    generated = found.generate(prompt, max_new_tokens=7, sites=sites, stop_tokens=[])
    trace = generated.trace
    assert trace is not None
    for row in range(batch):
        alone = found.trace(prompt[row] + generated.ids[row][:-1], sites=sites)
        mask = trace.tokens.mask[row]
        for site in [*sites, Site("logits")]:
            if site.name in ("router_weights", "router_choice"):
                continue
            value = trace[site].movedim(site.kind.position_axis, 1)[row, mask]
            expected = alone[site].movedim(site.kind.position_axis, 1)[0]
            if site.name in EXPLICIT:
                value, expected = value[..., mask].clamp_min(-1e9), expected.clamp_min(-1e9)
                value, expected = (v.masked_fill(v <= -1e9, 0) for v in (value, expected))
            assert relative(value, expected) < (1e-5 if site.name == "logits" else 3e-5), str(site)
        assert generated.ids[row][0] == int(alone.logits[0, len(prompt[row]) - 1].argmax())


@pytest.mark.parametrize("pad", ["left", "right"])
@pytest.mark.parametrize("case", [case for case in CASES if "eager" in ATTENTION[case]])
def test_inner_sites_equal_hugging_faces_eager_attention(case: str, pad: Pad) -> None:
    found, hf = model(case), plain(case, "eager")
    tokens = found.tokens(ids(3), pad=pad)
    with torch.no_grad():
        expected = hf(**found.inputs(tokens), output_attentions=True)
    trace = found.trace(tokens, sites=["pattern.*"])
    assert relative(real(trace.logits, tokens), real(expected.logits, tokens)) < 1e-6
    assert "explicit" in trace.recipe.attention
    patterns = [pattern for pattern in expected.attentions if pattern is not None]
    kept = [site for site in trace.sites if site.name == "pattern"]
    patterns = patterns if len(patterns) == len(kept) else [patterns[site.layer or 0] for site in kept]
    for site, pattern in zip(kept, patterns, strict=True):
        rows = real(trace[site].movedim(2, 1), tokens), real(pattern.movedim(2, 1), tokens)
        assert (rows[0] - rows[1]).abs().max() < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_position_outside_of_the_window_has_no_effect(case: str) -> None:
    """Three windows: with a window of 4 on every layer a token 3 * 4 back cannot be seen at the end."""
    found = model(case)
    prompt = ids(1)[0]
    changed = [prompt[0] % 90 + 4, *prompt[1:]]
    difference = (found.trace(prompt).logits - found.trace(changed).logits)[0].abs().amax(-1)
    config = found.hf.config
    kinds = set(getattr(config, "layer_types", None) or [])
    windowed = kinds == {"sliding_attention"} or (not kinds and getattr(config, "sliding_window", None) == 4)
    reach = (config.sliding_window - 1) * config.num_hidden_layers if windowed else len(prompt)
    assert (difference[: reach + 1] > 0).any()
    # Experts work on all tokens at once, so another token's routing may move the rounding.
    assert (difference[reach + 1 :] <= (1e-5 if found.architecture.router else 0)).all()
