"""What is printed to be run again is read back by a shell, by click and by Python, and asks for the same."""

import ast
import shlex
import shutil
import subprocess

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope import invocation, registry
from fluoroscope.cli import derived
from fluoroscope.signature import Parameter, Spec

PARAMETERS = (
    Parameter("prompt", "str", required=True),
    Parameter("words", "list[str]", [], help="some"),
    Parameter("scale", "float", 1.0),
    Parameter("fast", "bool", False),
    Parameter("top_k", "int", 3),
    Parameter("site", "str", required=True),
    Parameter("copy", "int", None, optional=True),
)
SPEC = Spec("sample", "Doc.", PARAMETERS, "Sample", "analysis", "pkg.sample")

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00")).filter(str.isprintable)
ARGUMENTS = st.fixed_dictionaries(
    {
        "prompt": TEXT,
        "words": st.lists(TEXT),
        "scale": st.floats(allow_nan=False, allow_infinity=False),
        "fast": st.booleans(),
        "top_k": st.integers(-9, 9),
        "site": TEXT,
        "copy": st.none() | st.integers(-9, 9),
    }
)


def read_by_click(line):
    """The arguments that the derived command would run with, without defaults."""
    name, sample, *words = shlex.split(line)
    assert (name, sample) == ("fluoro", "sample")
    own = [derived._parameter(item) for item in PARAMETERS]
    found = click.Command("sample", params=[*own, click.Option(["--model"]), click.Option(["--dtype"])])
    context = found.make_context("sample", words)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in context.params.items()}


@given(ARGUMENTS)
def test_a_command_line_is_read_as_it_was_meant(arguments):
    defaults = {item.name: item.default for item in PARAMETERS}
    found = read_by_click(invocation.command(SPEC, arguments, model="a b", dtype="float32"))
    assert (found.pop("model"), found.pop("dtype")) == ("a b", "float32")
    given = {key: value for key, value in found.items() if value not in (None, [])}
    assert defaults | given == arguments


@given(ARGUMENTS)
def test_a_script_calls_with_the_same_arguments(arguments):
    tree = ast.parse(invocation.script(SPEC, arguments, model="a 'b' \"c\"", dtype="float16"))
    *_, load, run = tree.body
    assert ast.literal_eval(load.value.args[0]) == "a 'b' \"c\""
    assert {word.arg: ast.literal_eval(word.value) for word in load.value.keywords} == {"dtype": "float16"}
    defaults = {item.name: item.default for item in PARAMETERS}
    given = {word.arg: ast.literal_eval(word.value) for word in run.value.keywords}
    assert defaults | given == arguments
    assert run.value.args[0].id == "model"


HOSTILE = "a\x1b[31m\t'quoted' \\ \n$HOME `b` \u202e日本\u3000\x7f\xff"


def test_what_cannot_be_seen_is_written_so_that_a_shell_and_python_read_it():
    arguments = {"prompt": HOSTILE, "site": "b", "words": [HOSTILE]}
    line = invocation.command(SPEC, arguments)
    assert line.isprintable()
    echo = line.replace("fluoro sample", 'printf "%s\\0"', 1)
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    done = subprocess.run([bash, "-c", echo], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"})
    assert done.stdout.decode().split("\0")[:-1] == [HOSTILE, "b", "--words", HOSTILE]
    call = invocation.call(SPEC, arguments)
    assert call.replace("\n", "").isprintable()
    assert ast.literal_eval(ast.parse(call).body[0].value.keywords[0].value) == HOSTILE


def test_what_is_as_by_default_is_left_out():
    arguments = {item.name: item.default for item in PARAMETERS} | {"prompt": "a b", "site": "L1"}
    assert invocation.command(SPEC, arguments) == "fluoro sample 'a b' L1"
    assert invocation.call(SPEC, arguments) == 'sample(model, prompt="a b", site="L1")'
    assert invocation.command(SPEC, arguments, dtype="int4") == "fluoro sample 'a b' L1"
    assert "dtype" not in invocation.script(SPEC, arguments, model="m", dtype="int4")
    assert invocation.command(SPEC, {"prompt": "-1", "site": "b", "top_k": -2}) == "fluoro sample --top-k -2 -- -1 b"


def test_a_long_call_has_a_line_for_each_argument():
    arguments = {"prompt": "a" * 120, "site": "b"}
    assert invocation.call(SPEC, arguments).splitlines() == [
        "sample(", "    model,", f'    prompt="{"a" * 120}",', '    site="b",', ")",
    ]  # fmt: skip


@pytest.mark.parametrize("name", sorted(registry.specs()))
def test_the_script_of_every_analysis_is_python(name):
    spec = registry.get(name)
    arguments = {item.name: "x" for item in spec.parameters if item.required}
    tree = ast.parse(invocation.script(spec, arguments, model="specimen", dtype="float32"))
    assert tree.body[1].module == spec.module
