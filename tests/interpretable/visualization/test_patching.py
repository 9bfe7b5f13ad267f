"""Pictures of patching results: every effect of the result, with a scale that is even around 0."""

import numpy as np
import pytest
from matplotlib.cm import ScalarMappable

from fluoroscope.errors import ArgumentError
from fluoroscope.interpretable.causal import activation_patching
from fluoroscope.interpretable.visualization.patching import plot_patching_comparison, plot_patching_result
from interpretable.conftest import IDS, OTHER


def test_colours_are_centred_and_titles_are_as_given(pair):
    heads = activation_patching(pair.ours, IDS, OTHER, component="attn_head")
    figure = plot_patching_result(heads, figsize=(14, 6), cmap="viridis", title="Heads")
    assert tuple(figure.get_size_inches()) == (14, 6)
    assert figure.get_suptitle().startswith("Heads")
    drawn = [
        each for each in figure.findobj(match=lambda a: isinstance(a, ScalarMappable)) if each.get_array() is not None
    ]
    limits = [each.get_clim() for each in drawn if np.size(each.get_array()) == heads.effect_matrix.numpy().size]
    assert limits
    assert all(low == -high for low, high in limits)
    assert {each.get_cmap().name for each in drawn} == {"viridis"}


def test_several_results_stand_side_by_side(pair):
    results = [activation_patching(pair.ours, IDS, OTHER, component=name) for name in ("mlp", "attn")]
    figure = plot_patching_comparison(results, title="MLP vs Attention")
    places = [axes.get_position().x0 for axes in figure.axes if axes.get_label() == ""]
    assert len(places) == 2
    assert len({round(place, 2) for place in places}) == 2
    with pytest.raises(ArgumentError, match="nothing to compare"):
        plot_patching_comparison([])
