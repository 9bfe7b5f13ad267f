"""HexRay's transcripts: the lines look as in its README, and every number in them is that of the analyses.

Layouts are frozen, digits are not: they are those of `registry.run` on the same model.
"""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import fluoroscope
from architectures.zoo import build
from fluoroscope import registry
from fluoroscope.cli.hexray import hexray
from fluoroscope.cli.main import outcome
from fluoroscope.loading import load
from fluoroscope.render.text import percent, prose, visible
from fluoroscope.sites import Site
from shared import SHARED, needs_shared

ROOT = Path(__file__).resolve().parents[2]
BEES = "Why do bees buzz?"
APPLES = "If John has 3 apples..."
PHOENIX = "Tell me about Ρhοenιx... Then if Ｐｅｐｓｉ is... the Ρhοenιx must be..."
LOADING = "Loading model specimen...\nLoaded pretrained model specimen into Fluoroscope\n"

CONTRIBUTOR = re.compile(r"- (\S.*?) *: ([+-]\d+\.\d\d) \((\d+\.\d)%\)")
BAR = re.compile(r"(\S.{7,}?) (█*|░*) +(\d+\.\d)%")


@pytest.fixture(scope="module")
def model():
    return fluoroscope.load()


@pytest.fixture
def run(capfdbinary, monkeypatch, model):
    """Runs a command line on the embedded model, loaded once; gives status, stdout and stderr."""
    monkeypatch.delenv("FLUOROSCOPE_MODEL", raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("fluoroscope.loading.load", lambda source, **options: model)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = outcome(list(arguments), hexray)
        out, err = capfdbinary.readouterr()
        return status, out.decode(), err.decode()

    return run


@pytest.fixture
def undrawn(monkeypatch):
    """Figures take seconds; where they are not what a test is about, their files are empty pictures."""
    monkeypatch.setattr("fluoroscope.result.Result.plot", lambda self: None)
    monkeypatch.setattr("fluoroscope.render.figure.image", lambda figure, suffix: b"\x89PNG")


def name(part) -> str:
    """HexRay's name of a part, written by hand."""
    if part.site is None:
        return part.label
    site = Site.parse(part.site)
    if site.unit is not None:
        return f"L{site.layer}{'H' if site.name == 'z' else 'N'}{site.unit}"
    whole = {"embed": "Embed", "pos_embed": "PosEmbed"}
    return whole.get(site.name) or {"attn_out": "Attn L", "mlp_out": "MLP  L"}[site.name] + str(site.layer)


def contributor(part) -> tuple[str, str, str]:
    return name(part), f"{part.value:+.2f}", f"{100 * part.share:.1f}"


# ── the three commands of HexRay's README ────────────────────────────────────────────────────────────


def test_basic_usage(run, model):
    status, out, err = run("--prompt", BEES, "--top-k-attribution", "10")
    assert (status, err) == (0, LOADING)
    found = registry.run("logit_attribution", model, prompt=BEES, grain="layer", top_k=10)
    blank, token, after, title, *rows, others, total = out.splitlines()
    assert blank == ""
    assert token == f'Token: "{visible(found.target)}" (index -1)'
    assert after == f'After "?", token {len(found.tokens) - 1} of 0 to {len(found.tokens) - 1}.'
    assert title == "Top Contributors to Final Logit:"
    assert [CONTRIBUTOR.fullmatch(row).groups() for row in rows] == [contributor(part) for part in found.top()]
    assert len({row.index(":") for row in rows}) == 1
    listed = sum(part.value for part in found.top())
    count, value, share = CONTRIBUTOR.fullmatch(others).groups()
    assert (count, len(rows)) == (f"{len(found.parts) - 10} others", 10)
    assert float(value) == pytest.approx(found.total - listed, abs=0.006)
    assert float(share) == pytest.approx(100 * (1 - sum(part.share for part in found.top())), abs=0.06)
    said = rf"Sum of all {len(found.parts)} parts: (\S+); the model's logit: (\S+) \(difference (\S+)\)"
    numbers = [float(number) for number in re.fullmatch(said, total).groups()]
    logit = float(model.trace(BEES).logits[0, -1].max())
    assert numbers[:2] == pytest.approx([logit, logit], abs=0.006)
    assert numbers[2] < 1e-4


def steps_of(out: str) -> list[list[str]]:
    return [block.splitlines() for block in out.split("\n\n") if block.startswith("Step ")]


@pytest.mark.parametrize(
    ("prompt", "count", "k"), [(APPLES, 1, 10), (PHOENIX, 2, 32), ("He eats 1. then 2 remain!", 2, 0)]
)
def test_chain_of_thought(run, model, prompt, count, k):
    status, out, err = run("--prompt", prompt, "--cot-debug", *(["--top-k-attribution", str(k)] if k else []))
    assert (status, err) == (0, LOADING)
    assert out.startswith("\n🧠 Chain of Thought Attribution Trace (Console):\n\nStep 1: ")
    found = registry.run("reasoning_steps", model, prompt=prompt)
    blocks = steps_of(out)
    assert len(blocks) == len(found.steps) == count
    for place, (block, step) in enumerate(zip(blocks, found.steps, strict=True), 1):
        parts = [part for part in sorted(step.prediction.parts, key=lambda p: -p.share)[: k or 5] if part.value]
        assert block[0] == f"Step {place}: {step.text.strip()}"
        token, p = visible(step.prediction.token), percent(step.prediction.probability)
        assert block[1] == f'Token: "{token}", {p} (index {step.last - 1})'
        assert len(block) == 2 + len(parts)
        for line, part in zip(block[2:], parts, strict=True):
            label, bar, share = BAR.fullmatch(line).groups()
            assert (label.rstrip(), share) == (name(part), f"{100 * part.share:.1f}")
            assert len(bar) == int(25 * (part.share / parts[0].share) + 1e-9)
            assert set(bar) <= {"█" if part.value > 0 else "░"}
        assert len({len(line) for line in block[2:]}) == 1
        assert len(BAR.fullmatch(block[2])[2]) == 25
    assert " ".join(found.summary().split()) in " ".join(out.split())


def test_every_step_is_read_with_what_stands_before_it(run, model):
    """HexRay ran each step alone; the second must be that of the whole text, and not that of the sentence alone."""
    both = "Mary has 4 pens. Mary has 4 pens."
    _, out, _ = run("--prompt", both, "--cot-debug", "--top-k-attribution", "32")
    first, second = steps_of(out)
    assert first[0].partition(": ")[2] == second[0].partition(": ")[2]
    assert first[2:] != second[2:]


@pytest.mark.usefixtures("undrawn")
def test_logit_debugging(run, model, tmp_path):
    folder = tmp_path / "logit_3"
    status, out, err = run(
        "--prompt", PHOENIX, "--cot-debug", "--top-k-attribution", "32", "--logit-debug", "--report", str(folder)
    )  # fmt: skip
    assert status == 0
    assert out.startswith(
        "[•] Running Chain of Thought Debugger\n\n🧠 Chain of Thought Attribution Trace (Console):\n\n"
    )
    assert "\n\n[•] Running Logit Debugger\n\nTokens: 0:" in out
    assert f"\n[✓] Logit attribution plot saved to: {folder / 'logit_attribution.png'}\n" in err
    assert "debug" not in out.lower().replace("debugger", "")
    assert (folder / "logit_attribution.png").read_bytes().startswith(b"\x89PNG")
    found = registry.run("logit_attribution", model, prompt=PHOENIX, top_k=32)
    kept = json.loads((folder / "logit_attribution.json").read_text(encoding="utf8"))
    assert type(found).from_json(json.dumps(kept)) == found


README = SHARED / "seeds" / "hexray-readme.md"
SEEN = [
    (r'Token: "\n"', 'Token: "⏎"'),  # a token is shown, not printed
    (r'"[^"]*" \(index', '"…" (index'),
    (r"(Loading model) \S+", r"\1 …"),
    (r"(pretrained model) \S+ into \S+", r"\1 …"),
    (r"saved to: .*/", "saved to: …/"),
    (r"(MLP |Attn|Head|L\d+[HN]\d+|Embed|PosEmbed|b_\w+)( *L\d+)?(?= *[:█░])", "PART"),
    (r"[+-]?\d+(\.\d+)?", "#"),
    (r"[█░]+", "█"),
    (r" *:(?= #)", ":"),
    (r" +", " "),
]
"""What differs from model to model, and what stands for it."""

NOT_OURS = ("HookedTransformer", "it/s]", "B/s]", "[debug]")
"""TransformerLens' own second line, downloads, and a list of hook names that was left in by mistake."""


def shapes(text: str) -> list[str]:
    """The layout of a transcript: lines without what differs from model to model, equal neighbours as one."""
    for pattern, stands in SEEN:
        text = re.sub(pattern, stands, text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [line for place, line in enumerate(lines) if place == 0 or line != lines[place - 1]]


def transcripts() -> list[tuple[list[str], str]]:
    """The command lines of HexRay's README, each with what it shows there."""
    if not README.exists():
        return []
    blocks = re.findall(r"^```bash ?\n(.*?)^```", README.read_text("utf8"), re.MULTILINE | re.DOTALL)
    texts = "".join(blocks).split("python hexray.py ")[1:]
    return [(shlex.split(text.partition("\n")[0]), text.partition("\n")[2]) for text in texts]


@needs_shared
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("number", range(3))
def test_every_line_of_hexrays_readme_has_its_like_in_the_same_order(run, number, tmp_path, monkeypatch):
    assert len(transcripts()) == 3
    monkeypatch.chdir(tmp_path)
    arguments, shown = transcripts()[number]
    status, out, err = run(*arguments)
    assert status == 0
    loading = "".join(err.splitlines(keepends=True)[:2])
    found = iter(shapes(loading + out + err.removeprefix(loading)))
    lines = [line for line in shown.splitlines() if not any(mark in line for mark in NOT_OURS)]
    for line in shapes("\n".join(lines)):
        assert line in found, f"no {line!r} behind what stands before it in HexRay's README"


# ── the debuggers ────────────────────────────────────────────────────────────────────────────────────

IOI = "When Mary and John went to the store, John gave a drink to"


def section(out: str, title: str) -> list[str]:
    return out[out.index(title) :].split("\n\n", maxsplit=1)[0].splitlines()


def test_heads_neurons_and_paths_are_named_with_what_they_add(run, model):
    about = {"target": " Mary", "foil": " John"}
    _, out, _ = run(
        "--prompt", IOI, "--logit-debug", "--top-k-attribution", "6", "--target", " Mary", "--foil", " John"
    )
    heads, paths = (
        registry.run("logit_attribution", model, prompt=IOI, top_k=6, grain=grain, **about)
        for grain in ("head", "source")
    )
    neurons = registry.run("neurons", model, prompt=IOI, top_k=6, **about)
    assert 'Token: "·Mary" minus "·John" (index -1)' in out
    rows = section(out, "Top Contributors to Final Logit:")[1:7]
    assert [CONTRIBUTOR.fullmatch(row).groups() for row in rows] == [contributor(part) for part in heads.top()]
    largest = sorted((*neurons.raising, *neurons.lowering), key=lambda each: -abs(each.value))[:6]
    for row, neuron in zip(section(out, "Top Neurons")[1:7], largest, strict=True):
        assert CONTRIBUTOR.match(row).groups() == contributor(neuron)
        assert (
            visible((neuron.promotes if neuron.activations[-1] > 0 else neuron.demotes)[0].token)
            in row.split(" pushes ")[1].split()
        )
    read = sorted((part for part in paths.parts if part.source is not None), key=lambda part: -abs(part.value))[:6]
    for row, part in zip(section(out, "Top Paths")[1:7], read, strict=True):
        label, value, share = CONTRIBUTOR.fullmatch(row).groups()
        assert label == f'{name(part).split("@")[0]} ← "{visible(paths.tokens[part.source])}" ({part.source})'
        assert (value, share) == contributor(part)[1:]


def test_the_stream_is_traced_at_the_token_and_everywhere(run, model):
    _, out, _ = run("--prompt", IOI, "--logit-debug", "--token-index", "3")
    trace = model.trace(IOI, sites=["resid_pre.0", "resid_post.*", "attn_out.*", "mlp_out.*"])
    title, _, *rows = section(out, "Residual Stream at")
    assert title == f'Residual Stream at "{visible(trace.tokens.pieces[0][3])}" (index 3):'
    assert len(rows) == model.n_layers + 1
    for layer, row in enumerate(rows, -1):
        words = row.removeprefix("embedding").removeprefix(f"block {layer}").split()
        stream = trace["resid_pre.0" if layer < 0 else f"resid_post.{layer}"][0, 3]
        parts = (
            ["–", "–"]
            if layer < 0
            else [f"{float(trace[f'{s}.{layer}'][0, 3].double().norm()):.2f}" for s in ("attn_out", "mlp_out")]
        )
        assert words[:3] == [f"{float(stream.double().norm()):.2f}", *parts]
        says = model.token_label(int(model.unembed(stream[None])[0].argmax()))
        assert f'"{visible(says)}"' in row
    for title in ("How long the stream is", "What each depth would say", "What each part adds to the prediction after"):
        assert f"\n{title}" in out


def test_the_token_index_is_heeded_in_every_mode(run, model):
    _, out, _ = run("--prompt", IOI, "--top-k-attribution", "4", "--token-index", "3")
    found = registry.run("logit_attribution", model, prompt=IOI, grain="layer", position=3)
    assert f'Token: "{visible(found.target)}" (index 3)\nAfter "·John", token 3 of 0 to ' in out
    assert f"{found.logit:+.2f}" in out
    text = "Mary has 4 pens. Then she buys 2 more. Then she rests."
    cut = registry.run("reasoning_steps", model, prompt=text, position=-5)
    _, out, _ = run("--prompt", text, "--cot-debug", "--token-index", "-5")
    assert [block[0] for block in steps_of(out)] == [f"Step {n}: {s.text.strip()}" for n, s in enumerate(cut.steps, 1)]
    assert f"(index {cut.steps[-1].last - 1})" in out


def test_a_prompt_alone_shows_the_activity_of_every_layer_at_every_token(run, model):
    status, out, _ = run("--prompt", BEES)
    tokens = " ".join(f'{index}:"{visible(piece)}"' for index, piece in enumerate(model.tokens(BEES).pieces[0]))
    assert status == 0
    assert f"\nTokens: {tokens}\n" in out
    for title in ("How long the stream is", "How much its attention adds", "How much its MLP adds"):
        assert f"\n{title}" in out
    assert "each a residual stream of 1 token x 256\n" in run("--prompt", "The")[1]
    assert run("--prompt", BEES, "--activation-trace")[1] == out
    assert "Activation Trace" not in run("--prompt", BEES, "--cot-debug")[1]


# ── weights, arithmetic, report ──────────────────────────────────────────────────────────────────────


def test_the_arithmetic_graph_is_the_models_own(run, model):
    status, out, _ = run("--prompt", "23 + 45 =", "--arithmetic-graph")
    found = registry.run("arithmetic_graph", model, prompt="23 + 45 =")
    assert status == 0
    assert " ".join(prose(found.summary()).split()) in " ".join(out.split())
    assert all(mover.label in out for mover in found.movers)


def test_weights_need_no_prompt(run, model):
    status, out, _ = run("--weight-heatmap", "attn.L3.W_Q", "--weight-heatmap", "mlp.L1.W_in")
    assert status == 0
    for weight in ("W_Q.3", "W_in.1"):
        summary = registry.run("weight_heatmap", model, weight=weight).summary()
        assert " ".join(prose(summary).split()) in " ".join(out.split())


def test_the_report_holds_all_that_was_asked_for(run, model, tmp_path):
    prompt, folder = "<b>Tom</b> has 23 + 45 =", tmp_path / "a" / "b"
    asked = ["--arithmetic-graph", "--weight-heatmap", "attn.L3.W_Q.1", "--report", str(folder)]
    status, _, err = run("--prompt", prompt, *asked)
    assert status == 0
    files = {"arithmetic_graph": ".svg", "attn_L3_W_Q_1": ".png", "logit_attribution": ".png"}
    expected = {f"{stem}{suffix}" for stem, own in files.items() for suffix in (own, ".json")} | {"index.html"}
    assert {path.name for path in folder.iterdir()} == expected
    assert all(str(folder / file) in err for file in expected)
    assert (folder / "logit_attribution.png").read_bytes().startswith(b"\x89PNG\r\n")
    page = (folder / "index.html").read_text(encoding="utf8")
    assert "&lt;b&gt;Tom&lt;/b&gt;" in page
    assert "<b>Tom" not in page
    assert not re.search(r"<script|<img|https?://(?!www\.w3\.org/2000/svg)", page)
    assert "What each head adds" in page


def test_json_is_that_of_the_analyses_and_nothing_else(run, model):
    status, out, _ = run("--prompt", BEES, "--top-k-attribution", "3", "--weight-heatmap", "W_Q.1.0", "--json")
    assert status == 0
    top = registry.run("logit_attribution", model, prompt=BEES, grain="layer", top_k=3)
    weight = registry.run("weight_heatmap", model, weight="W_Q.1.0")
    assert json.loads(out) == {"top_contributors": json.loads(top.to_json()), "W_Q_1_0": json.loads(weight.to_json())}


# ── other models, errors, help ───────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("case", "refused"), [("llama", []), ("gemma2", []), ("gptj", []), ("mixtral", ["Neurons"])])
def test_families(run, monkeypatch, tiny_folder, tmp_path, case, refused):
    other = load(build(case), tokenizer=tiny_folder)
    monkeypatch.setattr("fluoroscope.loading.load", lambda source, **options: other)
    status, out, _ = run("--prompt", "Ab cd. Ef", "--logit-debug", "--report", str(tmp_path))
    assert status == 0
    assert re.findall(r"^\[!\] (\w+)", out, re.MULTILINE) == refused
    page = (tmp_path / "index.html").read_text(encoding="utf8")
    assert page.count("Not for this model: ") == len(refused)
    total, logit = re.search(r"parts: (\S+); the model's logit.*?: (\S+) \(", out).groups()
    assert float(total) == pytest.approx(float(logit), abs=0.011)
    assert ("before its softcap" in out) == (case == "gemma2")


@pytest.mark.usefixtures("undrawn")
def test_a_model_without_exact_parts_still_gets_the_rest_of_its_report(run, monkeypatch, tiny_folder, tmp_path):
    other = load(build("qwen3_next"), tokenizer=tiny_folder)
    monkeypatch.setattr("fluoroscope.loading.load", lambda source, **options: other)
    status, _, err = run("--prompt", "Ab cd. Ef", "--report", str(tmp_path))
    assert status == 0
    assert "[!] Logit attribution per head: " in err
    assert {path.name for path in tmp_path.iterdir()} == {"residual_stream.png", "residual_stream.json", "index.html"}
    status, out, err = run("--prompt", "Ab cd. Ef", "--logit-debug")
    assert (status, out) == (2, "")
    assert "error: " in err


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ([], "there is no text", "--prompt"),
        (["--top-k-attribution", "3"], "there is no text", "--prompt"),
        (["--weight-heatmap", "W_E", "--activation-trace"], "there is no text", "--prompt"),
        (["-p", "x", "--topk", "3"], "No such option '--topk'", "See hexray --help."),
        (["-p", "x", "--top-k-attribution", "y"], "'y' is not a valid integer", "See hexray --help."),
        (["-p", "x", "--top-k-attribution", "-1"], "-1 names nothing", "Give 1 or more"),
        (["-p", "x", "extra"], "unexpected extra argument", "See hexray --help."),
        (["-p", "x", "--token-index", "0"], "reads --token-index", "--cot-debug"),
        (["-p", "x", "--foil", "a"], "reads --foil", "--top-k-attribution"),
        (["-p", "2+2=", "--arithmetic-graph", "--logit-debug", "--token-index", "0"], "end of the prompt", "End the"),
        (["-p", "x", "--report", __file__], "is no folder", "Name a folder"),
    ],
)
def test_a_wrong_request_is_refused_before_the_model_is_loaded(run, monkeypatch, arguments, message, hint):
    monkeypatch.setattr("fluoroscope.loading.load", lambda *given, **options: pytest.fail("loaded"))
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert hint in err


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["-p", "hi", "--logit-debug", "--token-index", "70"], "no token 70", "only real token is 0"),
        (["-p", "hi", "--arithmetic-graph"], "no calculation", "23 + 45"),
        (["--weight-heatmap", "attn.L9.W_Q"], "no layer 9", "Layers are 0 to 5"),
        (["--weight-heatmap", "mlp.L1.W_Q"], "no weight of 'mlp'", "W_Q.1"),
        (["-p", "hi", "--top-k-attribution", "2", "--target", "zzz zz"], "'zzz zz' is", "one token"),
        (["-p", "hi", "--weight-heatmap", "attn.L10.W_Q"], "no layer 10", "Layers are 0 to 5"),
        (["-p", "hi", "--activation-trace", "--arithmetic-graph"], "no calculation", "23 + 45"),
        (["-p", "hi", "--activation-trace", "--cot-debug", "--target", "zzz zz"], "'zzz zz' is", "one token"),
    ],
)
def test_what_the_model_cannot_answer_is_told(run, arguments, message, hint):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "error: " in err
    assert message in err
    assert hint in err


