import contextlib
import importlib
import io
import itertools
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

import tiny
from architectures import zoo
from fluoroscope import registry, specimen, store
from fluoroscope.architectures import model_types
from fluoroscope.cli import derived
from fluoroscope.cli.main import main, outcome
from fluoroscope.errors import FluoroscopeError, UnavailableError
from fluoroscope.progress import track
from fluoroscope.replay import Replay
from fluoroscope.sites import SITES
from fluoroscope.trace import Trace


class Values(dict[str, str]):
    """Values for the required parameters of all analyses, by name."""

    def __missing__(self, name: str) -> str:
        pytest.fail(f"an analysis requires {name!r}: give VALUES in tests/surfaces/test_cli.py a value for it")


FILES = Path(tempfile.mkdtemp())
VALUES = Values(
    prompt=tiny.PROMPT,
    other=tiny.PROMPT[::-1],
    clean=tiny.PROMPT,
    corrupted=tiny.PROMPT[::-1],
    receivers=["logits"],
    subject=tiny.PROMPT[:2],
    site="L1N5",
    weight="W_Q.1.2",
    task="induction",
    text=str(Path(tiny.__file__)),
    chat=json.dumps([{"role": "user", "content": tiny.PROMPT}]),
)
OWN_VALUES = {
    "patched_run": {"clean": VALUES["clean"], "corrupted": VALUES["corrupted"], "sites": ["L1H2"]},
    "arithmetic_graph": {"prompt": "2 times 3 is"},
    "circuit": {"clean": VALUES["clean"], "corrupted": VALUES["corrupted"]},
    "discover": {"clean": VALUES["clean"], "corrupted": VALUES["corrupted"]},
    "fit_tuned_lens": {"steps": 20},
    "steering": {"steps": 1, "max_new_tokens": 3},
    "steered_generation": {"max_new_tokens": 3},
    "direction_ablation": {"target": "Q", "controls": 1},
    "probes": {"shuffles": 1, "folds": 2},
}

FLUORO = [sys.executable, "-m", "fluoroscope"]


@pytest.fixture
def fluoro(capfdbinary, monkeypatch, tiny_folder):
    """Runs a command line on the tiny model; gives status, stdout and stderr."""
    monkeypatch.setenv("FLUOROSCOPE_MODEL", tiny_folder)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[int, str, str]:
        status = outcome(list(arguments))
        out, err = capfdbinary.readouterr()
        return status, out.decode(), err.decode()

    return run


def command_line(name: str) -> list[str]:
    words = [registry.get(name).command]
    for item in registry.get(name).parameters:
        if item.name in values(name):
            given = values(name)[item.name]
            words += [] if item.required else [f"--{item.name.replace('_', '-')}"]
            words += given if isinstance(given, list) else [str(given)]
    return words


def values(name: str) -> dict[str, str]:
    """The required parameters and those it cannot do without; what writes a file has a file of its own."""
    own = Values(VALUES | OWN_VALUES.get(name, {}), file=str(FILES / f"{name}.safetensors"))
    needed = OWN_VALUES.get(name, {})
    return {item.name: own[item.name] for item in registry.get(name).parameters if item.required or item.name in needed}


@pytest.mark.parametrize("name", sorted(registry.specs()))
def test_the_command_line_gives_the_same_json_as_python(name, fluoro, tiny_model):
    function = getattr(importlib.import_module(registry.get(name).module), name)
    expected = function(tiny_model, **values(name))
    status, out, err = fluoro(*command_line(name), "--json")
    assert (status, err) == (0, "")
    given = type(expected).from_json(out)
    assert given.call.analysis == name
    assert {key: given.call.arguments[key] for key in values(name)} == values(name)
    assert given.model_copy(update={"call": None}) == expected
    assert out == expected.model_copy(update={"call": given.call}).to_json()


