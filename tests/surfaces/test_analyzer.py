"""Every block of the Mechanistic Interpretability Toolkit's README runs here, its imports led to `fluoroscope.compat`.

A random GPT-2 of twelve small blocks stands for the one it names. What it got wrong is refused or right: each block is
held against Hugging Face's own forward, generation and hooks.
"""

import contextlib
import importlib
import io
import re
import sys
import warnings

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

import tiny
from fluoroscope import ModelAnalyzer, specimen
from fluoroscope.analyses.convergence import convergence
from fluoroscope.analyses.logit_lens import logit_lens
from fluoroscope.compat.intervention import ActivationPatch
from fluoroscope.errors import ArgumentError, ArtifactError, SiteError, TokenError, UnavailableError
from fluoroscope.interventions import add
from fluoroscope.methods import reduction
from shared import SHARED, needs_shared

README = SHARED / "seeds" / "mechinterp-toolkit-readme.md"
MODULES = ("model_loader", "logit_lens", "visualization", "activation_extraction", "intervention")
LAYERS = 12

WRONG = {3: ArtifactError, 9: ArgumentError, 10: ArtifactError, 15: ArtifactError, 19: ArtifactError}
WRONG |= {23: ArtifactError}
"""Blocks that are refused as they stand: a pickle, labels for four of all embeddings."""

CHANGES = {
    3: [("output.pkl", "output.npz"), ("'pickle'", "'npz'")],
    9: [(".numpy()", ".numpy()[:4]")],
    10: [("output.pkl", "output.safetensors"), ("'pickle'", "'safetensors'")],
    12: [('"gpt2"', '"../models/gpt2_model"'), ('pretrained("../models/gpt2_model")', 'pretrained("../models/copy")')],
    15: [(".pkl", ".safetensors")],
    19: [(".pkl", ".safetensors")],
    23: [("pickle", "safetensors"), (".pkl", ".safetensors")],
    26: [("path/to/model", "../models/gpt2_model"), ("(...)", '("a", ["b"], ["c"])')],
}
"""What stands in their place, and file names."""


