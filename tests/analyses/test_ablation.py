"""Removing parts: against plain Hugging Face with parts zeroed by plain hooks, one forward each."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import fluoroscope
import tiny
from fluoroscope.analyses.ablation import Ablation, ablation
from fluoroscope.errors import ArgumentError, EditError, SiteError, TokenError
from fluoroscope.interventions import replace
from fluoroscope.render.text import percent, quoted

PARTS = [*(f"z.{layer}.{head}" for layer in range(2) for head in range(3)), "mlp_out.0", "mlp_out.1"]


class Plain:
    """The plain model; none of our code."""

    def __init__(self, folder):
        self.hf = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.ids = AutoTokenizer.from_pretrained(folder)(tiny.PROMPT, return_tensors="pt")["input_ids"]

    def without(self, names):
        """Log-probabilities with the named heads and MLPs silent."""
        handles = []
        for name in names:
            kind, layer, *unit = name.split(".")
            block = self.hf.transformer.h[int(layer)]
            if kind == "mlp_out":
                handles.append(block.mlp.register_forward_hook(lambda module, args, output: output * 0))
            else:
                handles.append(block.attn.c_proj.register_forward_pre_hook(self._silencer(int(unit[0]))))
        with torch.no_grad():
            logits = self.hf(self.ids).logits[0]
        for handle in handles:
            handle.remove()
        return logits.log_softmax(-1)

    def _silencer(self, head):
        def hook(module, args):
            value = args[0].clone()
            value[..., head * 8 : (head + 1) * 8] = 0
            return (value,)

        return hook


@pytest.fixture(scope="module")
def plain(tiny_folder):
    return Plain(tiny_folder)


@pytest.mark.parametrize("position", [-1, 4])
def test_every_part_alone_and_all_helpers_together(tiny_model, plain, position):
    result = ablation(tiny_model, tiny.PROMPT, position=position, top_k=3)
    whole = plain.without([])[position]
    target = int(whole.argmax())
    assert result.target_ids == (target,)
    assert result.probability == pytest.approx(float(whole[target].exp()), abs=1e-6)
    assert [each.sites for each in result.removals] == [(name,) for name in PARTS]
    effects = {}
    for each in result.removals:
        left = plain.without(each.sites)[position]
        effects[each.sites[0]] = float(left[target] - whole[target])
        assert each.effect == pytest.approx(effects[each.sites[0]], abs=1e-5)
        assert each.probability == pytest.approx(float(left[target].exp()), abs=1e-6)
        assert each.leads == tiny_model.token_label(int(left.argmax()))
    strongest = sorted(effects, key=lambda name: -abs(effects[name]))[:3]
    assert [each.sites[0] for each in result.top()] == strongest
    assert result.joint is not None
    assert set(result.joint.sites) == {name for name in strongest if effects[name] <= -0.01}
    joint = plain.without(result.joint.sites)[position]
    assert result.joint.effect == pytest.approx(float(joint[target] - whole[target]), abs=1e-5)


def test_named_sites_and_target(tiny_model, plain):
    result = ablation(tiny_model, tiny.PROMPT, target="a", sites=["L1H2", "MLP L0", "z.1.2"])
    assert [each.sites for each in result.removals] == [("z.1.2",), ("mlp_out.0",)]
    for each in result.removals:
        left, whole = plain.without(each.sites)[-1], plain.without([])[-1]
        assert each.effect == pytest.approx(float(left[0] - whole[0]), abs=1e-5)
    every = ablation(tiny_model, tiny.PROMPT, sites=["mlp_out.*", "z.1"])
    assert [each.sites for each in every.removals] == [("mlp_out.0",), ("mlp_out.1",), ("z.1",)]
    assert len(result.views()) == 1, "a head map of some heads would lie about the others"


def test_what_people_read(tiny_model):
    result = ablation(tiny_model, tiny.PROMPT, top_k=2)
    assert result.joint is not None
    assert result.joint.leads in result.summary()
    bars, grid = result.views()
    assert [bar.value for bar in bars.items][:2] == [each.effect for each in result.top()]
    assert len(grid.values) == 2
    assert len(grid.values[0]) == 3
    assert Ablation.from_json(result.to_json()) == result


def test_what_holds_the_prediction_down_is_said_where_nothing_helps(tiny_model):
    removals = ablation(tiny_model, tiny.PROMPT).removals
    harmful = [each for each in removals if each.effect > 0]
    most = max(harmful, key=lambda each: each.effect)
    assert most.effect > 0.01
    result = ablation(tiny_model, tiny.PROMPT, sites=[each.sites[0] for each in harmful])
    assert result.joint is None
    said = f"no part that was removed had helped it, and without {most.label} it rises to {percent(most.probability)}."
    assert result.summary().endswith(said)


def test_noise_is_neither_help_nor_harm():
    """Of all parts but two nothing hangs on any: less than a hundredth of the probability."""
    model = fluoroscope.load()
    result = ablation(model, "The thick bee jumped")
    helpers = {each.sites[0] for each in result.top() if each.effect <= -0.01}
    assert {each.sites[0] for each in result.top() if each.effect < 0} > helpers
    assert set(result.joint.sites) == helpers
    noise = [each.sites[0] for each in result.removals if abs(each.effect) < 0.005]
    quiet = ablation(model, "The thick bee jumped", sites=noise)
    assert quiet.joint is None
    assert quiet.summary().endswith(f"; removing any one of {len(noise)} parts changes next to nothing.")
    assert max(map(abs, quiet.views()[0].bounds())) == 0.1
    one = ablation(model, "The thick bee jumped", sites=noise[:1])
    assert one.summary().endswith(f"; removing {one.removals[0].label} changes next to nothing.")
    heads = [each for each in result.removals if each.sites[0].startswith("z.")]
    strongest = max(abs(each.effect) for each in heads)
    assert result.views()[1].heatmap().maximum == max(0.1, strongest)


TEXT = "The cat sat on the mat.\n\nA dog, at last, ran!\n\nWhy not? It is what it is."


def text_file(folder):
    path = folder / "other.txt"
    path.write_text(TEXT, encoding="utf8")
    return str(path)


@pytest.mark.parametrize("by", ["mean", "resample"])
def test_other_texts_stand_in(tiny_model, tmp_path, by):
    """Each part replaced in a plain trace by what other texts hold there."""
    result = ablation(tiny_model, "Is it?", text=text_file(tmp_path), by=by, samples=3, seed=1)
    paragraphs, length = TEXT.split("\n\n"), len("Is it?")
    ids, plain = tiny_model.tokens("Is it?").ids, tiny_model.trace("Is it?").logits[0, -1].log_softmax(-1)
    for each in result.removals:
        site = tiny_model.site(each.sites[0])
        held = [tiny_model.trace(text, sites=[site.whole])[str(site)][0] for text in paragraphs]
        values = [torch.cat(held).mean(0).expand(length, -1)] if by == "mean" else [value[:length] for value in held]
        runs = [tiny_model.trace(ids, edits={site: replace(value[None])}).logits[0, -1] for value in values]
        after = torch.stack([run.log_softmax(-1) for run in runs])[:, result.target_ids[0]]
        changes = after - plain[result.target_ids[0]]
        assert each.effect == pytest.approx(float(changes.mean()), abs=1e-5)
        assert each.probability == pytest.approx(float(after.exp().mean()), abs=1e-6)
        error = None if by == "mean" else pytest.approx(float(changes.std()) / 3**0.5, abs=1e-5)
        assert each.error == error
    assert (result.reference, result.reference_tokens) == ("other.txt", sum(map(len, paragraphs)))
    assert result.samples == (3 if by == "resample" else None)
    assert Ablation.from_json(result.to_json()) == result
    caption = result.views()[0].caption
    assert ("mean over 69 tokens of other.txt" in caption) == (by == "mean")
    assert ("3 of them one after the other" in caption) == (by == "resample")
    assert all(bar.remark.startswith("± ") == (by == "resample") for bar in result.views()[0].items)


def test_the_prompts_of_a_task_stand_in():
    prompt = "When Mary and John went to the store, John gave a drink to"
    model = fluoroscope.load()
    zeroed, mean = (ablation(model, prompt, foil=" John", **more) for more in ({}, {"task": "ioi"}))
    assert (mean.by, mean.reference) == ("mean", "ioi")
    assert mean.reference_tokens > 64 * 13
    assert zeroed.by == "zero"
    assert [each.sites for each in mean.removals] == [each.sites for each in zeroed.removals]
    assert [each.change for each in mean.removals] != [each.change for each in zeroed.removals]
    assert "averaged" in mean.summary()


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"by": "mean"}, ArgumentError, "neither text nor task"),
        ({"by": "zero", "task": "ioi"}, ArgumentError, "zero needs neither"),
        ({"task": "ioi", "text": "x.txt"}, ArgumentError, "one of them"),
        ({"text": "missing.txt"}, ArgumentError, "does not exist"),
        ({"task": "iou"}, ArgumentError, "ioi"),
        ({"task": "induction", "by": "resample", "samples": 0}, ArgumentError, "samples=0"),
        ({"task": "induction", "sites": ["pattern.0"]}, EditError, "no value of another text"),
        ({"top_k": 0}, ArgumentError, "lists nothing"),
        ({"sites": []}, ArgumentError, "no site was given"),
        ({"sites": ["z.9"]}, SiteError, "beyond the last layer"),
        ({"sites": "z.0"}, ArgumentError, "a list of texts"),
        ({"sites": ["nonsense"]}, SiteError, "nonsense"),
        ({"sites": ["head_out.0"]}, EditError, "read-only"),
        ({"target": "abc"}, TokenError, "3 tokens"),
        ({"target": "a|b", "foil": "b"}, ArgumentError, "share token 1"),
        ({"position": 99}, TokenError, "99"),
    ],
)
def test_refusals(tiny_model, arguments, error, says):
    with pytest.raises(error, match=says):
        ablation(tiny_model, tiny.PROMPT, **arguments)


@pytest.mark.parametrize("position", [-1, 4])
def test_sets_and_a_foil(tiny_model, plain, position):
    """The probability is of any of the target, the lead a difference of mean logits, and helpers are those of it."""
    result = ablation(tiny_model, tiny.PROMPT, target="a|Q", foil="b|c|d", position=position, top_k=6)
    target, foil = [0, tiny.CHARACTERS.index("Q")], [1, 2, 3]
    assert (list(result.target_ids), list(result.foil_ids), result.target, result.foil) == (
        target, foil, "a|Q", "b|c|d",
    )  # fmt: skip

    def measured(names):
        row = plain.without(names)[position].double()
        return row[target].exp().sum(), row[target].mean() - row[foil].mean(), int(row.argmax())

    probability, lead, _ = measured([])
    assert result.probability == pytest.approx(float(probability), abs=1e-6)
    assert result.lead == pytest.approx(float(lead), abs=1e-5)
    for each in (*result.removals, result.joint):
        left, after, leads = measured(each.sites)
        assert each.probability == pytest.approx(float(left), abs=1e-6)
        assert each.effect == pytest.approx(float((left / probability).log()), abs=1e-4)
        assert each.change == each.difference == pytest.approx(float(after - lead), abs=1e-4)
        assert each.leads_id == leads
    strongest = sorted(result.removals, key=lambda each: -abs(each.difference))[:6]
    assert result.top() == strongest
    least = max(0.01, abs(result.lead) / 100)
    assert set(result.joint.sites) == {each.sites[0] for each in strongest if each.difference <= -least}
    assert "The mean lead of ‘a|Q’ over ‘b|c|d’ after" in result.summary()
    bars, grid = result.views()
    assert (bars.unit, bars.items[0].value) == ("logits", strongest[0].difference)
    assert grid.values[1][2] == result.removals[PARTS.index("z.1.2")].difference
    assert Ablation.from_json(result.to_json()) == result


def test_a_target_that_still_leads_is_not_named_as_another(tiny_model):
    leads = ablation(tiny_model, tiny.PROMPT, target="a|b", sites=["z.0.0"]).removals[0].leads_id
    mine = ablation(tiny_model, tiny.PROMPT, target=f"#{leads}|a", sites=["z.0.0"]).views()[0].items[0]
    other = ablation(tiny_model, tiny.PROMPT, target="a|b", sites=["z.0.0"]).views()[0].items[0]
    assert "," not in mine.remark
    assert other.remark.endswith(f", {quoted(tiny_model.token_label(leads))}")
