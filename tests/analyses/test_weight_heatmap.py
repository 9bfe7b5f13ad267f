"""Weights as pictures: against Hugging Face's own parameters, on every layout, and what is refused."""

import numpy as np
import pytest
import torch

from architectures import common
from fluoroscope.analyses.weight_heatmap import WeightHeatmap, weight_heatmap
from fluoroscope.errors import ArgumentError, UnavailableError

V = 97


def whole(panel):
    """The map of a panel that is no larger than its cells, as a matrix."""
    assert (len(panel.rows), len(panel.columns)) == panel.shape
    return np.array(panel.means)


def test_a_head_of_a_fused_matrix_is_its_part_of_hugging_faces():
    model = common.model("gpt2")
    stored = common.plain("gpt2").transformer.h[1].attn.c_attn.weight.detach().double()
    panel = weight_heatmap(model, "W_K.1.2", cells=64).panels[0]
    expected = stored[:, 32 + 2 * 8 : 32 + 3 * 8].numpy()  # d_model 32, four heads of 8; Conv1D has inputs as rows
    assert panel.shape == (32, 8)
    np.testing.assert_array_equal(whole(panel), expected)
    assert panel.frobenius == pytest.approx(np.linalg.norm(expected), rel=1e-12)
    assert panel.spectral == pytest.approx(np.linalg.norm(expected, 2), rel=1e-12)
    assert panel.rms == pytest.approx(np.sqrt((expected**2).mean()), rel=1e-12)
    assert panel.singular_values == pytest.approx(np.linalg.svd(expected)[1], rel=1e-10)
    for entry in panel.largest:
        assert entry.value == expected[entry.row, entry.column]
    assert abs(panel.largest[0].value) == np.abs(expected).max()


@pytest.mark.parametrize("case", ["llama", "qwen2", "phi3", "gpt_neox", "gpt_neo", "falcon-7b", "codegen", "bloom"])
def test_every_layout_gives_one_panel_per_head_whose_rows_are_inputs(case):
    model = common.model(case)
    for name, count in (("W_Q", model.n_heads), ("W_V", model.n_kv_heads), ("W_O", model.n_heads)):
        result = weight_heatmap(model, f"{name}.1", cells=64)
        shape = (model.d_head, model.d_model) if name == "W_O" else (model.d_model, model.d_head)
        assert [(panel.address, panel.shape) for panel in result.panels] == [
            (f"{name}.1.{head}", shape) for head in range(count)
        ]
        for head, panel in enumerate(result.panels):
            alone = weight_heatmap(model, f"{name}.1.{head}", cells=64).panels[0]
            assert alone == panel
            np.testing.assert_array_equal(whole(panel), model.weights[f"{name}.1.{head}"].double().numpy())
        squares = sum(panel.frobenius**2 for panel in result.panels)
        assert squares == pytest.approx(float(model.weights[f"{name}.1"].double().square().sum()), rel=1e-10)


def test_biases_are_rows():
    model = common.model("gpt2")
    result = weight_heatmap(model, "b_out.2", cells=64)
    bias = common.plain("gpt2").transformer.h[2].mlp.c_proj.bias.detach().double()
    panel = result.panels[0]
    assert panel.shape == (1, 32)
    np.testing.assert_array_equal(whole(panel)[0], bias.numpy())
    assert panel.frobenius == pytest.approx(float(bias.norm()), rel=1e-12) == panel.spectral
    assert panel.effective_rank == pytest.approx(1)
    assert weight_heatmap(model, "b_Q.0").panels[0].shape == (4, 8)


@pytest.mark.parametrize(("weight", "along"), [("W_E", 1), ("W_U", 0)])
def test_tokens_are_named(tiny_model, weight, along):
    result = weight_heatmap(tiny_model, weight, top_k=3)
    norms = tiny_model.weights[weight].double().norm(dim=along)
    order = norms.argsort().tolist()
    assert [found.id for found in result.longest] == order[:-4:-1]
    assert [found.id for found in result.shortest] == order[:3]
    assert [found.token for found in result.longest] == [tiny_model.token_label(found.id) for found in result.longest]
    entry = result.panels[0].largest[0]
    assert entry.token == tiny_model.token_label(entry.row if weight == "W_E" else entry.column)
    assert result.views()[-1].columns[0].token


def test_foreign_addresses_mean_the_same(tiny_model):
    mine = weight_heatmap(tiny_model, "W_Q.1")
    assert weight_heatmap(tiny_model, "attn.L1.W_Q") == mine
    assert weight_heatmap(tiny_model, "blocks.1.attn.W_Q") == mine
    assert weight_heatmap(tiny_model, "mlp.L0.W_in") == weight_heatmap(tiny_model, "W_in.0")


def test_what_people_read(tiny_model):
    result = weight_heatmap(tiny_model, "W_in.0", cells=5)
    means, spectrum, extremes, entries = result.views()
    assert "x @ W" not in means.caption
    assert "Down: residual stream (d_model), the input. Across: neuron (d_mlp), the output" in means.caption
    assert "signed mean of a block of 4 to 5 x 19 to 20 entries" in means.caption
    assert "largest in size, with its sign" in extremes.caption
    panel = result.panels[0]
    assert len(panel.means) == len(panel.means[0]) == 5
    assert means.values[1][2] * panel.rms == pytest.approx(panel.means[1][2])
    assert max(abs(v) for row in extremes.values for v in row) * panel.rms == pytest.approx(abs(panel.largest[0].value))
    assert sum(value**2 for value in panel.singular_values) <= panel.frobenius**2
    assert [bar.value for bar in spectrum.items] == list(panel.singular_values)
    assert len(entries.rows) == 10
    assert "effective rank" in result.summary()
    heads = weight_heatmap(tiny_model, "W_O.1")
    assert [row.site for row in heads.views()[0].rows] == ["z.1.0", "z.1.1", "z.1.2"]
    assert WeightHeatmap.from_json(heads.to_json()) == heads