def blocks():
    if not README.exists():
        return []
    return re.findall(r"^```python\n(.*?)^```$", README.read_text("utf8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder to run in; the model lies beside it, under the name that the README has."""
    home = tmp_path_factory.mktemp("toolkit")
    (home / "work").mkdir()
    path = home / "models" / "gpt2_model"
    tiny.save(path)  # for its tokenizer
    torch.manual_seed(1)
    config = GPT2Config(vocab_size=len(tiny.CHARACTERS) + 3, n_embd=24, n_layer=LAYERS, n_head=3, n_positions=128)
    config.update({"bos_token_id": 0, "eos_token_id": 0})
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(path)
    return home / "work"


@pytest.fixture(scope="module")
def plain(folder):
    """Hugging Face alone."""
    return AutoModelForCausalLM.from_pretrained(folder / "../models/gpt2_model").eval()


@pytest.fixture(scope="module")
def analyzer(folder):
    return ModelAnalyzer(folder / "../models/gpt2_model", device="cpu")


class Plain:
    """What Hugging Face says, by its own forward, hooks and generation."""

    def __init__(self, model):
        self.model = model
        self.tokenizer = None

    def ids(self, text):
        return torch.tensor([[tiny.CHARACTERS.index(char) for char in text]])

    @torch.no_grad()
    def blocks(self, text):
        """Outputs of all blocks, and the logits."""
        found = []
        handles = [
            block.register_forward_hook(lambda module, args, output: found.append(_first(output)))
            for block in self.model.transformer.h
        ]
        logits = self.model(self.ids(text)).logits
        for handle in handles:
            handle.remove()
        return found, logits

    @torch.no_grad()
    def generate(self, prompt, new, layer=None, change=None):
        """Greedy; `change` is applied to the output of a block at every step."""
        handle = None
        if layer is not None:
            hook = lambda module, args, output: _again(output, change(_first(output)))  # noqa: E731
            handle = self.model.transformer.h[layer].register_forward_hook(hook)
        ids = self.ids(prompt)
        mask = torch.ones_like(ids)
        out = self.model.generate(ids, attention_mask=mask, max_new_tokens=new, do_sample=False, pad_token_id=0)
        if handle is not None:
            handle.remove()
        return "".join(tiny.CHARACTERS[token] for token in out[0] if token < len(tiny.CHARACTERS))

    def direction(self, positive, negative, layer):
        sides = [
            torch.stack([self.blocks(text)[0][layer][0, -1] for text in texts]).mean(0)
            for texts in (positive, negative)
        ]
        return sides[0] - sides[1]

    def steered(self, prompt, positive, negative, new, coefficient=2.0, layer=LAYERS // 2):
        vector = self.direction(positive, negative, layer)
        return self.generate(prompt, new, layer, lambda value: value + coefficient * vector)

    @torch.no_grad()
    def effects(self, clean, corrupted):
        """Last-token patching of the corrupted run's block outputs into the clean run, by hooks."""
        (_, before), (donors, after) = self.blocks(clean), self.blocks(corrupted)
        aim = after[0, -1].double().log_softmax(-1)

        def far(logits):
            return float((aim.exp() * (aim - logits.double().log_softmax(-1))).sum())

        found = {}
        for layer, block in enumerate(self.model.transformer.h):

            def patch(module, args, output, donor=donors[layer]):
                value = _first(output).clone()
                value[:, -1] = donor[:, -1]
                return _again(output, value)

            handle = block.register_forward_hook(patch)
            found[layer] = 1 - far(self.model(self.ids(clean)).logits[0, -1]) / far(before[0, -1])
            handle.remove()
        return found

    @torch.no_grad()
    def lens(self, text, layer):
        """Log-probabilities at the end."""
        return self.model.lm_head(self.model.transformer.ln_f(self.blocks(text)[0][layer]))[0, -1].log_softmax(-1)


def _first(output):
    return output[0] if isinstance(output, tuple) else output


def _again(output, value):
    return (value, *output[1:]) if isinstance(output, tuple) else value


# ── what each block has to have done ─────────────────────────────────────────────────────────────────


def same_record(record, hf, text):
    found, _ = hf.blocks(text)
    names = [f"transformer.h.{layer}" for layer in range(LAYERS)]
    assert list(record.layer_activations) == names
    assert "".join(record.tokens) == text
    for name, value in zip(names, found, strict=True):
        torch.testing.assert_close(
            record.layer_activations[name], value, rtol=1e-5, atol=1e-5 * float(value.abs().max())
        )


def same_lens(predictions, hf, text):
    assert list(predictions) == list(range(LAYERS))
    for layer, row in predictions.items():
        top = hf.lens(text, layer).exp().topk(10)
        assert [p for _, p in row] == pytest.approx(top.values.tolist(), rel=1e-4)
    assert hf.lens(text, LAYERS - 1).argmax() == hf.blocks(text)[1][0, -1].argmax()


def printed_lens(out, hf, text, layers):
    lines = [line for line in out.splitlines() if line.startswith("layer")]
    assert [int(line.split()[1]) for line in lines] == layers
    for line, layer in zip(lines, layers, strict=True):
        assert float(line.split()[3]) == pytest.approx(float(hf.lens(text, layer).exp().max()), abs=1e-4)


def panels(figure, views):
    """The pictures on the page hold the numbers of these heatmaps."""
    drawn = [np.asarray(axes.images[0].get_array(), dtype=float) for axes in figure.axes]
    assert len(drawn) == len(views)
    for array, view in zip(drawn, views, strict=True):
        np.testing.assert_allclose(array, np.array(view.values, dtype=float))


def block_0(n, hf, out):
    assert n["text"] == hf.generate("The capital of France is", 50)
    same_record(n["activations"], hf, "Hello world")
    printed_lens(out, hf, "The quick brown fox", list(range(LAYERS)))
    assert n["steered"] == hf.steered("Today I feel", ["I am happy"], ["I am sad"], 50)


def block_1(n, hf, out):
    assert n["analyzer"].model.transformer.h[3].mlp.c_fc.weight.equal(hf.model.transformer.h[3].mlp.c_fc.weight)


def block_2(n, hf, out):
    assert n["text"] == hf.generate("Hello", 50)
    record = n["activations"]
    fed = "".join(record.tokens)
    assert n["text"] == fed + n["text"][len(fed) :]
    assert len(n["text"]) - len(fed) <= 1  # the last token is fed to no pass
    same_record(record, hf, fed)


def block_3(n, hf, out):
    same_record(n["record"], hf, "The cat sat on the mat")
    for record in n["records"]:
        same_record(record, hf, record.prompt)
    assert [record.prompt for record in n["records"]] == ["Prompt 1", "Prompt 2"]
    (again,) = n["analyzer"].load_activations("output.npz")
    same_record(again, hf, "The cat sat on the mat")


def block_4(n, hf, out):
    same_lens(n["predictions"], hf, "The capital of France is")
    printed_lens(out, hf, "The quick brown fox", [0, 2, 4, 6, 8, 10, 11])


def block_5(n, hf, out):
    positive, negative = ["I am happy", "This is great"], ["I am sad", "This is terrible"]
    assert n["text"] == hf.steered("Today I feel", positive, negative, 50)
    assert n["effects"] == pytest.approx(hf.effects("The Eiffel Tower is in", "The Colosseum is in"), abs=1e-4)


def block_6(n, hf, out):
    assert n["num_layers"] == LAYERS
    assert n["layer_names"] == [f"transformer.h.{layer}" for layer in range(LAYERS)]
    assert f"{sum(p.numel() for p in hf.model.parameters()):,}" in out


def block_7(n, hf, out):
    assert n["num_layers"] == LAYERS
    assert n["attention_layers"] == [f"transformer.h.{layer}.attn" for layer in range(LAYERS)]
    assert n["model"] is n["inspector"].model
    assert n["tokenizer"]("Q")["input_ids"] == [tiny.CHARACTERS.index("Q")]


def block_8(n, hf, out):
    text = "The quick brown fox jumps"
    layers = [line for line in out.splitlines() if line.startswith("layer")]
    assert layers == [f"layer {layer}" for layer in (0, 2, 4, 6, 8, 10, 11)]
    assert out.count("after") == 7 * 10
    last = out.partition("layer 11\n")[2].splitlines()
    top = hf.blocks(text)[1][0].softmax(-1).amax(-1)
    for slot, line in enumerate(last[:10]):
        assert line.endswith("= final")
        assert float(line.split()[-3]) == pytest.approx(float(top[slot]), abs=1e-4)
    found = convergence(n["lens"].xray, text)
    panels(n["lens"].plot_convergence(text), found.convergence_views())
    panels(n["lens"].plot_input_preservation(text), found.input_views()[:2])


def block_9(n, hf, out):
    assert n["embeddings"].shape == (4, 24)


def block_10(n, hf, out):
    record = n["record"]
    same_record(record, hf, "The quick brown fox")
    torch.testing.assert_close(n["activation"], hf.blocks("The quick brown fox")[0][5], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(record.logits, hf.blocks("The quick brown fox")[1], rtol=1e-5, atol=1e-5)
    patterns = list(record.attention_weights.values())
    assert len(patterns) == LAYERS
    for value in patterns:
        torch.testing.assert_close(value.sum(-1), torch.ones(value.shape[:-1]))
    (loaded,) = n["loaded"]
    assert torch.equal(loaded.layer_activations["transformer.h.5"], n["activation"])
    a, b = (hf.blocks(text)[0][5][0, -1] for text in ("The cat", "The dog"))
    assert n["similarity"] == pytest.approx(float(torch.nn.functional.cosine_similarity(a, b, dim=0)), abs=1e-5)


def block_11(n, hf, out):
    vector = hf.direction(["I am happy", "This is great"], ["I am sad", "This is terrible"], 6)
    torch.testing.assert_close(n["steering_vec"], vector, rtol=1e-4, atol=1e-5)
    room = 50 - len("Today I feel")  # max_length counts the prompt
    assert n["steered_text"] == hf.generate("Today I feel", room, 6, lambda value: value + 2.0 * vector)
    expected = hf.model(**n["inputs"]).logits
    assert torch.equal(expected[:, :-1], n["outputs"].logits[:, :-1])
    assert not torch.allclose(expected[:, -1], n["outputs"].logits[:, -1])
    torch.testing.assert_close(_patched(hf, n["inputs"], 5, n["some_activation"]), n["outputs"].logits)


def _patched(hf, inputs, layer, vector):
    def patch(module, args, output):
        value = _first(output).clone()
        value[:, -1] = vector
        return _again(output, value)

    handle = hf.model.transformer.h[layer].register_forward_hook(patch)
    logits = hf.model(**inputs).logits
    handle.remove()
    return logits


def block_12(n, hf, out):
    again = ModelAnalyzer("../models/copy")
    assert again.xray.recipe().weights == n["analyzer"].xray.recipe().weights
    assert again.get_tokens("abc") == ["a", "b", "c"]


def block_13(n, hf, out):
    assert n["text"] == hf.generate("The capital of France is", 10)
    assert "Captured 12 layers" in out
    printed_lens(out, hf, "The quick brown fox", [0, 2, 4, 6, 8, 10, 11])
    assert n["steered"] == hf.steered("The movie was", ["The movie was amazing"], ["The movie was terrible"], 50)
    assert n["effects"] == pytest.approx(hf.effects("The Eiffel Tower is in", "The Colosseum is in"), abs=1e-4)


def block_14(n, hf, out):
    assert n["output"] == hf.generate("Once upon a time", 50)
    assert out.splitlines()[1].split() == ["model", "type", "gpt2"]


def block_15(n, hf, out):
    assert n["text"] == hf.generate("The cat", 20)
    assert "Recorded 12 layers" in out
    (again,) = n["analyzer"].load_activations("generation_acts.safetensors")
    same_record(again, hf, "".join(n["activations"].tokens))


def block_16(n, hf, out):
    same_lens(n["predictions"], hf, "The capital of France is")
    assert "Layer 11: (" in out
    printed_lens(out, hf, "The quick brown fox", [0, 2, 4, 6, 8, 10, 11])


def block_17(n, hf, out):
    positive, negative = ["Today is wonderful", "I am so happy"], ["Today is terrible", "I am so sad"]
    assert n["happy_text"] == hf.steered("Today is", positive, negative, 30)


def block_18(n, hf, out):
    expected = hf.effects("The Eiffel Tower is in Paris", "The Colosseum is in Rome")
    assert n["effects"] == pytest.approx(expected, abs=1e-4)
    assert n["effects"][LAYERS - 1] == pytest.approx(1, abs=1e-6)
    assert len([line for line in out.splitlines() if line.startswith("Layer ")]) == 5


def block_19(n, hf, out):
    again = n["analyzer"].load_activations("batch_activations.safetensors")
    assert [record.prompt for record in again] == n["prompts"]
    for record in again:
        same_record(record, hf, record.prompt)


def block_20(n, hf, out):
    assert "hidden size" in out


def block_21(n, hf, out):
    text = "Machine learning is"
    names = re.findall(r"token (\d+): leads first at (.+), for good from (.+) on", out)
    metrics = n["lens"].get_convergence_metrics(text)
    rows = [row.removeprefix("the ") for row in metrics["rows"]]
    assert [rows.index(first.removeprefix("the ")) for _, first, _ in names] == metrics["first_match"].tolist()
    assert [rows.index(stable.removeprefix("the ")) for *_, stable in names] == metrics["stable_from"].tolist()


def block_22(n, hf, out):
    expected = hf.model.transformer.wte.weight[[tiny.CHARACTERS.index(char) for char in "kqmw"]]
    np.testing.assert_allclose(n["embeddings"], expected.detach().numpy())


def block_23(n, hf, out):
    value = hf.blocks("The capital of France is")[0][5].double()
    assert (n["stats"]["mean"], n["stats"]["std"]) == pytest.approx(
        (float(value.mean()), float(value.std(correction=0)))
    )
    assert f"Mean: {float(value.mean()):.4f}" in out
    for name in ("acts.safetensors", "acts.pt"):
        (again,) = n["extractor"].load_activations(name)
        same_record(again, hf, "The capital of France is")
    assert [record.prompt for record in n["extractor"].load_activations("batch.safetensors")] == n["prompts"]


def block_24(n, hf, out):
    clean, corrupted = "The Eiffel Tower is in", "The Colosseum is in"
    result, effects = n["result"], hf.effects(clean, corrupted)
    torch.testing.assert_close(result["clean_logits"], hf.blocks(clean)[1], rtol=1e-5, atol=1e-5)
    donor = hf.blocks(corrupted)[0][6][:, -1]
    expected = _patched(hf, {"input_ids": hf.ids(clean)}, 6, donor)
    torch.testing.assert_close(result["patched_logits"], expected, rtol=1e-4, atol=1e-4)
    assert n["layer_effects"] == pytest.approx(effects, abs=1e-4)
    assert result["effect"] == pytest.approx(effects[6], abs=1e-4)


def block_25(n, hf, out):
    vector = hf.direction(["I am happy", "This is wonderful"], ["I am sad", "This is terrible"], 6)
    text = hf.generate("Today I feel", 50 - len("Today I feel"), 6, lambda value: value + 2.0 * vector)
    assert n["output"] == text


def block_26(n, hf, out):
    assert n["text"] == hf.generate("prompt", 50)
    same_record(n["acts"], hf, "prompt")
    assert n["steered"] == hf.steered("a", ["b"], ["c"], 50)


def block_27(n, hf, out):
    assert len(n["embeddings"]) == len(n["tokens"])


def block_28(n, hf, out):
    exact = np.linalg.svd(n["embeddings"] - n["embeddings"].mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(n["reduced_pca"]), np.abs(exact[0][:, :2] * exact[1][:2]), rtol=1e-6)
    assert n["reduced_tsne"].shape == (100, 2)
    assert n["reduced_umap"].shape == (100, 3)
    assert n["umap"] == {"count": 20, "seed": 42, "distance": 0.05}


def block_29(n, hf, out):
    with contextlib.redirect_stdout(io.StringIO()):
        figure = n["plot_layer_embeddings"](n["model"], n["tokenizer"], n["text"], layer_indices=[0, 3, 6, 9, 11])
    assert [axes.get_title(loc="left") for axes in figure.axes] == [f"resid_post.{n} by PCA" for n in (0, 3, 6, 9, 11)]


def block_30(n, hf, out):
    text = "Artificial intelligence is transforming"
    found, logits = hf.blocks(text)
    assert list(n["results"]["layers"]) == [0, 6, 11]
    torch.testing.assert_close(n["results"]["layers"][11]["logits"], logits[0], rtol=1e-4, atol=1e-4)
    middle = hf.model.lm_head(hf.model.transformer.ln_f(found[6]))[0]
    torch.testing.assert_close(n["results"]["layers"][6]["logits"], middle, rtol=1e-4, atol=1e-4)


CHECKS = [globals()[f"block_{number}"] for number in range(31)]


@needs_shared
def test_every_block_is_run():
    assert len(blocks()) == len(CHECKS)


@needs_shared
@pytest.mark.parametrize("number", range(len(CHECKS)))
def test_the_blocks_of_the_readme(number, folder, plain, analyzer, monkeypatch):
    monkeypatch.chdir(folder)
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, importlib.import_module(f"fluoroscope.compat.{name}"))
    monkeypatch.setitem(sys.modules, "model_analyzer", importlib.import_module("fluoroscope.analyzer"))
    hf, tokenizer = Plain(plain), AutoTokenizer.from_pretrained(folder / "../models/gpt2_model")
    names = {
        "ModelAnalyzer": ModelAnalyzer,
        "analyzer": analyzer,
        "model": plain,
        "tokenizer": tokenizer,
        "tokens": list("kqmw"),
    }
    names["embeddings"] = plain.transformer.wte.weight[:4].detach().numpy()
    names |= {"some_activation": torch.arange(24.0) / 8, "inputs": {"input_ids": hf.ids("The cat")}}
    asked = names["umap"] = {}

    def umap(vectors, dimensions, count, seed, distance=0.1):
        """Compiles for longer than all of this takes; it is tested where it is."""
        asked.update(count=count, seed=seed, distance=distance)
        return reduction.pca(vectors, dimensions)

    monkeypatch.setattr(reduction, "umap", umap)
    code = blocks()[number]
    for name, make in (("steer_generation", "intervention"), ("plot_convergence_analysis", "visualization")):
        names.setdefault(name, getattr(importlib.import_module(f"fluoroscope.compat.{make}"), name))
    if number in WRONG:
        with pytest.raises(WRONG[number]):
            run(code, dict(names))
    for old, new in CHANGES.get(number, []):
        assert old in code
        code = code.replace(old, new)
    out = run(code, names)
    with torch.no_grad():
        CHECKS[number](names, hf, out)


# ── the same README on the embedded model ────────────────────────────────────────────────────────────

LENS = ["after ‘…’", "layer # ‘…’ # ‘…’ # ‘…’ # ‘…’ # ‘…’ #"]
TABLE = ["specimen", "model type gpt#", "num layers #", "hidden size #", "num attention heads #"]
SETTLES = ["token #: leads first at …, for good from … on"]
PRINTED = {
    0: LENS,
    4: LENS,
    6: TABLE,
    8: ["layer #", "# after ‘…’: ‘…’ #", "layer #"],
    10: ["[‘…’, ‘…’, ‘…’, ‘…’]", "dict_keys([‘…’, ‘…’, ‘…’, ‘…’, ‘…’, ‘…’])"],
    13: ["Captured # layers", *LENS],
    15: ["Generated: …", "Recorded # layers"],
    16: ["Layer #: (‘…’, #)", *LENS],
    17: ["Today is…"],
    18: ["Layer #: #"],
    21: SETTLES,
    24: ["{#: #, #: #, #: #, #: #, #: #, #: #}"],
    25: ["Today I feel…"],
}
"""How what a block prints begins, without what differs from model to model."""

MASKS = [
    (r"‘[^’]*’|'[^']*'", "‘…’"),
    (r"^(Generated: |Today is|Today I feel).*", r"\1…"),
    (r"(at|from) (embedding|block \d+)", r"\1 …"),
    (r"-?\d+(\.\d+)?(e-\d+)?", "#"),
    (r" +", " "),
]


def layout(out):
    for pattern, stands in MASKS:
        out = re.sub(pattern, stands, out, flags=re.MULTILINE)
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    return [line for place, line in enumerate(lines) if place == 0 or line != lines[place - 1]]


@needs_shared
@pytest.mark.parametrize("number", PRINTED)
def test_what_the_readme_prints_about_the_embedded_model(number, tmp_path, monkeypatch, embedded):
    """As it stands there, but for the path of the model, which has six layers instead of twelve."""
    monkeypatch.chdir(tmp_path)
    for name in MODULES:
        monkeypatch.setitem(sys.modules, name, importlib.import_module(f"fluoroscope.compat.{name}"))
    monkeypatch.setitem(sys.modules, "model_analyzer", importlib.import_module("fluoroscope.analyzer"))
    code, path = blocks()[number], specimen.folder("specimen").as_posix()
    for old, new in [("../models/gpt2_model", path), (".pkl", ".safetensors"), ("'pickle'", "'safetensors'")]:
        code = code.replace(old, new)
    code = re.sub(r'"6"|h\.6', lambda found: found[0].replace("6", "3"), code)
    intervention = importlib.import_module("fluoroscope.compat.intervention")
    names = {"analyzer": embedded, "model": embedded.model, "tokenizer": embedded.tokenizer}
    names["steer_generation"] = intervention.steer_generation
    found = layout(run(code, names))
    assert found[: len(PRINTED[number])] == PRINTED[number]


@pytest.fixture(scope="module")
def embedded():
    return ModelAnalyzer()


def run(code, names):
    """What a block prints; notes on too few points are no failure."""
    with contextlib.redirect_stdout(io.StringIO()) as out, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        exec(code, names)
    return out.getvalue()


# ── the rest of the surface ──────────────────────────────────────────────────────────────────────────


def test_a_base_model_without_its_head_gets_the_one_that_its_embedding_is(folder, plain):
    base = AutoModel.from_pretrained(folder / "../models/gpt2_model")
    ids = torch.tensor([[5, 3, 9]])
    logits = ModelAnalyzer(base).xray.trace(ids).logits
    torch.testing.assert_close(logits, plain(ids).logits)


@pytest.fixture
def small(tiny_model):
    return ModelAnalyzer(tiny_model)


def test_text_and_tokens_keep_every_id(small):
    inputs = small.tokenize(tiny.PROMPT)
    assert torch.equal(small.model(**inputs).logits.argmax(-1), small.xray.trace(tiny.PROMPT).logits.argmax(-1))
    assert small.decode(inputs["input_ids"]) == small.decode(inputs["input_ids"][0].tolist()) == tiny.PROMPT
    assert small.get_tokens(tiny.PROMPT) == list(tiny.PROMPT)


def test_generation_is_greedy_unless_asked_to_sample(small):
    greedy = small.xray.generate("The", max_new_tokens=9, stop_tokens=[])
    assert small.generate("The", 9, stop_tokens=[]) == "The" + greedy.text
    assert small.generate("The", 9, include_prompt=False, stop_tokens=[]) == greedy.text
    drawn = small.xray.generate("The", max_new_tokens=30, temperature=2.0, top_k=50, seed=3, stop_tokens=[])
    assert small.generate("The", 30, temperature=2.0, seed=3, stop_tokens=[]) == "The" + drawn.text
    few = small.xray.generate("The", max_new_tokens=30, temperature=2.0, top_k=2, top_p=0.9, seed=3, stop_tokens=[])
    assert small.generate("The", 30, 2.0, 0.9, 2, seed=3, stop_tokens=[]) == "The" + few.text
    text, record = small.generate("The", 9, return_activations=True, stop_tokens=[])
    assert text == "The" + greedy.text
    whole = small.xray.trace([small.xray.tokens("The").rows[0] + greedy.ids[0]], sites=["resid_post.*"])
    for layer, value in enumerate(record.layer_activations.values()):
        torch.testing.assert_close(value, whole[f"resid_post.{layer}"][:, :-1], rtol=1e-4, atol=1e-5)


def test_an_analyzer_that_shall_not_generate_says_so(tiny_model):
    quiet = ModelAnalyzer(tiny_model, load_for_generation=False)
    assert quiet.logit_lens("abc").keys() == {0, 1}
    for generate in (lambda: quiet.generate("a"), lambda: quiet.generate_with_steering("a", ["b"], ["c"])):
        with pytest.raises(UnavailableError, match="load_for_generation=True"):
            generate()


def test_patches_act_at_the_steps_that_are_named(small):
    patch = ActivationPatch("transformer.h.0", None, torch.linspace(-2, 2, 24), "add")
    texts = {
        steps: small.generate_with_patching("The", [patch], 12, edit_tokens=steps, stop_tokens=[])
        for steps in ("all", "prompt", "generated")
    }
    for steps, text in texts.items():
        edits = {"resid_post.0": add(patch.value)}
        expected = small.xray.generate("The", max_new_tokens=12, edits=edits, edit_tokens=steps, stop_tokens=[])
        assert text == "The" + expected.text
    assert len(set(texts.values())) > 1


def test_the_lens_at_any_position_and_without_the_norm(small):
    found = small.logit_lens(tiny.PROMPT, [1], top_k=3, position=4)
    exact = logit_lens(small.xray, tiny.PROMPT, top_k=3, position=4).depths[-1].cells[0].top
    assert [token for token, _ in found[1]] == [guess.piece for guess in exact]
    assert [p for _, p in found[1]] == pytest.approx([guess.probability for guess in exact], abs=1e-6)
    with torch.no_grad():
        stream = small.xray.trace(tiny.PROMPT, sites=["resid_post.1"])["resid_post.1"][0, -1]
        raw = small.model.lm_head(stream).softmax(-1).topk(3).values
    bare = small.logit_lens(tiny.PROMPT, top_k=3, apply_ln=False)[1]
    assert [p for _, p in bare] == pytest.approx(raw.tolist(), rel=1e-5)


def test_a_record_is_read_where_it_holds_layers(small):
    record = small.extract_activations(tiny.PROMPT, layer_indices=[1])
    assert small.logit_lens_on_activation(record, top_k=10) == {1: small.logit_lens(tiny.PROMPT, [1])[1]}
    with pytest.raises(SiteError, match=r"does not hold 'transformer\.h\.0'"):
        small.logit_lens_on_activation(record, [0])
    with pytest.raises(TokenError, match="no token 99"):
        small.logit_lens_on_activation(record, token_position=99)
    with pytest.raises(SiteError, match="holds no layer"):
        small.logit_lens_on_activation(small.extract_activations("a", layer_names=["mlp_out.0"]))


def test_a_generated_token_is_read_where_it_was_predicted(small):
    prompt = "The"
    found = small.xray.generate(prompt, max_new_tokens=6, stop_tokens=[])
    tokens = [*prompt, *(small.xray.token_label(token) for token in found.ids[0])]
    told = small.analyze_generation_token(prompt, token_position=6, max_new_tokens=6, stop_tokens=[])
    assert told["generated_text"] == prompt + found.text
    assert (told["target_token"], told["predicted_at"]) == (tokens[6], 5)
    token, probability = told["analysis"][1][0]
    assert token == tokens[6]
    assert probability == pytest.approx(np.exp(found.log_probs[0][3]), rel=1e-4)
    wanted = next(token for token in tokens[3:] if token.strip())
    by_text = small.analyze_generation_token(prompt, wanted, max_new_tokens=6, stop_tokens=[])
    assert by_text["token_position"] == tokens.index(wanted, 3)  # only what was generated counts
    with pytest.raises(TokenError, match="was not generated"):
        small.analyze_generation_token(prompt, token_position=1, max_new_tokens=6)
    with pytest.raises(TokenError, match="no generated token"):
        small.analyze_generation_token(prompt, "never", max_new_tokens=6)
    with pytest.raises(ArgumentError, match="one thing"):
        small.analyze_generation_token(prompt)


def test_mistyped_options_get_the_nearest(small):
    with pytest.raises(ArgumentError, match="Did you mean 'stop_tokens'"):
        small.generate("a", stop_token=["b"])
    with pytest.raises(ArgumentError, match="Did you mean 'max_new_tokens'"):
        small.generate("a", max_tokens=3)
    with pytest.raises(ArgumentError, match="keeps all layers"):
        small.generate("a", return_activations=True, sites=["logits"])


def test_the_embedded_model_is_there_without_a_path():
    assert ModelAnalyzer().xray.name == "specimen"
