"""The trace of mlxterp: run when the block begins, read inside of it and after, errors where there nothing happened."""

import threading

import pytest
import torch

from architectures.common import model
from architectures.zoo import CASES
from fluoroscope.errors import ArgumentError, EditError, SiteError, UnavailableError
from fluoroscope.interpretable import InterpretableModel
from fluoroscope.interpretable import interventions as iv
from fluoroscope.interpretable.refusals import MissingError
from interpretable.conftest import IDS


def test_saving_outside_of_a_trace_and_reading_before_it_are_refused(pair):
    with pytest.raises(ArgumentError, match="outside of a trace"):
        pair.ours.layers[0].output.save()
    waiting = pair.ours.trace(IDS)
    with pytest.raises(ArgumentError, match="has not run"):
        waiting.output.sum()


@pytest.mark.parametrize("name", ["layers.99.mlp", "typo", "layers.1.typo", "resid_psot.1"])
def test_an_intervention_on_nothing_is_refused(pair, name):
    with pytest.raises((SiteError, UnavailableError)), pair.ours.trace(IDS, interventions={name: iv.scale(0.5)}):
        pass


def test_setting_an_output_is_refused_with_what_to_write(pair):
    with pair.ours.trace(IDS), pytest.raises(EditError, match="interventions="):
        pair.ours.layers[1].output = torch.zeros(1)


def test_a_name_that_was_not_saved_or_kept_is_told(pair):
    with pair.ours.trace(IDS, sites=["resid_post.1"]) as trace:
        pair.ours.layers[1].output.save()
        with pytest.raises(MissingError, match=r"did not keep|keep"):
            pair.ours.layers[0].output.save()
    with pytest.raises(KeyError, match=r"layers\.1\.output"):
        trace.get("layers.1.otput")
    assert list(trace.saved_values) == ["layers.1.output"]


def test_nested_traces_and_threads_keep_their_own_values(pair):
    ours, seen = pair.ours, {}
    with ours.trace(IDS) as outer:
        with ours.trace(IDS[:3]) as inner:
            assert ours.output.save().shape[1] == 3
        assert ours.output.save().shape[1] == len(IDS)

        def work() -> None:
            try:
                ours.output.save()
            except ArgumentError as error:
                seen["error"] = error

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert "outside of a trace" in str(seen["error"])
    assert outer.output.shape != inner.output.shape


def test_an_error_inside_of_the_block_or_of_an_intervention_leaves_nothing_behind(pair):
    ours = pair.ours
    before = ours(IDS)

    def breaks(_value: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("own")

    with pytest.raises(RuntimeError, match="own"), ours.trace(IDS, interventions={"layers.1": breaks}):
        pass
    with pytest.raises(ZeroDivisionError), ours.trace(IDS):
        _ = 1 / 0
    with pytest.raises(ArgumentError):
        ours.output.save()
    assert torch.equal(ours(IDS), before)


def test_rows_of_a_batch_are_what_they_are_alone(specimen):
    """Trap 12: a shorter prompt was padded with token 0, without a mask."""
    texts = ["Once upon a time there was a little girl", "Once upon"]
    with specimen.trace(texts) as both, specimen.trace(texts[1]) as alone:
        pass
    length = alone.output.shape[1]
    torch.testing.assert_close(both.output[1, :length], alone.output[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_attention_is_the_models_own_on_every_family(case):
    """Trap 9: rows sum to 1 (but for learned sinks), nothing looks ahead, and writing it acts."""
    wrapped = InterpretableModel(model(case))
    with wrapped.trace(IDS) as trace:
        pass
    layer = wrapped.xray.sites("pattern")[-1].layer
    pattern = trace.activations[f"layers.{layer}.attention_weights"]
    assert torch.equal(pattern.triu(1), torch.zeros_like(pattern))
    if not wrapped.xray.architecture.sinks:
        torch.testing.assert_close(pattern.sum(-1), torch.ones_like(pattern[..., 0]), rtol=1e-4, atol=1e-4)
    with wrapped.trace(IDS, interventions={f"pattern.{layer}": iv.zero_out}) as without:
        pass
    assert not torch.equal(without.output, trace.output)
