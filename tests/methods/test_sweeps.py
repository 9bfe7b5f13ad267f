"""Patching every part in one sweep against patching it alone in a run of its own."""

import pytest
import torch

import fluoroscope
from architectures.common import model, plain, relative
from fluoroscope import metrics
from fluoroscope.errors import ArgumentError, Cancelled, TokenError
from fluoroscope.interventions import at, replace
from fluoroscope.methods import sweeps
from fluoroscope.methods.sweeps import Part, Sweep
from fluoroscope.progress import listening
from fluoroscope.sites import Site

CASES = ["gpt2", "llama", "gemma2", "qwen3", "olmo2", "cohere", "gpt_neox", "mixtral", "deepseek_v3", "falcon", "bloom"]
PAIRS = [
    ([5, 3, 9, 7, 5, 3, 22, 41], [5, 3, 9, 11, 5, 3, 22, 60]),
    ([8, 1, 2, 4, 90], [8, 1, 3, 4, 91]),
]
ANSWERS, FOILS = [7, [5, 9]], [11, 8]


def metric() -> metrics.Metric:
    return metrics.logit_diff(ANSWERS, FOILS)


def donors(found, parts, direction):
    """The prompt of each pair that is patched, and the other one's values by a plain trace."""
    whole = list({site.whole for part in parts for site in part.sites})
    ordered = [pair[::-1] if direction == "denoise" else pair for pair in PAIRS]
    return [(base, found.trace([donor], sites=whole)) for base, donor in ordered]


