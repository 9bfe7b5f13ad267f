"""The shape of the source: imports run downwards, files and functions are small, each module has its tests."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "fluoroscope"
SOURCES = sorted(PACKAGE.rglob("*.py"))
NAMES = [path.relative_to(PACKAGE).as_posix() for path in SOURCES]
every_source = pytest.mark.parametrize("path", SOURCES, ids=NAMES)

LONGEST_FUNCTION, LONGEST_FILE = 60, 400

ELSEWHERE = {
    "__init__.py": "structure/test_public.py",
    "__main__.py": "surfaces/test_cli.py",
    "lens.py": "analyses/test_logit_lens.py",
    "lens_records.py": "analyses/test_logit_lens.py",
    "lens_reading.py": "analyses/test_logit_lens.py",
    "resumed.py": "test_replay.py",
    "rows.py": "test_replay.py",
    "whole.py": "test_replay.py",
    "methods/tracing.py": "analyses/test_causal_tracing.py",
    "portions.py": "test_replay.py",
    "patched.py": "analyses/test_head_patching.py",
    "task_records.py": "analyses/test_task_patching.py",
    "lens_fit.py": "analyses/test_fit_tuned_lens.py",
    "answers.py": "test_metrics.py",
    "interpretable/lensed.py": "interpretable/test_lenses.py",
    "interpretable/opened.py": "interpretable/test_model.py",
    "interpretable/pictures.py": "interpretable/visualization/test_attention.py",
    "interpretable/refusals.py": "interpretable/test_model.py",
    "interpretable/results.py": "interpretable/causal/test_attribution.py",
    "analyzer.py": "surfaces/test_analyzer.py",
    "attention.py": "architectures/test_parity.py",
    "autointerpret/loop.py": "autointerpret/test_runner.py",
    "autointerpret/turn.py": "autointerpret/test_storm.py",
    "cli/ratchet.py": "autointerpret/test_folder.py",
    "cli/derived.py": "surfaces/test_cli.py",
    "cli/fixed.py": "surfaces/test_cli.py",
    "cli/hexray.py": "surfaces/test_hexray.py",
    "cli/lab.py": "server/test_serve.py",
    "cli/hexray_modes.py": "surfaces/test_hexray.py",
    "cli/main.py": "surfaces/test_cli.py",
    "cli/report.py": "surfaces/test_cli.py",
    "cli/runs.py": "surfaces/test_cli.py",
    "cli/stopping.py": "surfaces/test_cli.py",
    "cli/transcript.py": "surfaces/test_hexray.py",
    "errors.py": "surfaces/test_cli.py",
    "forward.py": "architectures/test_parity.py",
    "generation.py": "architectures/test_parity.py",
    "hooks.py": "architectures/test_writable.py",
    "identity.py": "surfaces/test_cli.py",
    "interventions.py": "architectures/test_writable.py",
    "loading.py": "architectures/test_parity.py",
    "marks.py": "test_views.py",
    "model.py": "architectures/test_identities.py",
    "modules.py": "architectures/test_parity.py",
    "norms.py": "architectures/test_identities.py",
    "offer.py": "architectures/test_parity.py",
    "progress.py": "workflows/test_explain.py",
    "render/cells.py": "render/test_terminal.py",
    "render/chart.py": "render/test_html.py",
    "render/figure_charts.py": "render/test_figure.py",
    "render/figure_scatter.py": "render/test_figure.py",
    "render/figure_networks.py": "render/test_figure.py",
    "render/figure_tables.py": "render/test_figure.py",
    "render/figure_text.py": "render/test_figure.py",
    "render/markup.py": "render/test_html.py",
    "render/network.py": "render/test_html.py",
    "render/scatter.py": "render/test_html.py",
    "render/section.py": "render/test_document.py",
    "render/stylesheet.py": "render/test_document.py",
    "render/terminal_charts.py": "render/test_terminal.py",
    "render/terminal_text.py": "render/test_terminal.py",
    "render/twins.py": "render/test_html.py",
    "run.py": "architectures/test_writable.py",
    "sampling.py": "surfaces/test_cli.py",
    "scores.py": "test_metrics.py",
    "shares.py": "methods/test_decomposition.py",
    "sizes.py": "architectures/test_parity.py",
    "methods/reasoning.py": "analyses/test_reasoning_steps.py",
    "tasks/agreement.py": "tasks/test_generators.py",
    "tasks/arithmetic.py": "tasks/test_generators.py",
    "tasks/docstring.py": "tasks/test_generators.py",
    "tasks/duplicate_token.py": "tasks/test_generators.py",
    "tasks/facts.py": "tasks/test_generators.py",
    "tasks/formats.py": "tasks/test_files.py",
    "tasks/gender_pronoun.py": "tasks/test_generators.py",
    "tasks/greater_than.py": "tasks/test_generators.py",
    "tasks/induction.py": "tasks/test_generators.py",
    "tasks/ioi.py": "tasks/test_generators.py",
    "tasks/presets.py": "tasks/test_generators.py",
    "tasks/vocabulary.py": "tasks/test_generators.py",
    "tasks/words.py": "tasks/test_generators.py",
    "trace.py": "architectures/test_identities.py",
    "trace_files.py": "surfaces/test_cli.py",
    "verify.py": "architectures/test_identities.py",
}
"""Modules that have no test file of their own -> the file that tests them through whoever calls them."""

PICKLES = ("trace_files.py", "pickles.py")
"""Where pickles are written and read on request, and where they are recognised."""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf8"), filename=str(path))


# ── imports ──────────────────────────────────────────────────────────────────────────────────────────


def test_the_import_contracts_hold():
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("import-linter is not installed beside this Python")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


FOREIGN = re.compile(r"\bhook_(?!handle)[a-z]+|\bblocks\.\{?\w*\}?\.|\bln_final\b")


@every_source
def test_other_peoples_names_are_in_one_file(path):
    if path.name == "aliases.py":
        assert FOREIGN.search(path.read_text(encoding="utf8"))
        return
    strings = [node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Constant)]
    found = [text for text in strings if isinstance(text, str) and FOREIGN.search(text)]
    assert not found


# ── size ─────────────────────────────────────────────────────────────────────────────────────────────


@every_source
def test_no_file_and_no_function_is_long(path):
    assert len(path.read_text(encoding="utf8").splitlines()) <= LONGEST_FILE
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{node.name} has {length} lines"


@every_source
def test_every_module_says_what_it_is_in_a_sentence(path):
    doc = ast.get_docstring(tree(path))
    assert doc
    assert re.match(r"[A-Z`].*?[.?!](?= |\n|$)", doc.partition("\n\n")[0], re.DOTALL)


# ── tests ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("/__init__.py")])
def test_every_module_has_its_tests(name):
    folder, _, file = name.rpartition("/")
    own = Path(folder) / f"test_{file}"
    if folder == "architectures":
        return  # the zoo has a case of every family: see below
    tests = ROOT / "tests"
    if not (tests / own).exists():
        assert name in ELSEWHERE, f"write tests/{own.as_posix()}"
        assert (tests / ELSEWHERE[name]).exists()


def test_no_test_is_listed_for_a_module_that_is_gone():
    assert set(ELSEWHERE) <= set(NAMES)


def test_every_family_has_a_case_in_the_zoo():
    from architectures.zoo import CASES, model_type
    from fluoroscope.architectures import model_types

    assert {model_type(case) for case in CASES} == set(model_types())


# ── what must not be there ───────────────────────────────────────────────────────────────────────────


def calls(path: Path) -> Iterator[tuple[str, dict[str, ast.expr]]]:
    """(dotted name, keywords) of every call."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            yield ast.unparse(node.func), {word.arg: word.value for word in node.keywords if word.arg}


UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pandas"}


@every_source
def test_nothing_that_can_open_a_pickle_is_called_outside_of_its_place(path):
    for node in ast.walk(tree(path)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if path.name not in PICKLES:
            assert not {name.partition(".")[0] for name in names} & UNPICKLERS
    for name, keywords in calls(path):
        said = {word: ast.unparse(value) for word, value in keywords.items()}
        if name == "torch.load":
            assert said.get("weights_only") == "True", "torch.load unpickles unless weights_only=True"
        if name in ("np.load", "numpy.load"):
            assert said.get("allow_pickle") == "False", "say so: allow_pickle=False"
        assert name not in ("eval", "exec", "torch.jit.load", "torch.hub.load")


COLOURS = re.compile(r"\b(?:blue|orange|red|green|yellow|colou?r(?:s|ed)?|dark(?:er)?|shade[sd]?)\b", re.IGNORECASE)


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parent.name in ("analyses", "workflows")])
def test_no_caption_speaks_of_colours_which_paper_and_terminals_may_not_have(path):
    docstrings = {id(node.value) for node in ast.walk(tree(path)) if isinstance(node, ast.Expr)}
    told = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert not [node.value for node in told if id(node) not in docstrings and COLOURS.search(node.value)]


ABSOLUTE = re.compile(r"""["'\s(=]/(?:work|home|root|tmp|Users|usr|opt|mnt)/|[A-Z]:\\\\?Users""")
TEXTS = [
    path
    for folder in ("src", "tests", "docs", "benchmarks", "examples", ".ci")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".md", ".sh", ".toml", ".yml", ".json", ".txt")
] + [path for path in sorted(ROOT.iterdir()) if path.is_file() and path.suffix in (".md", ".toml", ".txt")]


def test_the_gates_bite(tmp_path):
    assert ABSOLUTE.search('open("' + '/home/somebody/model")')
    assert ABSOLUTE.search("in /" + "tmp/somewhere")
    assert not ABSOLUTE.search("docs/work/home/tmp/ and https://example.org/home/x")
    assert FOREIGN.search("blocks.5." + "hook_z")
    assert not FOREIGN.search("model.layers")
    (tmp_path / "module.py").write_text("import pickle\nx = torch.load(path)\n", encoding="utf8")
    assert [name for name, _ in calls(tmp_path / "module.py")] == ["torch.load"]
    with pytest.raises(AssertionError):
        test_nothing_that_can_open_a_pickle_is_called_outside_of_its_place(tmp_path / "module.py")


def test_no_path_of_somebodys_machine_is_written_down():
    mine = Path(__file__).resolve()
    found = [path.name for path in TEXTS if path.resolve() != mine and ABSOLUTE.search(path.read_text("utf8"))]
    assert not found
