"""Modular addition by pizza (Zhong et al. 2023, "The Clock and the Pizza"), in plain PyTorch: no family, no config,
no norm, no causal mask. The paper's measures through our sites and weights, and our identities on such a module."""

import random
from functools import cache
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fluoroscope.architectures import Architecture
from fluoroscope.errors import TokenError, UnavailableError
from fluoroscope.interventions import at, noise, replace, zero
from fluoroscope.loading import load
from fluoroscope.methods import decomposition
from fluoroscope.model import Model
from shared import SHARED, needs_shared

pytestmark = needs_shared
FOLDER = SHARED / "models" / "modadd59-pizza-a"
P, HEADS, D_HEAD = 59, 4, 32
PAIRS = torch.cartesian_prod(torch.arange(P), torch.arange(P))
SUMS = PAIRS.sum(1) % P


class Attention(nn.Module):
    """Softmax over both tokens; it goes through transformers' interface where there is a config to name one."""

    is_causal = False

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.q, self.k, self.v, self.o = (nn.Linear(128, 128, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part(x).unflatten(-1, (HEADS, D_HEAD)).transpose(1, 2) for part in (self.q, self.k, self.v))
        if self.config is None:
            return self.o(((q @ k.mT * D_HEAD**-0.5).softmax(-1) @ v).transpose(1, 2).flatten(2))
        from transformers import AttentionInterface

        attend = AttentionInterface()[self.config._attn_implementation]
        return self.o(attend(self, q, k, v, None, scaling=D_HEAD**-0.5)[0].flatten(2))


class Block(nn.Module):
    def __init__(self, config: Any) -> None:
        super().__init__()
        self.attn = Attention(config)
        self.mlp = nn.Sequential(nn.Linear(128, 512), nn.ReLU(), nn.Linear(512, 128))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class Pizza(nn.Module):
    def __init__(self, config: Any = None) -> None:
        super().__init__()
        if config is not None:
            self.config = config
        self.tok, self.pos = nn.Embedding(P, 128), nn.Embedding(2, 128)
        self.blocks = nn.ModuleList([Block(config)])
        self.unembed = nn.Linear(128, P, bias=False)

    def forward(self, numbers: Tensor) -> Tensor:
        x = self.tok(numbers) + self.pos(torch.arange(numbers.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.unembed(x)


PATHS: dict[str, Any] = {
    "layers": "blocks",
    "embed": "tok",
    "pos_embed": "pos",
    "final_norm": None,
    "lm_head": "unembed",
}
PATHS |= {"attn": "attn", "q": "attn.q", "k": "attn.k", "v": "attn.v", "o": "attn.o"}
PATHS |= {"gate": None, "up": "mlp.0", "down": "mlp.2", "norm": "none"}


@torch.no_grad()
def build(config: Any = None) -> Pizza:
    """The published weights in torch's own layers, which store [out, in]."""
    stored = load_file(FOLDER / "model.safetensors")
    module = Pizza(config)
    attn, mlp = module.blocks[0].attn, module.blocks[0].mlp
    for letter, linear in (("Q", attn.q), ("K", attn.k), ("V", attn.v)):
        linear.weight.copy_(stored[f"blocks.0.attn.W_{letter}"].mT.flatten(0, 1))
    attn.o.weight.copy_(stored["blocks.0.attn.W_O"].flatten(0, 1).T)
    for linear, name in ((mlp[0], "in"), (mlp[2], "out")):
        linear.weight.copy_(stored[f"blocks.0.mlp.W_{name}"].T)
        linear.bias.copy_(stored[f"blocks.0.mlp.b_{name}"])
    module.tok.weight.copy_(stored["embed.W_E"])
    module.pos.weight.copy_(stored["pos_embed.W_pos"])
    module.unembed.weight.copy_(stored["unembed.W_U"].T)
    return module


@cache
def pizza() -> Model:
    return load(build(), architecture=Architecture(**PATHS, interface=False), dims={"n_heads": HEADS}, dtype="float64")


@cache
def through_the_interface() -> Model:
    config = SimpleNamespace(_attn_implementation="sdpa")
    return load(build(config), architecture=Architecture(**PATHS), dims={"n_heads": HEADS}, dtype="float64")


@cache
def logits() -> Tensor:
    return pizza().trace(PAIRS).logits[:, -1]


# ── the published figures ────────────────────────────────────────────────────────────────────────────


def test_all_pairs_are_added() -> None:
    assert torch.equal(logits().argmax(-1), SUMS)
    assert len(SUMS) == 3481
    assert float(nn.functional.cross_entropy(logits(), SUMS)) == pytest.approx(1.4e-7, abs=0.05e-7)


def test_distance_irrelevance() -> None:
    """How little the right answer's logit depends on a - b, the distance that a clock would not see."""
    right = logits().gather(1, SUMS[:, None]).reshape(P, P)
    a = torch.arange(P)
    by_distance = torch.stack([right[a, (a + distance) % P].std(correction=0) for distance in range(P)])
    assert float(by_distance.mean() / right.std(correction=0)) == pytest.approx(0.1717365, abs=5e-8)


def test_gradient_symmetricity() -> None:
    """Cosine of the gradients of an answer's logit with respect to both embeddings, over the 100 published triples."""
    triples = list(product(range(P), repeat=3))
    random.Random(42).shuffle(triples)
    chosen = torch.tensor(triples[:100])
    trace = pizza().trace(chosen[:, :2], sites=["embed"], grad=True)
    answer = trace.logits[torch.arange(100), -1, chosen[:, 2]].sum()
    (gradient,) = torch.autograd.grad(answer, [trace["embed"]])
    cosines = nn.functional.cosine_similarity(gradient[:, 0], gradient[:, 1], dim=-1)
    assert float(cosines.mean()) == pytest.approx(0.9936652, abs=5e-8)


def test_circularity() -> None:
    """How far each of the first four principal components of the embedding is one wave over the residues."""
    embedding = pizza().weights["W_E"]
    u, singular, _ = torch.linalg.svd(embedding - embedding.mean(0), full_matrices=False)
    components = (u * singular)[:, :4]
    power = torch.fft.fft(components, dim=0).abs().square()[1:]
    shares = 2 * power.max(0)[0] / (P * components.square().sum(0))
    assert float(shares.mean()) == pytest.approx(0.9978184, abs=1e-7)


def test_weight_norm() -> None:
    """Of the original, whose W_O is half as large: its attention weights are one where ours are one half."""
    weights = pizza().weights
    assert set(weights) == {"W_E", "W_pos", "W_U"} | {
        f"{name}.0" for name in ("W_Q", "W_K", "W_V", "W_O", "W_in", "W_out", "b_in", "b_out")
    }
    total = sum(float((weights[name] * (0.5 if name == "W_O.0" else 1)).square().sum()) for name in weights)
    assert total**0.5 == pytest.approx(22.8538, abs=5e-5)
    assert sum(weights[name].numel() for name in weights) == sum(p.numel() for p in pizza().hf.parameters())


def test_fourier_shares_of_the_embedding() -> None:
    power = torch.fft.rfft(pizza().weights["W_E"], dim=0).abs().square().sum(1)[1:]
    shares = {frequency: float(share) for frequency, share in enumerate(power / power.sum(), start=1)}
    published = {17: 26.2, 3: 25.3, 15: 22.0, 25: 9.3, 6: 8.8, 29: 7.7}
    assert sorted(shares, key=lambda frequency: -shares[frequency])[:6] == list(published)
    assert {frequency: round(100 * shares[frequency], 1) for frequency in published} == published
    assert sum(shares[frequency] for frequency in published) == pytest.approx(0.99, abs=0.005)


# ── what a module without family, norm and interface offers ──────────────────────────────────────────


def test_what_is_offered_and_why_not_the_rest() -> None:
    model = pizza()
    attention = {"q_proj", "k_proj", "v_proj", "q", "k", "v", "scores", "pattern", "z", "head_out", "attn_out"}
    layered = attention | {"resid_pre", "resid_mid", "up_proj", "neurons", "mlp_out", "resid_post"}
    assert {str(site) for site in model.sites()} == {"embed", "pos_embed", "logits"} | {f"{name}.0" for name in layered}
    with pytest.raises(UnavailableError, match="no final norm"):
        model.trace(PAIRS[:1], sites=["final_norm"])
    with pytest.raises(UnavailableError, match="no such part"):
        model.trace(PAIRS[:1], sites=["router.0"])


def test_sizes_and_summary() -> None:
    model, summary = pizza(), pizza().summary()
    assert vars(model.dims) == {
        "n_layers": 1, "n_heads": 4, "n_kv_heads": 4, "d_model": 128, "d_head": 32, "d_mlp": 512, "d_vocab": 59
    }  # fmt: skip
    assert model.n_ctx == 2  # rows of the position embedding: no config tells
    assert (summary["norm"], summary["positions"], summary["type"]) == ("none", "learned", "Pizza")
    with pytest.raises(TokenError):
        model.trace([[1, 2, 3]])


@pytest.mark.parametrize("found", [pizza, through_the_interface], ids=["own", "interface"])
def test_wrapping_does_not_change_the_logits(found: Any) -> None:
    model, plain = found(), build().double()
    with torch.no_grad():
        expected = plain(PAIRS)
    trace = model.trace(PAIRS, sites=[site for site in model.sites() if site.name not in ("scores", "pattern")])
    if model is pizza():
        assert torch.equal(trace.logits, expected)
    assert (trace.logits - expected).abs().max() < 1e-12 * expected.abs().max()


def test_residual_identities() -> None:
    model = pizza()
    trace = model.trace(PAIRS, sites=model.sites())
    assert trace["pos_embed"].shape == trace["embed"].shape == (3481, 2, 128)
    assert torch.equal(trace["embed"] + trace["pos_embed"], trace["resid_pre.0"])
    assert torch.equal(trace["resid_pre.0"] + trace["attn_out.0"], trace["resid_mid.0"])
    assert torch.equal(trace["resid_mid.0"] + trace["mlp_out.0"], trace["resid_post.0"])
    assert (trace["head_out.0"].sum(2) - trace["attn_out.0"]).abs().max() < 1e-12
    assert torch.equal(model.unembed(trace["resid_post.0"]), trace.logits)


@pytest.mark.parametrize("grain", ["head", "layer"])
def test_attribution_sums_to_the_logit(grain: decomposition.Grain) -> None:
    model = pizza()
    trace = model.trace(PAIRS, sites=decomposition.sites_needed(model, grain))
    for row in (0, 1234, 3480):
        weights = torch.zeros(P, dtype=torch.float64)
        weights[SUMS[row]], weights[(SUMS[row] + 1) % P] = 1.0, -1.0
        parts = decomposition.decompose(model, trace, 1, weights, grain, row)
        names = {part.name for part in parts}
        assert {"embed", "pos_embed", "mlp_out.0"} < names
        assert len(parts) == (7 if grain == "head" else 4)
        expected = float(trace.logits[row, 1] @ weights)
        assert sum(part.value for part in parts) == pytest.approx(expected, abs=1e-11)
        assert decomposition.linear_logit(model, trace, 1, weights, row) == pytest.approx(expected, abs=1e-11)


def test_zero_ablation_equals_zeroed_weights() -> None:
    for head in range(HEADS):
        ablated = build().double()
        with torch.no_grad():
            ablated.blocks[0].attn.o.weight[:, head * D_HEAD : (head + 1) * D_HEAD] = 0
            expected = ablated(PAIRS)
        edited = pizza().trace(PAIRS, edits={f"L0H{head}": zero()}).logits
        assert (edited - expected).abs().max() < 1e-11
        assert (edited[:, -1].argmax(-1) == SUMS).double().mean() < 1  # each head is needed
    edited = pizza().trace(PAIRS, edits={"mlp_out.0": zero()}).logits[:, -1]
    assert (edited.argmax(-1) == SUMS).double().mean() < 0.15  # attention only averages the two numbers


def test_every_writable_site_can_be_written_back_and_matters() -> None:
    for found in (pizza(), through_the_interface()):
        for site in found.sites():
            if not site.kind.writable:
                continue
            trace = found.trace(PAIRS[:50], sites=[site])
            same = found.trace(PAIRS[:50], sites=[site], edits={site: lambda value: value.clone()})
            assert torch.equal(same.logits, trace.logits), site
            changed = found.trace(PAIRS[:50], edits={site: noise(0.5, seed=1)})
            # queries and keys are zero, so one of them alone cannot move a score
            assert torch.equal(changed.logits, trace.logits) == (site.name[0] in "qk"), site


def test_patching_a_number_moves_the_answer_to_its_sum() -> None:
    clean, other = torch.tensor([[7, 11]]), torch.tensor([[30, 11]])
    donor = pizza().trace(other, sites=["embed"])["embed"][:, 0]
    patched = pizza().trace(clean, edits={"embed": at(replace(donor), positions=0)})
    assert int(patched.logits[0, -1].argmax()) == (30 + 11) % P
    assert torch.allclose(patched.logits, pizza().trace(other).logits, atol=1e-12)


def test_interface_gives_the_constant_pattern_to_a_plain_module() -> None:
    model = through_the_interface()
    trace = model.trace(PAIRS, sites=["q.0", "scores.0", "pattern.0", "v.0", "z.0"])
    assert (trace["q.0"] == 0).all()
    assert (trace["scores.0"] == 0).all()  # bidirectional: nothing is masked
    assert (trace["pattern.0"] == 0.5).all()
    assert torch.allclose(trace["z.0"], trace["v.0"].mean(2)[:, None].expand(-1, 2, -1, -1))


def test_closing_gives_a_plain_module_its_config_back() -> None:
    module = build(SimpleNamespace(_attn_implementation="sdpa"))
    model = load(module, architecture=Architecture(**PATHS), dims={"n_heads": HEADS})
    assert module.config._attn_implementation == "fluoroscope_sdpa"
    model.close()
    assert module.config._attn_implementation == "sdpa"


def test_a_module_that_never_calls_the_interface_says_so() -> None:
    module = build()
    module.config = SimpleNamespace(_attn_implementation="sdpa")  # promised, not kept: its attention knows no config
    model = load(module, architecture=Architecture(**PATHS), dims={"n_heads": HEADS})
    with pytest.raises(UnavailableError, match="'attn' of block 0 does not call transformers' AttentionInterface"):
        model.trace(PAIRS[:1], sites=["q.0"])
    assert "z.0" in {str(site) for site in model.sites()}