@pytest.mark.parametrize("name", sorted(registry.specs()))
@pytest.mark.parametrize("columns", ["80", "120"])
def test_what_people_read_fits_and_holds_nothing_hostile(name, columns, fluoro, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    status, out, err = fluoro(*command_line(name))
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= int(columns)
    assert "\x1b" not in out
    assert "\t" not in out
    assert len(out.splitlines()) > 5
    assert not re.search(r"\b\w+=(True|False|None)\b", out)  # the representation of something


OPENED: list[str] = []


@cache
def watch() -> None:
    """From now on the names of opened files are kept; an audit hook cannot be taken away again."""
    sys.addaudithook(lambda event, details: OPENED.append(str(details[0])) if event == "open" else None)


@pytest.mark.parametrize("name", sorted(registry.specs()))
def test_no_text_opens_a_file_unless_its_parameter_is_marked(name, tiny_model, tmp_path, monkeypatch):
    watch()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "canary.json").write_text(VALUES["chat"], encoding="utf8")
    texts = [item for item in registry.get(name).parameters if "str" in item.type and not item.choices]
    for item in texts:
        OPENED.clear()
        given = ["canary.json"] if item.type.startswith("list") else "canary.json"
        with contextlib.suppress(FluoroscopeError):
            registry.run(name, tiny_model, **(values(name) | {item.name: given}))
        assert ("canary.json" in OPENED) == (item.file in ("input", "model")), item.name


def test_options_reach_the_function(fluoro, tiny_model):
    options = ["--top-k", "2", "--position", "-2", "--target", "Q", "--json"]
    _, out, _ = fluoro("logit-lens", "abc", *options)
    expected = registry.run("logit_lens", tiny_model, prompt="abc", top_k=2, position=-2, target="Q")
    assert out == expected.to_json()


def test_hostile_tokens_are_shown_as_text(fluoro):
    _, out, _ = fluoro("tokens", "a\x1b[31m\t[red]<b>\n")
    assert r"a \x1b [ 3 1 m ⇥ [ r e d ] < b > ⏎" in out
    assert "\x1b" not in out


def test_quiet_prints_the_sentence_only(fluoro, tiny_model):
    _, out, err = fluoro("next-token", "ab", "--quiet")
    assert out == registry.run("next_token", tiny_model, prompt="ab").summary() + "\n"
    assert err == ""


@pytest.mark.parametrize("suffix", [".json", ".md", ".html", ".png", ".svg"])
def test_the_suffix_of_out_decides_the_form(fluoro, tmp_path, suffix):
    path = tmp_path / f"result{suffix}"
    status, _, err = fluoro("next-token", "ab", "--quiet", "--out", str(path))
    assert (status, err) == (0, f"saved {path}\n")
    assert path.stat().st_size > 500


