"""Points against the states that Hugging Face hands out, the joint fit, and what people read."""

import pytest
import torch
from sklearn.decomposition import PCA
from transformers import AutoModelForCausalLM

import tiny
from architectures.common import ids, model
from fluoroscope.analyses.embedding_map import EmbeddingMap, embedding_map
from fluoroscope.errors import ArgumentError, SiteError
from fluoroscope.render.text import number, percent

SITES = ["resid_pre.0", "resid_post.0", "mlp_out.1"]


@pytest.fixture(scope="module")
def hidden(tiny_model, tiny_folder):
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()
    with torch.no_grad():
        states = plain(tiny_model.tokens(tiny.PROMPT).ids, output_hidden_states=True).hidden_states
    return torch.cat([states[0][0], states[1][0]]).double()


@pytest.mark.parametrize("unit_length", [False, True])
def test_all_depths_share_one_fit_of_hugging_faces_states(tiny_model, hidden, unit_length):
    result = embedding_map(tiny_model, tiny.PROMPT, sites=["resid_post.0", "embed"], unit_length=unit_length)
    assert result.sites == ("embed", "resid_post.0")
    result = embedding_map(tiny_model, tiny.PROMPT, sites=SITES[1::-1], unit_length=unit_length)
    assert result.sites == ("resid_pre.0", "resid_post.0")
    states = hidden / hidden.norm(dim=-1, keepdim=True) if unit_length else hidden
    fitted = PCA(2, svd_solver="full").fit(states.numpy())
    [found] = result.maps
    points = torch.tensor(found.points, dtype=torch.float64).flatten(0, 1)
    expected = torch.from_numpy(fitted.transform(states.numpy()))
    torch.testing.assert_close(points.abs(), expected.abs(), atol=1e-4, rtol=0)
    assert found.explained == pytest.approx(fitted.explained_variance_ratio_.tolist(), abs=1e-5)
    assert result.labels == tuple(tiny_model.tokens(tiny.PROMPT).pieces[0])
    first, second = result.views()
    assert first.limits == second.limits
    low, high = zip(*first.limits, strict=True)
    assert list(low) == points.amin(0).tolist()
    assert list(high) == points.amax(0).tolist()
    assert [point.site for point in second.points] == ["resid_post.0"] * len(result.labels)


def test_of_several_prompts_each_is_its_last_token(tiny_model):
    prompts = ["the cat is", "the big dog is", "the cow is", "the x is"]
    result = embedding_map(tiny_model, prompts[0], others=prompts[1:], sites=["resid_post.1"], unit_length=False)
    assert result.labels == ("cat", "big dog", "cow", "x")
    assert not result.tokens
    states = [tiny_model.trace(p, sites=["resid_post.1"])["resid_post.1"][0, -1].double() for p in prompts]
    fitted = PCA(2, svd_solver="full").fit_transform(torch.stack(states).numpy())
    points = torch.tensor(result.maps[0].points[0], dtype=torch.float64)
    torch.testing.assert_close(points.abs(), torch.from_numpy(fitted).abs(), atol=1e-4, rtol=0)
    pairs = [(float((states[a] - states[b]).norm()), a, b) for a in range(4) for b in range(a + 1, 4)]
    _, a, b = min(pairs)
    cosine = float(torch.cosine_similarity(states[a], states[b], dim=0))
    assert result.near == (a, b, pytest.approx(cosine, abs=1e-5))
    same = embedding_map(tiny_model, "a b", others=["a b c", "a", "q"], sites=["resid_post.1"])
    assert same.labels == ("a b", "a b c", "a", "q")


def test_methods_stand_side_by_side_and_tell_their_limits(tiny_model):
    result = embedding_map(tiny_model, tiny.PROMPT, methods=["tsne", "pca", "tsne"], dimensions=3, sites=["embed"])
    assert [each.method for each in result.maps] == ["tsne", "pca"]
    tsne, pca = result.views()
    assert tsne.axes == ("t-SNE 1", "t-SNE 2", "t-SNE 3")
    assert pca.axes[0] == f"PC1 ({percent(result.maps[1].explained[0])})"
    assert all(point.z is not None for point in pca.points)
    count = len(result.labels)
    assert f"perplexity is {(count - 1) / 3:.3g}, not 30: there are only {count} points." in tsne.caption
    assert (
        embedding_map(tiny_model, tiny.PROMPT, methods=["tsne"], dimensions=3, sites=["embed"]).maps == result.maps[:1]
    )
    assert result.recipe.seed == 0
    assert EmbeddingMap.from_json(result.to_json()) == result


@pytest.mark.parametrize("case", ["gemma2", "mixtral", "phi"])
def test_other_families(case):
    result = embedding_map(model(case), ids(1))
    assert result.sites == ("resid_pre.0", "resid_post.1", "resid_post.2")


def test_wrong_arguments_are_refused(tiny_model):
    for options, why in (
        ({"methods": ["tsen"]}, "unknown method 'tsen'.*'tsne'"),
        ({"dimensions": 4}, "dimensions=4"),
        ({"neighbors": 1}, "neighbors=1"),
        ({"sites": ["L1H2"]}, r"z\.1\.2 is no vector per token"),
        ({"sites": ["neurons.1"]}, r"neurons\.1 is no vector"),
        ({"sites": ["logits"]}, "logits is no vector"),
    ):
        with pytest.raises(ArgumentError, match=why):
            embedding_map(tiny_model, tiny.PROMPT, **options)
    with pytest.raises(ArgumentError, match="one token has no neighbour"):
        embedding_map(tiny_model, "a")
    with pytest.raises(ArgumentError, match="PCA needs 3 points"):
        embedding_map(tiny_model, "ab", sites=["embed"])
    with pytest.raises(SiteError, match="beyond the last layer"):
        embedding_map(tiny_model, "abc", sites=["resid_post.7"])


def test_what_people_read(tiny_model):
    result = embedding_map(tiny_model, "a dog")
    a, b, cosine = result.near
    [found] = result.maps
    first, second = (result.labels[index].replace(" ", "·") for index in (a, b))
    assert result.counted == 4
    assert result.summary() == (
        f"Of the 5 tokens ‘{first}’ and ‘{second}’ are nearest at resid_post.1, cosine {number(cosine)}; of the 4 "
        f"nearest of each a picture keeps: PCA {percent(found.kept)}; PCA's axes hold "
        f"{percent(sum(found.explained))} of the variance."
    )
    assert [view.title for view in result.views()] == [f"{site} by PCA" for site in result.sites]
