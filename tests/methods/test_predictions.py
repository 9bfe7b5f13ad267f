"""What is expected behind a token: Hugging Face's own distribution, and an exact sum."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from fluoroscope.methods import decomposition, predictions, readout


def test_a_token_is_read_in_context(tiny_model, tiny_folder):
    trace = tiny_model.trace("abcdef", sites=decomposition.sites_needed(tiny_model, "layer"))
    log_p = readout.log_probs(trace.logits[0].double())
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()(trace.tokens.ids).logits[0].double()
    for slot in range(6):
        found = predictions.after(tiny_model, trace, slot, log_p)
        p = logits[slot].softmax(-1)
        assert found.token_id == int(p.argmax())
        assert found.token == tiny_model.token_label(found.token_id)
        assert found.probability == pytest.approx(float(p.max()), rel=1e-4)
        assert sum(part.value for part in found.parts) == pytest.approx(float(logits[slot].max()), abs=1e-4)
        assert sum(part.share for part in found.parts) == pytest.approx(1.0)
        if slot < 5:
            assert found.actual == "abcdef"[slot + 1]
            assert found.actual_probability == pytest.approx(float(p[slot + 1]), rel=1e-4)
        else:
            assert (found.actual, found.actual_probability) == (None, None)
    assert [part.label for part in found.parts][:4] == ["embed", "pos_embed", "attn_out.0", "mlp_out.0"]