def test_html_and_json_together(fluoro, tmp_path):
    path = tmp_path / "page.html"
    status, out, err = fluoro("next-token", "ab", "--html", str(path), "--json")
    assert status == 0
    assert json.loads(out)["result"] == "NextToken"
    assert err == f"saved {path}\n"
    assert path.read_text(encoding="utf8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["nxt-token", "a"], "no command 'nxt-token'", "Did you mean 'next-token'?"),
        (["paths"], "no command 'paths'", "Did you mean path-patching"),
        (["patch"], "no command 'patch'", "activation-patching, attribution-patching, head-patching"),
        (["next-token"], "Missing argument 'PROMPT'", "See fluoro next-token --help."),
        (["next-token", "a", "--topk", "3"], "No such option '--topk'.\n", "Did you mean '--top-k'? See fluoro"),
        (["next-token", "a", "--positon=3"], "No such option '--positon'.\n", "Did you mean '--position'? See fluoro"),
        (["next-token", "a", "--hmtl", "x"], "No such option '--hmtl'.\n", "Did you mean '--html'? See fluoro"),
        (["next-token", "a", "--pos", "3"], "No such option '--pos'.\n", "Did you mean '--position'? See fluoro"),
        (
            ["next-token", "a", "--layer", "3"],
            "option '--layer'.\n",
            "Its options: --top-k, --position, --model,",
        ),
        (
            ["next-token", "a", "--tokens", "3"],
            "option '--tokens'.\n",
            "Its options: --top-k, --position, --model,",
        ),
        (["next-token", "a", "-x"], "No such option '-x'.\n", "Its options: --top-k, --position, --model,"),
        (
            ["next-token", "-3 + 5 ="],
            "option '-3'.\n",
            "begins with - goes behind --: fluoro next-token -- PROMPT. Its",
        ),
        (["next-token", "-the cat"], "option '-t'.\n", "Text that begins with - goes behind --"),
        (["compare-prompts", "a", "-3"], "option '-3'.\n", "behind --: fluoro compare-prompts -- PROMPT OTHER. Its"),
        (["tokens", "-1"], "No such option '-1'.\n", "behind --: fluoro tokens -- TEXT. Its options: --model"),
        (["report", "-1"], "No such option '-1'.\n", "       Its options: --out"),
        (["-1"], "No such option '-1'.\n", "       Its options: --version"),
        (["explain", "a", "--no-bar"], "No such option '--no-bar'.\n", "Did you mean '--no-bare'? See fluoro explain"),
        (["--verbos"], "No such option '--verbos'.\n", "Its options: --version, --help. See fluoro --help."),
        (["next-token", "a", "--top-k", "x"], "'x' is not a valid integer", "See fluoro next-token --help."),
        (["next-token", "a", "--top-k", "0"], "top_k=0 lists nothing", "Give at least 1."),
        (["next-token", "a", "--position", "7"], "no token 7", "only real token is 0"),
        (["next-token", "a", "--out", "x.pdf"], "cannot save a result as 'x.pdf'", "Known suffixes: .json"),
        (["next-token", "a", "--html", "x.png"], "does not end in .html", "use --out"),
        (["next-token", "a", "--html", "x.html", "--out", "x.html"], "both name", "two files"),
        (["next-token", "a", "--out", "missing/x.json"], "cannot write", "Make the folder"),
        (["next-token", "a", "-m", "./nowhere"], "there is no folder './nowhere'", "local folder"),
        (["next-token", "a", "--dtype", "int8"], "'int8' is not one of", "See fluoro next-token --help."),
        (["logit-lens", "a", "--target", "ab"], "'ab' is 2 tokens", ""),
        (
            ["trace", "a", "-s", "embed", "--out", "x.pkl"],
            "cannot save a trace as 'x.pkl'",
            ".safetensors, .npz, .pt, .json",
        ),
        (["generate", "a", "--top-p", "2"], "top_p=2", "at most 1"),
        (["next-token", "a\udcff"], r"'a\udcff' is no valid text", "UTF-8"),
    ],
)
def test_an_error_says_why_and_what_instead_and_exits_2(fluoro, arguments, message, hint):
    status, out, err = fluoro(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert hint in err
    assert "Traceback" not in err


def test_a_text_behind_two_dashes_may_begin_with_one(fluoro):
    status, out, err = fluoro("next-token", "--json", "--", "-3 + 5 =")
    assert (status, err) == (0, "")
    assert json.loads(out)["tokens"] == list("-3 + 5 =".replace("-", ".").replace("+", ".").replace("=", "."))


def test_without_a_model_it_is_the_specimen(fluoro, monkeypatch):
    monkeypatch.delenv("FLUOROSCOPE_MODEL")
    status, out, _ = fluoro("next-token", "The capital of France is", "--json")
    assert status == 0
    assert json.loads(out)["recipe"]["model"] == "specimen"


@pytest.mark.parametrize("name", specimen.NAMES)
def test_the_card_of_an_embedded_model(fluoro, name):
    assert fluoro("specimen", name)[:2] == (0, specimen.card(name))
    status, out, _ = fluoro("specimen", name, "--json")
    assert status == 0
    assert json.loads(out) == json.loads((specimen.folder(name) / "measured.json").read_text(encoding="utf8"))


def test_wrong_requests_are_refused_before_the_model_is_loaded(fluoro, monkeypatch):
    monkeypatch.setattr("fluoroscope.loading.load", lambda *args, **options: pytest.fail("loaded"))
    assert fluoro("next-token", "a", "--out", "x.pdf")[0] == 2
    status, _, err = fluoro("trace", "a", "-s", "embed", "--out", "x.pkl")
    assert status == 2
    assert "allow_pickle" not in err


def test_a_chat_may_come_from_a_file_that_the_command_line_reads(fluoro, tmp_path):
    path = tmp_path / "chat.JSON"
    path.write_text(VALUES["chat"], encoding="utf8")
    assert fluoro("conversation", str(path), "--json") == fluoro("conversation", VALUES["chat"], "--json")
    assert "Or the name of a .json file that holds it." in " ".join(fluoro("conversation", "--help")[1].split())
    template = tmp_path / "plain one.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}{% endfor %}", encoding="utf8")
    named, written = (
        fluoro("conversation", VALUES["chat"], "--chat-template", each, "--json")
        for each in (str(template), template.read_text(encoding="utf8"))
    )
    assert named == written
    assert named[0] == 0
    path.write_bytes(b"secret \xff words")
    for name, reason in ((str(path), "no UTF-8"), ("nowhere.json", "No such file"), ("a" * 5000 + ".json", "too long")):
        status, out, err = fluoro("conversation", name)
        assert (status, out) == (2, "")
        assert reason in err
        assert "secret" not in err


