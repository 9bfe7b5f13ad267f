import pytest

from fluoroscope.errors import ArgumentError
from fluoroscope.signature import FILES, Parameter, Spec, read

GOOD = '''"""What it answers.

More about it.
"""

THEME = "Causes"

raise RuntimeError("reading a specification must not run the file")


def sample(
    model: "Model",
    prompt: str,
    words: list[str],
    *,
    ids: list[int] | None = None,
    scale: float = 1,
    top_k: int = -3,
    fast: bool = False,
    grain: Literal["head", "layer"] = "head",
    target: str | None = None,
) -> "analyses.Sample":
    """Does it.

    Args:
        prompt: the text
            to look at: all of it.
        words (list): several of them.
        grain: how fine.

    Raises:
        scale: not a parameter here.
    """
'''


@pytest.fixture
def write(tmp_path):
    def write(source: str, name: str = "sample"):
        path = tmp_path / f"{name}.py"
        path.write_text(source, encoding="utf8")
        return path

    return write


def test_everything_is_read_from_the_source_without_running_it(write):
    assert read(write(GOOD), "pkg.sample", "analysis") == Spec(
        name="sample",
        doc="What it answers.\n\nMore about it.",
        parameters=(
            Parameter("prompt", "str", required=True, help="the text to look at: all of it."),
            Parameter("words", "list[str]", required=True, help="several of them."),
            Parameter("ids", "list[int]", optional=True),
            Parameter("scale", "float", 1),
            Parameter("top_k", "int", -3),
            Parameter("fast", "bool", False),
            Parameter("grain", "str", "head", help="how fine.", choices=("head", "layer")),
            Parameter("target", "str", optional=True),
        ),
        result="Sample",
        kind="analysis",
        module="pkg.sample",
        theme="Causes",
    )


@pytest.mark.parametrize("name", FILES)
def test_what_has_to_do_with_files_is_marked(write, name):
    source = GOOD.replace("prompt: str", f"prompt: {name}").replace("target: str | None", f"target: {name} | None")
    found = {item.name: item for item in read(write(source), "pkg.sample", "analysis").parameters}
    assert found["prompt"] == Parameter(
        "prompt", "str", required=True, help="the text to look at: all of it.", file=FILES[name]
    )
    assert found["target"] == Parameter("target", "str", optional=True, file=FILES[name])
    assert found["words"].file is found["grain"].file is None


def test_workflows_and_plugins_need_no_theme(write):
    bare = GOOD.replace('THEME = "Causes"\n', "")
    assert [read(write(bare), "m", kind).theme for kind in ("workflow", "plugin")] == ["", ""]
    assert read(write(GOOD), "m", "plugin").theme == "Causes"


def test_names_for_people(write):
    spec = read(write(GOOD.replace("def sample", "def other_sample"), "other_sample"), "m", "workflow")
    assert (spec.command, spec.headline) == ("other-sample", "What it answers.")


def one(parameter: str) -> str:
    return f'"""Doc."""\ndef sample(model, {parameter}) -> Sample:\n    """Does it."""\n'


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (one("x: dict"), r"line 2: annotates 'x' with dict\. Use one of str, int"),
        (one("x"), "annotates 'x' with nothing"),
        (one("x: int | str"), r"annotates 'x' with int \| str"),
        (one("x: int | None | None"), "annotates 'x'"),
        (one("x: Literal[1, 2]"), "annotates 'x' with Literal"),
        (one("x: list[float]"), "annotates 'x' with list"),
        (one("x: int = None"), "'x': int the default None"),
        (one("x: int = 1.5"), "default 1.5"),
        (one("x: int = True"), "default True"),
        (one("x: bool = 1"), "default 1"),
        (one("x: str = 3"), "default 3"),
        (one("x: list[int] = ['a']"), "the default"),
        (one("x: Literal['a'] = 'b'"), "default 'b'"),
        (one("x: int = DEFAULT"), "default that is no literal"),
        (one("json: bool = False"), "calls a parameter 'json'"),
        (one("*args: int"), r"\*args"),
        (one("**kwargs: int"), r"\*\*kwargs"),
        ('"""Doc."""\ndef sample(prompt: str) -> Sample: ...\n', "does not take the model first"),
        ('"""Doc."""\ndef sample() -> Sample: ...\n', "does not take the model first"),
        ('"""Doc."""\ndef sample(model): ...\n', "does not say which Result"),
        ('"""Doc."""\ndef simple(model) -> Sample: ...\n', "has no function 'sample'"),
        ("def sample(model) -> Sample: ...\n", "has no module docstring"),
        ('"""Doc."""\ndef sample(model) -> Sample: ...\n', "has no constant THEME"),
        ('"""Doc."""\nTHEME = "Cause"\ndef sample(model) -> Sample: ...\n', r"line 2: has THEME = 'Cause'"),
        ('"""Doc."""\nTHEME = THEMES[0]\ndef sample(model) -> Sample: ...\n', "has THEME = THEMES"),
    ],
)
def test_a_broken_contract_names_the_file_and_what_to_do(write, source, message):
    path = write(source)
    with pytest.raises(ArgumentError, match=message) as caught:
        read(path, "m", "analysis")
    assert f"{path.parent.name}/sample.py, line" in str(caught.value)
    assert caught.value.hint
