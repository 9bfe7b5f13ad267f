"""Matrices of every shape, their largest cells and their pictures."""

import numpy as np
import pytest

from fluoroscope.interpretable.patching_results import PatchingResult, PathEffect
from fluoroscope.result import Recipe

RECIPE = Recipe(model="m", weights="w", tokenizer=None, dtype="float32", device="cpu", attention="sdpa", versions={})


def result(effects, site="mlp_out", **fields):
    known = {"component": "mlp", "site": site, "heads": None, "positions": None, "tokens": (), "metric_name": "l2",
             "normalised": True, "pairs": 1, "low": None, "high": None, "scores": effects, "clean_score": 0.0,
             "corrupted_score": 2.0, "layers": (1, 3)}  # fmt: skip
    return PatchingResult(recipe=RECIPE, effects=effects, **known | fields)


@pytest.mark.parametrize(
    ("found", "first", "label"),
    [
        (result((0.5, -0.75)), (3, -0.75), "mlp_out.3"),
        (result(((0.5, 0.0), (0.25, 0.75)), "z", heads=2), ((3, 1), 0.75), "L3H1"),
        (result(((0.5, 0.0), (0.25, -1.0)), positions=(4, 7)), ((3, 7), -1.0), "mlp_out.3 at 7"),
        (result((((0.5,), (0.0,)), ((0.25,), (2.0,))), "z", heads=2, positions=(4,)), ((3, 1, 4), 2.0), "L3H1 at 4"),
    ],
)
def test_the_largest_cell_is_named_by_layer_head_and_token(found, first, label):
    assert found.top_components(1) == [first]
    assert len(found.top_components(9)) == found.effect_matrix.numpy().size
    assert f": {label} {100 * first[1]:.1f} %" in found.summary()
    assert found.views()[0].items[0].label == label
    assert PatchingResult.from_json(found.to_json()) == found
    assert found.to_markdown()
    if found.effect_matrix.numpy().ndim > 1:
        heatmap = found.views()[1]
        assert np.allclose(np.array(heatmap.values), found.effect_matrix.numpy().reshape(len(heatmap.rows), -1))


def test_values_of_ones_own_function_are_no_shares():
    found = result((0.5, -0.75), normalised=False, clean_score=None, corrupted_score=None, metric_name="mine")
    assert found.summary() == "Clean mlp in the corrupted prompt, by mine: mlp_out.3 -0.750, mlp_out.1 0.500."


def test_a_path_says_its_ends_and_what_was_frozen():
    found = PathEffect(
        recipe=RECIPE, senders=("z.1.2",), receivers=("q.3.0",), n_frozen=7, metric_name="l2", normalised=True,
        effect=0.25, score=1.5, clean_score=0.0, corrupted_score=2.0,
    )  # fmt: skip
    assert found.data == {"effect": 0.25, "n_frozen": 7, "score": 1.5, "change": -0.5}
    assert found.summary() == (
        "From L1H2 through q.3.0 alone, clean values bring back 25.0 % by l2, with 7 heads and MLPs frozen."
    )
