"""Pictures of attention: the model's own, masked as asked, refused where they do not fit."""

import numpy as np
import pytest
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from fluoroscope.errors import ArgumentError
from fluoroscope.interpretable.visualization import (
    AttentionVisualizationConfig,
    attention_from_trace,
    attention_heatmap,
    get_attention_patterns,
)
from fluoroscope.interpretable.visualization.attention import _view

TEXT = "Once upon a time"


@pytest.fixture(scope="module")
def traced(specimen):
    with specimen.trace(TEXT) as trace:
        pass
    return trace, specimen.to_str_tokens(TEXT)


def test_patterns_are_those_of_the_trace(traced):
    trace, _ = traced
    found = get_attention_patterns(trace)
    assert list(found) == list(range(6))
    assert np.array_equal(found[2], trace.activations["pattern.2"].numpy())
    assert list(get_attention_patterns(trace, layers=[4, 1])) == [4, 1]
    with pytest.raises(IndexError, match="layer 9"):
        get_attention_patterns(trace, layers=[9])


def test_a_heat_map_shows_one_head(traced):
    trace, tokens = traced
    pattern = get_attention_patterns(trace)[3]
    figure = attention_heatmap(pattern, tokens, head_idx=2, title="Layer 3, Head 2", colorscale="Greens")
    assert isinstance(figure, Figure)
    assert tuple(figure.get_size_inches()) == (8, 6)
    assert any("Layer 3, Head 2" in text.get_text() for text in figure.findobj(match=lambda a: hasattr(a, "get_text")))
    maps = {each.get_cmap().name for each in figure.findobj(match=lambda a: isinstance(a, ScalarMappable))}
    assert "Greens" in maps
    view = _view(pattern, tokens, 2, "", AttentionVisualizationConfig())
    assert view.values[1][2] is None
    assert view.values[2][1] == pytest.approx(float(pattern[0, 2, 2, 1]))
    whole = _view(pattern, tokens, 2, "", AttentionVisualizationConfig(mask_upper_tri=False))
    assert whole.values[1][2] == 0.0


def test_grids_take_heads_or_pairs_and_leave_none_out(traced):
    trace, tokens = traced

    def titles(**options: object) -> list[str]:
        figure = attention_from_trace(trace, tokens, **options)
        return [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes if axes.get_label() == ""]

    grid = titles(layers=[0, 5], heads=[0, 1, 2], mode="grid")
    assert len(grid) == 6
    assert grid[0].startswith("L0H0")
    assert [title.split()[0] for title in titles(heads=[(5, 3), (1, 2)], mode="grid", head_notation="dot")] == [
        "5.3", "1.2",
    ]  # fmt: skip
    assert len(titles(layers=[2], heads=[4, 5])) == 1
    config = AttentionVisualizationConfig(show_colorbar=False, figsize=(5, 4), font_size=7)
    bare = attention_from_trace(trace, tokens, config=config)
    assert all(axes.get_label() != "<colorbar>" for axes in bare.axes)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "gird"},
        {"head_notation": "HL"},
        {"heads": [99]},
        {"heads": [(0, 1), 2]},
        {"heads": [(0, 1)], "layers": [0]},
        {"config": AttentionVisualizationConfig(backend="plotly")},
        {"config": AttentionVisualizationConfig(colorscale="Bleus")},
    ],
)
def test_what_cannot_be_drawn_is_told(traced, options):
    with pytest.raises(ArgumentError):
        attention_from_trace(*traced, **options)


def test_tokens_have_to_fit(traced):
    trace, tokens = traced
    with pytest.raises(ArgumentError, match="3 tokens for a pattern"):
        attention_heatmap(get_attention_patterns(trace)[0], tokens[:3])
    with pytest.raises(ArgumentError, match="batch, head, query, key"):
        attention_heatmap(get_attention_patterns(trace)[0][0], tokens)
