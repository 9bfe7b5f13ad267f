"""What work has found so far: told to a listener that asks, and by the work that is called off."""

import pytest
import torch

import tiny
from fluoroscope import portions, registry
from fluoroscope.errors import Cancelled
from fluoroscope.progress import listening, report, so_far, telling

INTO = {"clean": tiny.PROMPT, "corrupted": tiny.PROMPT[::-1]}
SWEEPS = {
    "head_patching": INTO,
    "activation_patching": INTO,
    "path_patching": {**INTO, "receivers": ["logits"]},
    "attribution_patching": {**INTO, "top_k": 6},
    "head_interaction": {**INTO, "heads": ["L0H0", "L1H1", "L1H0"]},
    "causal_tracing": {"prompt": tiny.PROMPT, "subject": tiny.PROMPT[:2], "samples": 2},
    "ablation": {"prompt": tiny.PROMPT},
}


def test_blocks_tell_of_those_inside():
    with telling(lambda found: None if found is None else [found]):
        assert so_far() is None
        with telling(lambda _: "inside"):
            assert so_far() == ["inside"]
    assert so_far() is None

    def work():
        with telling(lambda found: (found, "around")), telling(lambda _: "inside"):
            report("work", 1)

    with listening(lambda *_: False), pytest.raises(Cancelled) as stopped:
        work()
    assert stopped.value.partial == ("inside", "around")
    assert so_far() is None


@pytest.mark.parametrize("name", list(SWEEPS))
def test_a_sweep_fills_up_to_its_result_and_is_called_off_with_what_it_has(name, tiny_model, monkeypatch):
    monkeypatch.setattr(portions, "ROWS", 1)  # portions of one copy each
    seen = []

    def listen(label, done, total):
        found = so_far()
        if found is not None:
            assert found.call.analysis == name
            seen.append(found)

    with listening(listen):
        full = registry.run(name, tiny_model, **SWEEPS[name])
    missing = [found.missing for found in seen]
    assert missing == sorted(missing, reverse=True)
    assert missing[0] > full.missing == 0
    halfway = next(found for found in seen if 0 < found.missing < missing[0])
    assert halfway.summary().startswith("Partial, ")
    assert halfway.views()
    whole = numbers(full)
    for path, value in numbers(halfway).items():
        if path[0] in ("effects", "scores", "errors", "alone", "pairs"):  # the others are lists of what is there
            assert value == pytest.approx(whole[path], abs=1e-4), path
    called = []

    def stop(label, done, total):
        called.append(so_far())
        return called[-1] is None or called[-1].missing != halfway.missing

    with listening(stop), pytest.raises(Cancelled) as stopped:
        registry.run(name, tiny_model, **SWEEPS[name])
    assert stopped.value.partial.summary() == halfway.summary()


def numbers(result):
    """Every number of a result's fields by its path."""
    found = {}

    def walk(value, path):
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, (*path, key))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                walk(inner, (*path, index))
        elif isinstance(value, float):
            found[path] = value

    walk(result.model_dump(mode="json", exclude={"recipe", "call"}), ())
    return found


def test_a_run_with_logits_that_are_no_numbers_is_refused_and_not_told_as_partial(tiny_model):
    block = tiny_model.blocks[1]
    handle = block.register_forward_hook(
        lambda _module, _given, out: (
            out * torch.nan if isinstance(out, torch.Tensor) else (out[0] * torch.nan, *out[1:])
        )
    )
    try:
        with pytest.raises(Exception, match="NaN"):
            registry.run("ablation", tiny_model, prompt=tiny.PROMPT)
    finally:
        handle.remove()