def test_a_slow_precision_is_remarked_once_unless_it_was_asked_for(fluoro, tmp_path, tiny_folder):
    from fluoroscope.loading import load

    half = load(tiny_folder, dtype="bfloat16")
    half.hf.save_pretrained(tmp_path)
    half.tokenizer.save_pretrained(tmp_path)
    line = ["next-token", "ab", "--model", str(tmp_path)]
    for more in ([], ["--json"]):
        assert fluoro(*line, *more)[2] == f"note: {half.remarks()[0]}\n"
    for more in (["--dtype", "float32"], ["--dtype", "bfloat16"], ["--quiet"]):
        assert fluoro(*line, *more)[2] == ""


def test_a_remark_on_the_family_is_told_whatever_the_precision(fluoro, tmp_path):
    zoo.build("falcon-alibi").save_pretrained(tmp_path)
    for more in ([], ["--dtype", "float64"]):
        status, _, err = fluoro("sites", "-m", str(tmp_path), *more)
        assert (status, err.count("note: "), err.count("ALiBi of this Falcon twice")) == (0, 1, 1)


def test_ctrl_c_and_cancel_exit_130(fluoro, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("fluoroscope.loading.load", interrupt)
    status, out, err = fluoro("next-token", "a")
    assert (status, out) == (130, "")
    assert "error: stopped" in err
    assert "Traceback" not in err


INTO = [tiny.PROMPT, tiny.PROMPT[::-1]]


def interrupting(monkeypatch, turns):
    """Ctrl-C in these portions of a sweep whose portions are single copies."""
    portion, count = Replay._portion, itertools.count(1)

    def interrupted(*args):
        if next(count) in turns:
            signal.raise_signal(signal.SIGINT)
        return portion(*args)

    monkeypatch.setattr("fluoroscope.portions.ROWS", 1)
    monkeypatch.setattr(Replay, "_portion", interrupted)


def test_ctrl_c_during_a_sweep_tells_what_it_has(fluoro, monkeypatch, tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    full = json.loads(fluoro("head-patching", *INTO, "--json")[1])
    interrupting(monkeypatch, [4])
    status, out, err = fluoro("head-patching", *INTO, "--json", "--out", str(tmp_path / "x.md"))
    partial = json.loads(out)
    assert (status, partial["missing"], full["missing"]) == (130, 3, 0)
    assert partial["effects"] == [pytest.approx(full["effects"][0], abs=1e-5), [None] * 3]
    assert partial["summary"].startswith("Partial, 3 effects not measured. Of the ")
    assert partial["call"]["analysis"] == "head_patching"
    assert "What was printed is partial: it is what was measured before. No file was written." in " ".join(err.split())
    assert not (tmp_path / "x.md").exists()
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_second_ctrl_c_ends_a_sweep_at_once(fluoro, monkeypatch):
    interrupting(monkeypatch, [1])
    monkeypatch.setattr("fluoroscope.cli.derived._show", lambda _: signal.raise_signal(signal.SIGINT))
    status, _, err = fluoro("head-patching", *INTO)
    assert (status, err.count("stopped")) == (130, 1)
    interrupting(monkeypatch, range(9))
    monkeypatch.setattr(Replay, "_portion", lambda *_: [signal.raise_signal(signal.SIGINT) for _ in range(2)])
    status, out, err = fluoro("head-patching", *INTO)
    assert (status, out) == (130, "")
    assert "partial" not in err


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("activation-patching", []),
        ("path-patching", ["logits"]),
        ("head-interaction", ["--heads", "L0H0", "--heads", "L1H1"]),
        ("attribution-patching", []),
    ],
)
def test_every_sweep_tells_what_it_has(name, more, fluoro, monkeypatch):
    interrupting(monkeypatch, [2])
    status, out, err = fluoro(name, *INTO, *more)
    assert status == 130
    assert "Partial, " in out
    assert "What was printed is partial: it is what was measured before. No file was written." in " ".join(err.split())


