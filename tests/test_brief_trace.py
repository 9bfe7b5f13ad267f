"""A trace without logits: the same values, no work behind the last of them, nothing left undone before."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from architectures.common import ids, model
from architectures.zoo import CASES
from fluoroscope.errors import ArgumentError, SiteError
from fluoroscope.interventions import zero
from fluoroscope.model import Model
from fluoroscope.sites import Site
from fluoroscope.trace import Trace


class Calls:
    """Which blocks of a model run, and whether its unembedding does."""

    def __init__(self, found: Model) -> None:
        self.seen: list[str] = []
        watched: dict[str, nn.Module] = {str(layer): block for layer, block in enumerate(found.blocks)}
        watched["head"] = found.hf.get_submodule(found.architecture.lm_head)
        self.handles = [module.register_forward_pre_hook(partial(self._note, name)) for name, module in watched.items()]

    def _note(self, name: str, _module: nn.Module, _args: object) -> None:
        self.seen.append(name)

    def __enter__(self) -> list[str]:
        return self.seen

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()


@pytest.mark.parametrize("case", CASES)
def test_every_site_alone_has_the_values_of_the_whole_pass(case: str) -> None:
    found = model(case)
    prompt = ids(3)
    explicit = ("scores", "pattern")  # they change how attention is computed, so each needs a whole pass of its own
    together = found.trace(prompt, [site for site in found.sites() if site.name not in explicit])
    for site in found.sites():
        if site != Site("logits"):
            brief = found.trace(prompt, [site], logits=False)
            whole = found.trace(prompt, [site]) if site.name in explicit else together
            assert torch.equal(brief[site], whole[site]), site
            assert brief.sites == [site]


def test_nothing_behind_the_last_site_runs() -> None:
    found = model("gpt2")
    with Calls(found) as seen:
        found.trace(ids(3), ["resid_post.0"], logits=False)
        assert seen == ["0"]
        seen.clear()
        found.trace(ids(3), ["z.0", "attn_out.0"], logits=False)
        assert seen == ["0"]
        seen.clear()
        found.trace(ids(3), ["resid_post.*"], logits=False)
        assert seen == [str(layer) for layer in range(found.n_layers)]
        seen.clear()
        found.trace(ids(3), ["resid_pre.0"])
        assert seen[-1] == "head"


def test_an_edit_behind_the_last_site_is_made_all_the_same() -> None:
    found, met = model("gpt2"), list[Tensor]()

    def watch(value: Tensor) -> Tensor:
        met.append(value)
        return value

    found.trace(ids(3), ["z.0"], {"mlp_out.1": watch}, logits=False)
    assert len(met) == 1
    with found.editing({"resid_pre.1": watch}):
        found.trace(ids(3), ["z.0"], logits=False)
    assert len(met) == 2


def test_an_edit_changes_what_is_seen() -> None:
    found = model("llama")
    edited = found.trace(ids(3), ["resid_post.0"], {"mlp_out.0": zero()}, logits=False)
    middle = found.trace(ids(3), ["resid_mid.0"])["resid_mid.0"]
    assert torch.equal(edited["resid_post.0"], middle)


def test_gradients_reach_back() -> None:
    found = model("gpt2")
    with_logits, without = (found.trace(ids(3), ["embed", "resid_post.0"], logits=o, grad=True) for o in (True, False))

    def gradient(trace: Trace) -> Tensor:
        return torch.autograd.grad(trace["resid_post.0"].square().sum(), trace["embed"])[0]

    alone = gradient(without)
    assert torch.equal(gradient(with_logits), alone)
    assert alone.abs().sum() > 0


def test_the_model_is_as_before() -> None:
    found = model("gemma2")
    before = found.trace(ids(3)).logits
    found.trace(ids(3), ["pattern.0"], logits=False)
    assert torch.equal(found.trace(ids(3)).logits, before)


def test_logits_that_were_not_computed_are_refused() -> None:
    trace = model("gpt2").trace(ids(3), ["z.1"], logits=False)
    assert "logits" not in trace
    with pytest.raises(SiteError, match=r"did not keep logits. It kept z\.1"):
        _ = trace.logits
    asked = model("gpt2").trace(ids(3), ["logits"], logits=False)
    assert torch.equal(asked.logits, model("gpt2").trace(ids(3)).logits)


def test_a_file_holds_what_there_is(tmp_path: Path) -> None:
    trace = model("gpt2").trace(ids(3), ["z.1"], logits=False)
    read = Trace.load(trace.save(tmp_path / "brief.safetensors"))
    assert torch.equal(read["z.1"], trace["z.1"])
    assert "logits" not in read


def test_a_trace_of_nothing_is_refused() -> None:
    with pytest.raises(ArgumentError, match="holds nothing"):
        model("gpt2").trace(ids(3), logits=False)
