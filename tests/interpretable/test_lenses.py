"""The lenses: the last layer is the model itself, a tuned lens learns to be nearer, files are what was saved."""

import pytest
import torch

from architectures.common import model
from fluoroscope.errors import ArgumentError, ArtifactError, TokenError
from fluoroscope.interpretable import InterpretableModel, TunedLens
from interpretable.conftest import IDS

TEXT = "Once upon a time there was a girl"
TEXTS = [TEXT, "The cat sat on the mat and looked at the dog.", "Tom had a red ball and Sam had none."] * 6


def test_the_logit_lens_is_norm_and_head_of_each_block(pair):
    """Trap 11: the last layer's predictions are the model's own, at every position."""
    logits, kept = pair.hooked(IDS)
    base = pair.plain.get_submodule(pair.container.rpartition(".")[0])
    norm = base.ln_f if hasattr(base, "ln_f") else base.norm
    found = pair.ours.logit_lens(IDS, top_k=3)
    for layer, rows in found.items():
        with torch.no_grad():
            expected = pair.plain.lm_head(norm(kept[f"block{layer}"]))[0].topk(3)
        assert [[token for token, _, _ in row] for row in rows] == expected.indices.tolist()
        scores = torch.tensor([[score for _, score, _ in row] for row in rows])
        torch.testing.assert_close(scores, expected.values, rtol=1e-5, atol=1e-5)
    last = max(found)
    assert [row[0][0] for row in found[last]] == logits[0].argmax(-1).tolist()


def test_layers_positions_and_norms_are_as_asked(pair):
    ours = pair.ours
    whole, some = ours.logit_lens(IDS), ours.logit_lens(IDS, layers=[0, -1], position=-2)
    for layer, (row,) in some.items():
        assert row[0][0] == whole[layer][-2][0][0]
        assert row[0][1] == pytest.approx(whole[layer][-2][0][1], rel=1e-5)
    assert list(some) == [0, ours.xray.n_layers - 1]
    unnormed = ours.logit_lens(IDS, skip_norm=True)
    assert unnormed == ours.logit_lens(IDS, final_norm=torch.nn.Identity())
    assert unnormed != whole
    with pytest.raises(ArgumentError, match="Give one of them"):
        ours.logit_lens(IDS, final_norm=torch.nn.Identity(), skip_norm=True)
    with pytest.raises(IndexError):
        ours.logit_lens(IDS, layers=[9])
    with pytest.raises(TokenError):
        ours.logit_lens(IDS, position=20)
    with pytest.raises(ValueError, match="a str is no hidden state"):
        ours.get_token_predictions("text")
    with pytest.raises(ValueError, match="keeps nothing"):
        ours.logit_lens(IDS, top_k=0)


def test_token_predictions_are_the_projection_alone(pair):
    stream = torch.randn(2, pair.ours.xray.d_model, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = pair.plain.lm_head(stream).topk(4)
    found = pair.ours.get_token_predictions(stream, top_k=4, return_scores=True)
    assert [[token for token, _ in row] for row in found] == expected.indices.tolist()
    assert [score for row in found for _, score in row] == pytest.approx(expected.values.flatten().tolist(), rel=1e-5)
    one = pair.ours.get_token_predictions(stream[0], top_k=4)
    assert one == expected.indices[0].tolist()
    assert one == pair.ours.get_token_predictions(stream[0], top_k=4, lm_head=pair.plain.lm_head)
    by_table = pair.ours.get_token_predictions(stream[0], 4, embedding_layer=pair.plain.get_input_embeddings())
    assert by_table == (pair.plain.get_input_embeddings().weight @ stream[0]).topk(4).indices.tolist()


def test_a_new_tuned_lens_is_the_logit_lens(specimen):
    fresh = TunedLens(specimen.xray.n_layers, specimen.xray.d_model)
    assert specimen.tuned_lens(TEXT, fresh, top_k=2) == specimen.logit_lens(TEXT, top_k=2)
    assert all(torch.equal(each.weight, torch.eye(specimen.xray.d_model)) for each in fresh.translators)
    with pytest.raises(ValueError, match="has no map"):
        fresh(torch.zeros(3), 0)
    with pytest.raises(ValueError, match="layers"):
        specimen.tuned_lens(TEXT, TunedLens(2, specimen.xray.d_model))


def test_training_brings_the_lens_nearer_and_is_kept(specimen, tmp_path, capsys):
    heard: list[tuple[int, float]] = []
    path = tmp_path / "lens.npz"
    lens = specimen.train_tuned_lens(
        TEXTS, num_steps=8, max_seq_len=64, save_path=path, callback=lambda step, loss: heard.append((step, loss))
    )
    assert [step for step, _ in heard] == list(range(8))
    assert heard[-1][1] < 0.5 * heard[0][1]
    assert "step 7" in capsys.readouterr().out
    assert sorted(each.name for each in tmp_path.iterdir()) == ["lens.json", "lens.npz"]
    again = specimen.load_tuned_lens(path)
    assert torch.equal(again.maps.weight, lens.maps.weight)
    stream = torch.randn(3, specimen.xray.d_model)
    for layer, linear in enumerate(again.translators):
        torch.testing.assert_close(again(stream, layer), linear(stream), rtol=1e-4, atol=1e-4)
    last = specimen.xray.n_layers - 1
    assert torch.equal(again(stream, last), stream)
    tuned, plain = specimen.tuned_lens(TEXT, again)[last], specimen.logit_lens(TEXT)[last]
    assert [row[0][0] for row in tuned] == [row[0][0] for row in plain]
    with pytest.raises(ArtifactError, match="other weights"):
        InterpretableModel(model("gpt2")).load_tuned_lens(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="is not the file"):
        TunedLens.load(path)


@pytest.mark.parametrize(
    ("dataset", "options", "words"),
    [
        ([], {}, "holds no text"),
        (["  ", "\n"], {}, "holds no text"),
        (["too short"], {}, "fewer than max_seq_len=2048"),
        (TEXTS, {"max_seq_len": 9}, "at least 10"),
        (TEXTS, {"num_steps": 0, "max_seq_len": 32}, "steps"),
        (TEXTS, {"momentum": 1.0, "max_seq_len": 32}, "momentum"),
    ],
)
def test_what_cannot_be_fitted_is_a_value_error(specimen, dataset, options, words):
    with pytest.raises(ValueError, match=words):
        specimen.train_tuned_lens(dataset, **options)