def test_a_matrix_of_zeros_has_no_rank(tiny_model):
    with torch.no_grad():
        bias = tiny_model.hf.transformer.h[0].mlp.c_proj.bias
        before = bias.clone()
        bias.zero_()
        try:
            result = weight_heatmap(tiny_model, "b_out.0")
        finally:
            bias.copy_(before)
    assert result.panels[0].effective_rank is None
    assert "no rank" in result.summary()
    assert result.views()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"weight": "W_q.0"}, ArgumentError, "Did you mean 'W_Q'"),
        ({"weight": "attn.L9.W_Q"}, ArgumentError, "no layer 9"),
        ({"weight": "mlp.L0.W_Q"}, ArgumentError, "Write 'W_Q.0'"),
        ({"weight": "W_gate.0"}, UnavailableError, "has none"),
        ({"weight": "W_Q.0", "top_k": 0}, ArgumentError, "lists nothing"),
        ({"weight": "W_Q.0", "cells": 0}, ArgumentError, "makes no map"),
        ({"weight": "W_Q.0", "cells": 500}, ArgumentError, "Give 1 to 128"),
    ],
)
def test_refusals(tiny_model, arguments, error, says):
    with pytest.raises(error, match=says):
        weight_heatmap(tiny_model, **arguments)


def test_weights_that_are_no_plain_matrix_are_refused():
    with pytest.raises(UnavailableError, match="low-rank"):
        weight_heatmap(common.model("deepseek_v3"), "W_K.0")
    with pytest.raises(UnavailableError, match="mixture of experts"):
        weight_heatmap(common.model("mixtral"), "W_in.0")


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("mixtral", "model.layers.1.mlp.gate.weight"),
        ("gpt2", "transformer.h.1.ln_1.weight"),
        ("gpt2", "lm_head.weight"),
        ("deepseek_v3", "model.layers.0.self_attn.kv_b_proj.weight"),
        ("qwen3_next", "model.layers.0.linear_attn.conv1d.weight"),
        ("gpt_oss", "model.layers.2.self_attn.sinks"),
    ],
)
def test_what_has_no_address_is_shown_under_hugging_faces_name_as_it_is_stored(case, name):
    stored = common.plain(case).get_parameter(name).detach().double()
    result = weight_heatmap(common.model(case), name, cells=128)
    [panel] = result.panels
    matrix = stored.squeeze().numpy().reshape(-1, stored.shape[-1])
    assert panel.shape == matrix.shape
    assert (result.weight, panel.address) == (name, name)
    assert panel.frobenius == pytest.approx(np.linalg.norm(matrix))
    assert panel.singular_values == pytest.approx(np.linalg.svd(matrix)[1][:10], rel=1e-9)
    if panel.shape[0] <= 128:
        np.testing.assert_array_equal(whole(panel), matrix)
    assert "Across: column." in result.views()[0].caption


def test_experts_are_matrices_of_their_own():
    model, name = common.model("mixtral"), "model.layers.0.mlp.experts.down_proj"
    stored = common.plain("mixtral").get_parameter(name).detach().double().numpy()
    result = weight_heatmap(model, name, cells=64)
    assert [panel.address for panel in result.panels] == [f"{name}.{expert}" for expert in range(4)]
    for expert, panel in enumerate(result.panels):
        np.testing.assert_array_equal(whole(panel), stored[expert])
        assert weight_heatmap(model, f"{name}.{expert}", cells=64).panels == (panel,)
    table = result.views()[0]
    assert (table.title, table.columns[0].name) == (f"The matrices of {name}", "matrix")
    assert {row.site for row in table.rows} == {None}
    assert f"{name} has 4 matrices; the strongest, {name}." in result.summary()
    assert WeightHeatmap.from_json(result.to_json()) == result


def test_wrong_names_of_parameters_are_refused(monkeypatch):
    model = common.model("mixtral")
    with pytest.raises(ArgumentError, match=r"Did you mean 'model\.layers\.0\.mlp\.experts\.down_proj'"):
        weight_heatmap(model, "model.layers.0.mlp.experts.down_prj")
    for name in ("model.layers.0.mlp.experts.down_proj.4", "model.norm.weight.0", "lm_head.weight.0"):
        with pytest.raises(ArgumentError, match="no such matrix"):
            weight_heatmap(model, name)
    monkeypatch.setattr("fluoroscope.methods.weight_maps._MOST", 3)
    with pytest.raises(ArgumentError, match=r"is 4 matrices\. Name one of them"):
        weight_heatmap(model, "model.layers.0.mlp.experts.down_proj")


def test_the_bias_of_the_unembedding_is_one_number_per_token():
    result = weight_heatmap(common.model("phimoe"), "b_U", top_k=4)
    bias = common.plain("phimoe").lm_head.bias.detach().double()
    assert result.panels[0].shape == (1, V)
    assert [found.id for found in result.longest] == bias.abs().argsort(descending=True)[:4].tolist()
    assert result.panels[0].largest[0].column == result.longest[0].id
    assert result.panels[0].largest[0].token == result.longest[0].token
