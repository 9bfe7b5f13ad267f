import pytest

from fluoroscope.analyses.fit_future_lens import FutureLensFit, fit_future_lens
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import corpus
from fluoroscope.methods import future_lens as method
from fluoroscope.methods.translators import fitted


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(f"{word} {n}" for n in range(9) for word in ("one", "a cat")), encoding="utf8")
    return str(path)


def test_the_file_holds_the_maps_of_the_fitted_rows_and_the_others_judge_them(tiny_model, text, tmp_path):
    file = str(tmp_path / "lens.safetensors")
    fit = fit_future_lens(tiny_model, text, file=file, ahead=3)
    kept, held = corpus.load(tiny_model, text, None).split()
    weight, bias = method.fit(tiny_model, kept, 3)
    lens = fitted(tiny_model, file, "future")
    assert lens.weight.equal(weight)
    assert lens.bias.equal(bias)
    expected = [vars(item) for item in method.judge(tiny_model, weight, bias, held)]
    assert [item.model_dump() for item in fit.foresight] == expected
    assert (fit.tokens, fit.held_out) == (sum(map(len, kept)), sum(map(len, held)))
    assert FutureLensFit.from_json(fit.to_json()) == fit


def test_what_people_read(tiny_model, text, tmp_path):
    fit = fit_future_lens(tiny_model, text, file=str(tmp_path / "a.safetensors"), ahead=2)
    predicted, surprisal = fit.views()
    assert [series.label for series in predicted.series] == ["+1", "+2"]
    assert predicted.series[1].values == tuple(item.predicted for item in fit.foresight[3:])
    assert surprisal.series[0].values == tuple(item.surprisal for item in fit.foresight[:3])
    assert "+2" in fit.summary()
    with pytest.raises(ArgumentError, match="ahead=0 looks nowhere"):
        fit_future_lens(tiny_model, text, file="a.safetensors", ahead=0)


@pytest.mark.parametrize(("file", "says"), [("lens.pt", "not kept as"), ("nowhere/lens.safetensors", "no folder")])
def test_where_it_cannot_be_kept_is_told_before_the_fit(tiny_model, text, monkeypatch, file, says):
    monkeypatch.setattr(method, "fit", lambda *_: pytest.fail("hours of work for nothing"))
    with pytest.raises(ArgumentError, match=says):
        fit_future_lens(tiny_model, text, file=file)