def test_sites(fluoro):
    _, out, _ = fluoro("sites", "--json")
    rows = {row["site"]: row for row in json.loads(out)}
    assert len(rows) == len(SITES)
    assert rows["pattern.L"] == {
        "site": "pattern.L", "axes": "batch head query key", "write": "yes", "here": "yes",
        "meaning": SITES["pattern"].meaning,
    }  # fmt: skip
    assert (rows["router.L"]["here"], rows["pos_embed"]["here"], rows["head_out.L"]["write"]) == ("no", "yes", "no")


def test_sites_need_no_model(fluoro, monkeypatch):
    monkeypatch.delenv("FLUOROSCOPE_MODEL")
    _, out, _ = fluoro("sites", "--json")
    assert set(json.loads(out)[0]) == {"site", "axes", "write", "meaning"}
    _, out, _ = fluoro("sites")
    assert all(kind.meaning.split()[0] in out for kind in SITES.values())


def test_families(fluoro):
    _, out, _ = fluoro("families", "--json")
    listed = {name for row in json.loads(out) for name in row["model types"].split(", ")}
    assert listed == set(model_types())


def test_tokens(fluoro):
    _, out, _ = fluoro("tokens", "a b", "--json")
    ids = [tiny.CHARACTERS.index(char) for char in "a b"]
    assert json.loads(out) == [
        {"index": n, "id": i, "piece": c} for n, (i, c) in enumerate(zip(ids, "a b", strict=True))
    ]


def test_summary(fluoro, tiny_model):
    _, out, _ = fluoro("summary", "--json")
    assert json.loads(out) == json.loads(json.dumps(tiny_model.summary()))
    _, out, _ = fluoro("summary")
    assert re.search(r"n layers +2\n", out)


def test_generate(fluoro, tiny_model):
    options = {"max_new_tokens": 7, "temperature": 0.8, "top_k": 9, "top_p": 0.9, "seed": 5}
    line = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    expected = tiny_model.generate("ab", **options)
    _, out, _ = fluoro("generate", "ab", *line, "--json")
    assert json.loads(out) == json.loads(json.dumps(expected.to_dict()))
    _, out, _ = fluoro("generate", "ab", *line)
    assert "\x1b" not in out
    assert out.startswith("ab")


def test_trace_records_values_and_prints_their_statistics(fluoro, tiny_model, tmp_path):
    path = tmp_path / "run.safetensors"
    _, out, err = fluoro("trace", "abc", "-s", "resid_post.*", "-s", "L1H0", "--out", str(path), "--json")
    expected = tiny_model.trace("abc", sites=["resid_post.*", "z.1"])
    rows = json.loads(out)
    assert [row["site"] for row in rows] == ["resid_post.0", "z.1", "resid_post.1"]
    assert rows == [{"site": str(site), **expected.statistics(site)} for site in expected.sites]
    assert str(path) in err
    recorded = Trace.load(path)
    assert all(recorded[site].equal(expected[site]) for site in expected.sites)
    _, out, _ = fluoro("trace", "abc", "-s", "resid_post.0")
    assert "resid_post.0" in out
    assert "1 3 24" in out