def alone(found, base, values, part):
    """Logits at the end, by a plain trace with edits; `values` are those of a plain trace of the other prompt."""
    places = None if part.positions is None else list(part.positions)
    edits = {}
    for site in part.sites:
        value = values[site.whole]
        value = value if places is None else value.index_select(site.kind.position_axis, torch.tensor(places))
        value = value if site.unit is None else value.select(site.kind.unit_axis, site.unit)
        edits[site] = at(replace(value), places)
    return found.trace([base], edits=edits).logits[0, -1]


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("case", CASES)
def test_every_part_equals_its_own_run(case, direction):
    """All are swept; in each direction every other one is run, so that all are in one of them."""
    found = model(case)
    names = ["z", "q", "k", "v", "attn_out", "mlp_out", "resid_pre", "pattern"]
    parts = [Part((site,), places) for name in names for site in sweeps.units(found, name) for places in (None, (3, 4))]
    parts.append(Part((Site("z", 0, 1), Site("z", 2, 0), Site("mlp_out", 1))))
    sweep = Sweep(found, PAIRS, names, direction)
    effects = sweep.effects(parts, metric())
    runs = donors(found, parts, direction)
    for number, (row, part) in enumerate(zip(effects.scores, parts, strict=True)):
        if (number + number // 2) % 2 != (direction == "noise"):  # whole and at some tokens take turns, too
            continue
        logits = torch.stack([alone(found, base, values, part) for base, values in runs])
        assert (row - metric()(logits).double()).abs().max() < 1e-5 * logits.abs().max(), part
    ends = [torch.stack([found.trace([side[k]]).logits[0, -1] for side in PAIRS]) for k in (0, 1)]
    assert relative(effects.clean, metric()(ends[0]).double()) < 1e-5
    assert relative(effects.corrupted, metric()(ends[1]).double()) < 1e-5


class Plain:
    """Hugging Face's own model with a hook of torch's on one module: none of our code."""

    def __init__(self, case):
        found, self.hf = model(case), plain(case)
        self.arch, self.heads = found.architecture, found.n_heads

    def run(self, ids, site=None, edit=None):
        """Logits behind the last token of a left-padded row, and what the module of a site was given."""
        seen = []
        padded = torch.tensor([[0] * 3 + ids])
        mask = torch.ones_like(padded).index_fill(1, torch.arange(3), 0)
        positions = (mask.cumsum(1) - 1).clamp_min(0)

        def hook(module, args, keywords):
            value = args[0] if args else keywords["hidden_states"]
            seen.append(value.clone())
            value = value if edit is None else edit(value.clone())
            return ((value, *args[1:]), keywords) if args else (args, keywords | {"hidden_states": value})

        handle = None
        if site is not None:
            block = f"{self.arch.layers}.{site.layer}"
            place = self.hf.get_submodule(f"{block}.{self.arch.o}" if site.name == "z" else block)
            handle = place.register_forward_pre_hook(hook, with_kwargs=True)
        with torch.no_grad():
            logits = self.hf(input_ids=padded, attention_mask=mask, position_ids=positions, use_cache=False).logits
        if handle is not None:
            handle.remove()
        return logits[0, -1], seen[0] if seen else None

    def patched(self, base, donor, site, place):
        """One forward of one edited prompt."""
        _, values = self.run(donor, site)

        def edit(value):
            tokens = slice(3, None) if place is None else slice(3 + place, 4 + place)
            width = value.shape[-1] // self.heads
            part = slice(None) if site.unit is None else slice(site.unit * width, (site.unit + 1) * width)
            value[:, tokens, part] = values[:, tokens, part]
            return value

        return self.run(base, site, edit)[0]


@pytest.mark.parametrize("pad", ["left", "right"])
@pytest.mark.parametrize("case", ["gpt2", "llama", "qwen3", "gemma2", "olmo2", "mixtral", "gpt_oss", "cohere"])
def test_a_sweep_of_a_padded_batch_equals_hugging_face_with_one_hook_in_one_forward(case, pad):
    """Grouped queries, norms of queries and keys, sandwiched norms, experts, sinks, a softcap, parallel blocks."""
    found, slow = model(case), Plain(case)
    sweep = Sweep(found, PAIRS, ["z", "resid_pre"])
    sweep.tokens = found.tokens([*sweep.tokens.rows], pad=pad)
    sites = [Site(name, layer, unit) for layer in (0, 2) for name, unit in (("z", 1), ("z", 3), ("resid_pre", None))]
    parts = [Part((site,), where) for site in sites for where in (None, (3,))]
    read: list[torch.Tensor] = [torch.empty(0)] * (2 * len(parts))
    for indices, logits in sweep.replay.logits([sweep.patched(part, pair) for part in parts for pair in (0, 1)]):
        for index, row in zip(indices, logits, strict=True):
            read[index] = row[0]
    for index, mine in enumerate(read):
        part, (clean, corrupted) = parts[index // 2], PAIRS[index % 2]
        theirs = slow.patched(corrupted, clean, part.sites[0], None if part.positions is None else part.positions[0])
        assert relative(mine, theirs) < 1e-5, part


@pytest.mark.parametrize("case", ["gpt2", "llama", "gemma2", "mixtral"])
def test_a_prompt_patched_into_itself_does_exactly_nothing(case):
    found = model(case)
    names = ["z", "q", "k", "v", "pattern", "attn_out", "mlp_out", "resid_pre", "resid_post"]
    sweep = Sweep(found, PAIRS, names)
    parts = [Part((site,), where) for name in names for site in sweeps.units(found, name) for where in (None, (4,))]
    same = [sweep.patched(part, pair, donor=pair, same=True) for part in parts for pair in (0, 1)]
    effects = sweep.measured(same, metric())
    assert torch.equal(effects.scores, effects.corrupted.expand_as(effects.scores))
    assert (effects.shares == 0).all()


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("case", ["gpt2", "gemma2", "qwen3_moe"])
def test_the_whole_stream_goes_all_the_way_and_what_is_the_same_none(case, direction):
    found = model(case)
    sweep = Sweep(found, PAIRS, ["resid_pre", "z"], direction)
    whole = [Part((site,)) for site in found.sites("resid_pre")]
    shares = sweep.effects(whole, metric()).shares
    assert torch.allclose(shares, torch.ones_like(shares), atol=1e-4)  # of a gap of 0.5 logits among 20
    before = [Part((site,), (place,)) for name in ("resid_pre", "z") for site in found.sites(name) for place in (0, 1)]
    assert (sweep.effects(before, metric()).shares == 0).all()  # no token that differs is seen there


def test_any_metric_reads_the_same_runs():
    found = model("llama")
    sweep = Sweep(found, PAIRS, ["z"])
    parts = [Part((site,)) for site in sweeps.units(found, "z")]
    clean = sweep.logits()[0]
    for name in metrics.NAMES:
        made = metrics.make(name, answer=ANSWERS, foil=FOILS, reference=clean)
        effects = sweep.effects(parts, made)
        logits = torch.stack([alone(found, *run, parts[5]) for run in donors(found, [parts[5]], "denoise")])
        assert torch.allclose(effects.scores[5], made(logits).double(), atol=1e-5), name


def test_without_names_the_runs_say_what_is_measured():
    found = model("llama")
    sweep = Sweep(found, PAIRS[:1], ["z"])
    clean, corrupted = (found.trace([side]).logits[0, -1] for side in PAIRS[0])
    made, answer, foil = sweeps.measure(found, sweep, "logit_diff", (), ())
    assert (answer, foil) == ((int(clean.argmax()),), (int(corrupted.argmax()),))
    assert float(made(clean[None])) == pytest.approx(float(clean[answer[0]] - clean[foil[0]]))
    assert sweeps.measure(found, sweep, "kl", (), ())[1:] == ((), ())
    assert sweeps.measure(found, sweep, "logit", (5,), ())[1:] == ((5,), ())


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        (([1, 2, 3], [1, 2]), "3 and 2 tokens, and part at token 2"),
        (([1, 2, 3], [1, 2, 3]), "both prompts are the same tokens"),
        (([[1, 2], [3, 4]], [1, 5]), "takes one prompt"),
    ],
)
def test_pairs_that_are_none(pair, why):
    with pytest.raises(ArgumentError, match=why):
        Sweep(model("gpt2"), [pair], ["z"])