def test_arguments_of_the_last_mode_are_tried_before_the_first_one_works(run, monkeypatch):
    asked, analyse = [], registry.run
    monkeypatch.setattr(
        registry, "run", lambda name, *model, **given: asked.append(name) or analyse(name, *model, **given)
    )
    status, *_ = run("-p", "2 + 3 =", "--logit-debug", "--weight-heatmap", "attn.L10.W_Q")
    assert (status, asked) == (2, ["weight_heatmap"])


def test_results_keep_the_order_in_which_they_are_printed(run):
    status, out, _ = run("-p", "hi", "--activation-trace", "--logit-debug", "--weight-heatmap", "attn.L3.W_Q", "--json")
    logit = ["logit_attribution", "neurons", "paths", "logit_lens", "token_attribution"]
    assert status == 0
    assert list(json.loads(out)) == ["residual_stream", *logit, "attn_L3_W_Q"]


@pytest.mark.parametrize("columns", [80, 120])
def test_what_people_read_fits_and_holds_nothing_hostile(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    for arguments in (["--cot-debug", "--logit-debug"], ["--top-k-attribution", "40"], []):
        status, out, _ = run("--prompt", "A \x1b[31mred.\nfox\t[b]? Then\u202e he", *arguments)
        assert status == 0
        assert max(map(len, out.splitlines())) <= columns
        assert not set("\x1b\t\u202e") & set(out)


@pytest.mark.parametrize("line", [["--help"], ["--version"]])
def test_help_imports_nothing_slow(line):
    code = f"""
import sys
sys.argv = ["hexray", *{line!r}]
from fluoroscope.cli.hexray import main
try:
    main()
finally:
    assert not {{"torch", "transformers", "matplotlib", "numpy"}} & set(sys.modules), "slow imports"
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert "hexray" in done.stdout


def test_it_runs_as_a_module_and_is_installed_as_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "fluoroscope.cli.hexray", "--help"], check=True, capture_output=True, text=True
    )
    flags = "prompt model top-k-attribution token-index cot-debug logit-debug arithmetic-graph weight-heatmap report"
    assert all(f"--{flag}" in done.stdout for flag in flags.split())
    assert done.stdout.startswith("Usage: hexray ")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]["scripts"]
    assert scripts["hexray"] == "fluoroscope.cli.hexray:main"


def test_sets_of_tokens_are_said_to_be_means(run, model):
    _, out, _ = run("-p", IOI, "--top-k-attribution", "3", "--target", " Mary| Anna", "--foil", " John")
    assert 'Mean of tokens: "·Mary|·Anna" minus "·John" (index -1)\n' in out
    logits = model.trace(IOI).logits[0, -1].double()
    mary, anna, john = (model.single_token(token) for token in (" Mary", " Anna", " John"))
    assert f"the model's logit: {float((logits[mary] + logits[anna]) / 2 - logits[john]):+.2f} " in out