@pytest.mark.parametrize("line", [[], ["--help"], ["next-token", "--help"], ["explain", "-h"], ["--version"]])
def test_help_imports_nothing_slow(line):
    code = f"""
import sys
sys.argv = ["fluoro", *{line!r}]
from fluoroscope.cli import derived
from fluoroscope.cli.main import main
try:
    main()
finally:
    assert not {{"torch", "transformers", "matplotlib", "numpy"}} & set(sys.modules), "slow imports"
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == ""


def test_help_lists_every_command_with_workflows_first():
    done = subprocess.run(FLUORO, check=True, capture_output=True, text=True)
    commands = [spec.command for spec in registry.specs().values()]
    places = [
        done.stdout.index(f"\n  {command} ")
        for command in [*commands, "report", "families", "generate", "sites", "tokens"]
    ]
    workflows = sum(spec.kind == "workflow" for spec in registry.specs().values())
    assert workflows > 1
    assert done.stdout.index("\n  explain ") < done.stdout.index("\n  discover ")
    assert max(places[:workflows]) < min(places[workflows:])
    assert (
        done.stdout.index("Start here:")
        < done.stdout.index("Predictions and lenses:")
        < done.stdout.index("Causes:")
        < done.stdout.index("Results:")
        < done.stdout.index("Models:")
    )
    assert subprocess.run([*FLUORO, "--help"], check=True, capture_output=True, text=True).stdout == done.stdout


def test_a_closed_pipe_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*FLUORO, "families"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("line", [["families"], ["families", "--json"], ["--version"]], ids=" ".join)
def test_a_full_device_is_told_in_one_line(line):
    """What fits into no buffer fails while it is written, what does fit at the end; neither is told twice."""
    with open("/dev/full", "w") as full:
        done = subprocess.run([*FLUORO, *line], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "error: the output cannot be written: No space left on device\n"
    assert done.returncode == 2


def test_an_error_of_the_system_that_is_none_of_the_output_is_not_hidden(monkeypatch):
    def fails(*_args, **_options):
        raise FileNotFoundError(2, "No such file", "lost")

    monkeypatch.setattr("fluoroscope.cli.fixed.architectures.model_types", fails)
    with pytest.raises(FileNotFoundError):
        outcome(["families"])


def test_a_terminal_of_no_columns_is_one_whose_width_nobody_knows(fluoro, monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")
    status, out, err = fluoro("next-token", "abc")
    assert (status, err) == (0, "")
    assert 40 < max(map(len, out.splitlines())) <= shutil.get_terminal_size().columns
    code = "from fluoroscope.cli import derived; from fluoroscope.progress import track\n"
    code += "with derived.progress(quiet=False): list(track(range(3), 'counting sheep'))"
    assert "counting sheep" in on_a_terminal([code], COLUMNS="0")


def test_a_terminal_that_cannot_show_a_character_gets_its_code(tiny_folder, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="latin-1"))
    monkeypatch.setattr("sys.argv", ["fluoro", "tokens", "a\n", "-m", tiny_folder])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert rb"\u23ce" in written.getvalue()


def on_a_terminal(line: list[str], **environment: str) -> str:
    """What a person sees: stdout and stderr of the command on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    settings = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    settings |= {"TERM": "xterm-256color", "COLUMNS": "80", "PYTHONPATH": ":".join(sys.path), **environment}
    with subprocess.Popen([sys.executable, "-c", *line], stdout=theirs, stderr=theirs, env=settings) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:
                break
            if not part:
                break
            seen += part
    os.close(ours)
    assert process.returncode == 0, seen.decode()
    return seen.decode()


PAGE = (
    "from fluoroscope.cli.derived import console; from fluoroscope.render import terminal\n"
    "from render.samples import every_view\n"
    "terminal.page(console(), 'title', 'sentence', every_view())"
)
COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-9]|4[0-9])[0-9;]*m")


def test_colour_is_for_terminals_and_no_color_turns_it_off():
    assert COLOUR.search(on_a_terminal([PAGE]))
    assert not COLOUR.search(on_a_terminal([PAGE], NO_COLOR="1"))


