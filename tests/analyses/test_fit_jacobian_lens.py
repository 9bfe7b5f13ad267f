import pytest

from fluoroscope.analyses.fit_jacobian_lens import JacobianLensFit, fit_jacobian_lens
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import corpus, jacobian_lens
from fluoroscope.methods.jacobian_lens import fit as average
from fluoroscope.methods.translators import fitted


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(f"{word} {n}" for n in range(6) for word in ("one", "a cat")), encoding="utf8")
    return str(path)


@pytest.mark.parametrize("reach", ["same", "later"])
def test_the_file_holds_the_average_over_the_chosen_rows(tiny_model, text, tmp_path, reach):
    file = str(tmp_path / "lens.safetensors")
    fit = fit_jacobian_lens(tiny_model, text, file=file, rows=4, reach=reach, seed=2)
    kept, _ = corpus.load(tiny_model, text, None).split()
    chosen = corpus.shuffled(kept, 2, 0, 4)
    expected, stability = average(tiny_model, chosen, {}, reach, 2)
    lens = fitted(tiny_model, file, "jacobian")
    assert (lens.weight - expected.weight).abs().max() == 0
    assert lens.meta["reach"] == reach
    assert fit.tokens == sum(map(len, chosen))
    assert [depth.stability for depth in fit.depths] == stability
    assert JacobianLensFit.from_json(fit.to_json()) == fit


def test_what_people_read(tiny_model, text, tmp_path):
    fit = fit_jacobian_lens(tiny_model, text, file=str(tmp_path / "a.safetensors"), rows=2)
    lines, table = fit.views()
    assert lines.series[1].label == "jacobian lens"
    assert table.columns[-1].name == "stable"
    with pytest.raises(ArgumentError, match="rows=1 is no average"):
        fit_jacobian_lens(tiny_model, text, file="a.safetensors", rows=1)


@pytest.mark.parametrize(("file", "says"), [("lens.pt", "not kept as"), ("nowhere/lens.safetensors", "no folder")])
def test_where_it_cannot_be_kept_is_told_before_the_fit(tiny_model, text, monkeypatch, file, says):
    monkeypatch.setattr(jacobian_lens, "fit", lambda *_: pytest.fail("hours of work for nothing"))
    with pytest.raises(ArgumentError, match=says):
        fit_jacobian_lens(tiny_model, text, file=file)
