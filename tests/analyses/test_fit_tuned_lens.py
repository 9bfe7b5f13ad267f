import pytest

from fluoroscope.analyses.fit_tuned_lens import TunedLensFit, fit_tuned_lens
from fluoroscope.analyses.logit_lens import logit_lens
from fluoroscope.analyses.tuned_lens import tuned_lens
from fluoroscope.errors import ArgumentError

TEXT = "\n\n".join(f"{word} is {number}" for number in range(6) for word in ("one", "a cat", "The end", "who"))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf8")
    return str(path)


def test_it_comes_nearer_to_the_prediction_than_the_logit_lens(tiny_model, text, tmp_path):
    file = str(tmp_path / "lens.safetensors")
    fit = fit_tuned_lens(tiny_model, text, file=file, steps=60, rate=0.3)
    assert len(fit.losses) == 60
    assert [depth.site for depth in fit.depths] == ["resid_pre.0", "resid_post.0"]
    assert all(depth.fitted < 0.5 * depth.plain for depth in fit.depths)
    assert fit.held_out == sum(len(row) for row in TEXT.split("\n\n")[9::10])
    assert fit.tokens + fit.held_out == sum(map(len, TEXT.split("\n\n")))
    tuned, plain = tuned_lens(tiny_model, "a cat is 2", lens=file), logit_lens(tiny_model, "a cat is 2")
    for depth in range(2):
        kl = [sum(cell.kl for cell in lens.depths[depth].cells) for lens in (tuned, plain)]
        assert kl[0] < kl[1]
    assert tuned.fitted.tokens == fit.tokens
    assert tuned.depths[-1] == plain.depths[-1]
    assert TunedLensFit.from_json(fit.to_json()) == fit
    assert fit_tuned_lens(tiny_model, text, file=file, steps=60, rate=0.3) == fit


def test_what_people_read(tiny_model, text, tmp_path):
    fit = fit_tuned_lens(tiny_model, text, file=str(tmp_path / "a.safetensors"), steps=3)
    lines, table, course = fit.views()
    assert [series.label for series in lines.series] == ["logit lens", "tuned lens"]
    assert [row.cells[0] for row in table.rows] == ["emb", "L0"]
    assert course.series[0].values[0] == pytest.approx(sum(fit.losses[0]) / 2)
    assert "nats from the model's own prediction" in fit.summary()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps=0 fits nothing"),
        ({"rows": -1}, "rows=-1 fits nothing"),
        ({"rate": 0.0}, "rate=0.0 fits nothing"),
        ({"file": "lens.pt"}, "not kept as 'lens.pt'"),
        ({"file": "nowhere/lens.safetensors"}, "no folder 'nowhere'"),
    ],
)
def test_settings_without_sense_are_refused(tiny_model, text, tmp_path, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        fit_tuned_lens(tiny_model, text, **{"file": str(tmp_path / "a.safetensors")} | arguments)