def test_progress_is_shown_on_a_terminal_only(capfd):
    code = (
        "import time; from fluoroscope.cli import derived; from fluoroscope.progress import track\n"
        "with derived.progress(quiet=False):\n"
        "    for _ in track(range(3), 'counting sheep'): time.sleep(0.15)"
    )
    assert "counting sheep" in on_a_terminal([code])
    from fluoroscope.cli import derived

    with derived.progress(quiet=False):
        list(track(range(3), "counting sheep"))
    assert capfd.readouterr() == ("", "")


def test_the_package_runs_as_a_module():
    source = Path(importlib.util.find_spec("fluoroscope.__main__").origin).read_text(encoding="utf8")
    assert "main()" in source
    assert subprocess.run([*FLUORO, "--version"], check=True, capture_output=True, text=True).stdout.startswith(
        "fluoro"
    )


# ── report ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_report_of_saved_results_and_of_analyses_run_for_it(fluoro, tmp_path):
    saved, out = str(tmp_path / "lens.json"), tmp_path / "report.html"
    fluoro("logit-lens", "abc", "-q", "--out", saved)
    status, printed, err = fluoro(
        "report", saved, "next-token", "head_circuits", "--prompt", "ab", "--out", str(out), "--title", "<b>"
    )
    assert (status, printed) == (0, "")
    assert re.fullmatch(rf"saved {re.escape(str(out))} \(3 results, [\d.]+ kB\)\n", err)
    page = out.read_text(encoding="utf8")
    places = [page.index(f">{title}</h2>") for title in ("Logit lens", "Next token", "Head circuits")]
    assert places == sorted(places)
    assert "&lt;b&gt;" in page
    assert "“abc”" in page
    assert "“ab”" in page
    status, _, err = fluoro("report", saved, "--out", str(tmp_path / "report.md"))
    assert (status, err.partition("(")[2].partition(",")[0]) == (0, "1 result")
    assert (tmp_path / "report.md").read_text(encoding="utf8").startswith("# Report\n")


def test_what_a_model_refuses_is_told_and_the_rest_is_reported(fluoro, tmp_path):
    out = tmp_path / "report.html"
    arguments = ["report", "arithmetic-graph", "next-token", "--prompt", "2 times 3 is", "--out", str(out)]

    def refuse(*args, **options):
        raise UnavailableError("this model has no such part", "Use another.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fluoroscope.analyses.arithmetic_graph.arithmetic_graph", refuse)
        status, _, err = fluoro(*arguments)
        assert status == 0
        assert "[!] Not for this model: arithmetic-graph: this model has no such part. Use another." in err
        assert "no such part" in out.read_text(encoding="utf8")
        out.unlink()
        assert fluoro("report", "arithmetic-graph", "--prompt", "2 times 3 is", "--out", str(out))[0] == 2
        assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        ([], "nothing to report", "Name .json files"),
        (["nxt-token"], "neither a .json file nor an id nor an analysis", "Did you mean 'next_token'?"),
        (["compare-prompts", "--prompt", "a"], "needs 'other'", "--out FILE.json"),
        (["next-token"], "next-token needs a prompt", "--prompt"),
        (["missing.json"], "cannot read 'missing.json'", ""),
        (["next-token", "next_token", "-p", "a"], "'next-token' is named twice", "once"),
        (["head-circuits", "-p", "a"], "nothing that is reported reads --prompt", "Leave it out"),
        (["missing.json", "--dtype", "float32"], "--dtype has no use", "Leave it out"),
    ],
)
def test_a_report_that_cannot_be_is_refused_before_a_model_is_loaded(fluoro, monkeypatch, arguments, message, hint):
    monkeypatch.setattr("fluoroscope.loading.load", lambda *args, **options: pytest.fail("loaded"))
    status, out, err = fluoro("report", *arguments, "--out", "report.html")
    assert (status, out) == (2, "")
    assert message in err
    assert hint in err