def test_refusals():
    found = model("gpt2")
    sweep = Sweep(found, PAIRS[:1], ["z"])
    with pytest.raises(TokenError):
        sweep.position(8)
    nothing = metrics.Metric("nothing", lambda logits: logits[:, 0] * 0)
    with pytest.raises(ArgumentError, match="score the same, up to rounding: 0 and 0"):
        sweep.effects([Part((Site("z", 0, 0),))], nothing)
    effects = Sweep(found, PAIRS[:2], ["z"]).effects([Part((Site("z", 0, 0),))], nothing)
    with pytest.raises(ArgumentError, match="score the same on prompt 0"):
        _ = effects.shares


def test_prompts_that_are_answered_alike_have_no_foil_of_their_own():
    found = fluoroscope.load()
    sweep = Sweep(found, [("The capital of France is", "The capital of Spain is")], ["z"])
    sweeps.measure(found, sweep, "logit_diff", (), ())
    alike = Sweep(
        found, [("The owl lay on the hotel. The owl lay on the", "The bee lay on the hotel. The bee lay on the")], ["z"]
    )
    with pytest.raises(ArgumentError, match="answered by ' hotel' as well, so there is no foil"):
        sweeps.measure(found, alike, "logit_diff", (), ())


@pytest.mark.parametrize("case", ["gpt2", "gemma2", "bloom"])
def test_a_cancelled_sweep_carries_what_it_has_and_leaves_the_model_as_it_was(case, monkeypatch):
    found = model(case)
    parts = [Part((site,)) for site in sweeps.units(found, "z")]
    full = Sweep(found, PAIRS, ["z"]).effects(parts, metric())
    weights = {name: value.clone() for name, value in found.hf.state_dict().items()}
    before = found.trace(PAIRS[0][0]).logits
    monkeypatch.setattr("fluoroscope.portions.ROWS", 1)
    for end in (1, 7):
        sweep = Sweep(found, PAIRS, ["z"])
        with (
            listening(lambda label, done, _total, end=end: not (label == "sweep" and done == end)),
            pytest.raises(Cancelled) as stopped,
        ):
            sweep.effects(parts, metric())
        partial = stopped.value.partial
        measured = ~partial.scores.isnan()
        assert int(measured.sum()) == end
        assert (partial.scores - full.scores)[measured].abs().max() < 1e-5
        assert torch.equal(partial.clean, sweep.effects(parts[:1], metric()).clean)
    with listening(lambda label, _done, _total: label != "sweep"), pytest.raises(Cancelled) as stopped:
        Sweep(found, PAIRS, ["z"]).effects(parts, metric())
    assert stopped.value.partial is None
    assert all(torch.equal(value, weights[name]) for name, value in found.hf.state_dict().items())
    assert torch.equal(found.trace(PAIRS[0][0]).logits, before)