def test_a_report_of_another_suffix_is_refused_and_has_a_name_by_default(fluoro, tmp_path, monkeypatch):
    assert "Known suffixes: .html, .md." in fluoro("report", "a.json", "--out", "report.pdf")[2]
    monkeypatch.chdir(tmp_path)
    assert fluoro("next-token", "Why do bees", "--out", "a.json")[0] == 0
    assert fluoro("report", "a.json")[0] == 0
    assert "Why do bees" in (tmp_path / "report.html").read_text(encoding="utf8").replace("·", " ")


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────


def test_kept_runs_are_listed_shown_compared_reported_and_deleted(fluoro, monkeypatch, tmp_path):
    path = str(tmp_path / "runs.sqlite")
    assert store.VARIABLE == derived.STORE
    monkeypatch.setenv(store.VARIABLE, path)
    assert fluoro("runs") == (0, f"No run is kept in {path}.\n", "")
    status, printed, err = fluoro("next-token", "abc")
    one = re.fullmatch("kept as ([0-9a-f]{12})\n", err)[1]
    assert status == 0
    assert fluoro("next-token", "abc")[2] == err  # the same numbers are the same run
    status, as_json, err = fluoro("next-token", "abc", "--position", "0", "--json")
    assert (status, err) == (0, "")
    assert fluoro("logit-lens", "abc", "--store", "off")[2] == ""
    other, first = json.loads(fluoro("runs", "list", "--json")[1])
    assert first["id"].startswith(one)

    assert fluoro("runs", "show", one[:8]) == (0, printed, "")
    assert fluoro("runs", "show", other["id"], "--json") == (0, as_json, "")
    shown = fluoro("runs")[1].splitlines()
    assert [line.split()[0] for line in shown if "next-token" in line] == [other["id"][:12], one]
    assert max(map(len, shown)) <= 80
    assert fluoro("runs", "list", "--analysis", "logit-lens")[1].startswith("No run of logit_lens is kept")

    told = json.loads(fluoro("runs", "compare", one, other["id"], "--json")[1])
    assert told["runs"] == [first["id"], other["id"]]
    assert told["arguments"] == [{"name": "position", "first": -1, "second": 0}]
    assert told["recipe"] == []
    text = fluoro("runs", "--store", path, "compare", one, other["id"])[1]
    assert "Asked otherwise (position); made alike." in " ".join(text.split())
    assert text.startswith(f"{one} (next-token) and {other['id'][:12]}")

    page = tmp_path / "page.md"
    assert fluoro("report", one, other["id"][:9], "--out", str(page), "--description", "why", "--json")[0] == 0
    assert page.read_text(encoding="utf8").count("```json\n") == 2
    assert "\nwhy\n" in page.read_text(encoding="utf8")

    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert fluoro("runs", "delete", one)[0] == 130
    assert len(json.loads(fluoro("runs", "list", "--json")[1])) == 2
    status, printed, err = fluoro("runs", "delete", one, other["id"], "--yes")
    assert (status, err.startswith("deleted 2 (")) == (0, True)
    assert [line[:12] for line in printed.splitlines()] == [one, other["id"][:12]]
    status, _, err = fluoro("runs", "show", one)
    assert (status, err) == (2, f"error: no kept run begins with '{one}'\n       Nothing is kept yet.\n")


def test_a_store_that_cannot_be_used_ends_nothing_unless_it_was_asked_for(fluoro, monkeypatch, tmp_path):
    monkeypatch.delenv(store.VARIABLE)
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    status, printed, err = fluoro("next-token", "abc", "-q")
    assert (status, printed != "") == (0, True)
    assert re.match(r"\[!\] not kept: the store .* cannot be used: Not a directory.*off keeps nothing", err)
    with monkeypatch.context() as patch:
        patch.setattr("fluoroscope.loading.load", lambda *args, **options: pytest.fail("loaded"))
        status, printed, err = fluoro("next-token", "abc", "--store", str(tmp_path / "none" / "runs"))
    assert (status, printed) == (2, "")
    assert "Make the folder" in err
    status, _, err = fluoro("runs", "--store", "off")
    assert (status, "the store is off" in err) == (2, True)
