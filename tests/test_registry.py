import ast
import importlib
import inspect
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import fluoroscope
from fluoroscope import artifact, invocation, registry
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.result import Result
from fluoroscope.signature import THEMES, Parameter, Spec

PARAMETERS = (
    Parameter("prompt", "str", required=True, help="a text"),
    Parameter("words", "list[str]", [], help="some"),
    Parameter("scale", "float", 1.0),
    Parameter("fast", "bool", False),
    Parameter("top_k", "int", 3),
    Parameter("grain", "str", "head", choices=("head", "layer")),
    Parameter("copy", "int", None, optional=True),
)
SPEC = Spec("sample", "Doc.", PARAMETERS, "Sample", "analysis", "pkg.sample")


def test_every_file_of_the_two_folders_is_listed():
    root = Path(fluoroscope.__file__).parent
    files = {path.stem for folder in ("analyses", "workflows") for path in (root / folder).glob("[!_]*.py")}
    assert set(registry.specs()) >= files
    assert {"next_token", "logit_lens", "explain"} <= files


@pytest.mark.parametrize("name", sorted(registry.specs()))
def test_a_specification_says_what_the_function_says(name):
    spec = registry.get(name)
    function = getattr(importlib.import_module(spec.module), name)
    signature = inspect.signature(function)
    assert list(signature.parameters) == ["model", *(item.name for item in spec.parameters)]
    for item in spec.parameters:
        default = signature.parameters[item.name].default
        assert (default is inspect.Parameter.empty) == item.required
        assert item.required or default == item.default
    assert str(signature.return_annotation).strip("'\"").split(".")[-1].rstrip("'>") == spec.result
    assert issubclass(getattr(importlib.import_module(spec.module), spec.result), Result)


@pytest.mark.parametrize("name", sorted(registry.specs()))
def test_every_parameter_is_described(name):
    spec = registry.get(name)
    assert [item.name for item in spec.parameters if not item.help] == []
    assert len(spec.headline) <= 90
    assert spec.headline.endswith((".", "?"))


def test_files_are_marked_for_surfaces_that_must_not_open_them():
    marked = {(spec.name, item.name): item.file for spec in registry.specs().values() for item in spec.parameters}
    assert marked["max_activating", "text"] == marked["tuned_lens", "lens"] == "input"
    assert marked["fit_tuned_lens", "file"] == "output"
    assert marked["conversation", "chat"] == ".json"
    assert marked["conversation", "chat_template"] == ".jinja"
    assert marked["similarity", "other_model"] == "model"
    assert marked["next_token", "prompt"] is None
    assert registry.json_schema("max_activating")["properties"]["text"]["file"] == "input"
    assert "file" not in registry.json_schema("next_token")["properties"]["prompt"]
    for spec in registry.specs().values():
        for item in spec.parameters:
            named = any(word in item.help for word in ("text file", "the file", "a folder that"))
            assert named == (item.file in ("input", "output")), (spec.name, item.name)


def test_the_catalogue_by_themes_holds_everything_once():
    groups = registry.themes()
    assert [*groups] == ["Start here", *THEMES]
    assert sorted(spec.name for group in groups.values() for spec in group) == sorted(registry.specs())
    assert "explain" in [spec.name for spec in groups["Start here"]]
    assert "head_patching" in [spec.name for spec in groups["Causes"]]


def test_listing_imports_neither_torch_nor_pydantic():
    code = (
        "import sys; from fluoroscope import registry; registry.specs()\n"
        "assert not {'torch', 'transformers', 'pydantic', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_one_analysis_is_found_without_reading_the_others(monkeypatch):
    expected = registry.specs()
    monkeypatch.setattr(registry, "specs", lambda: pytest.fail("read all"))
    assert all(registry.find(name) == spec for name, spec in expected.items())
    monkeypatch.undo()
    assert [registry.find(name) for name in ("__init__", "../registry", "", "next_tokn")] == [None] * 4


def test_an_analysis_is_found_by_name_and_by_command():
    assert registry.get("next-token") is registry.get("next_token")
    with pytest.raises(ArgumentError, match=r"unknown analysis 'next_tokn'\. Did you mean 'next_token'"):
        registry.get("next_tokn")


def test_keywords_are_completed_by_the_defaults():
    assert registry.check(SPEC, {"prompt": "a", "scale": 2, "copy": 4}) == {
        "prompt": "a", "words": [], "scale": 2.0, "fast": False, "top_k": 3, "grain": "head", "copy": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"prompt": "a", "topk": 3}, "has no parameter 'topk'. Did you mean 'top_k'"),
        ({}, "needs 'prompt'"),
        ({"prompt": 3}, "prompt: .*string"),
        ({"prompt": "a", "top_k": "3"}, "top_k: .*integer"),
        ({"prompt": "a", "top_k": 3.0}, "top_k: .*integer"),
        ({"prompt": "a", "top_k": True}, "top_k: .*integer"),
        ({"prompt": "a", "fast": 1}, "fast: .*boolean"),
        ({"prompt": "a", "words": "abc"}, "words: .*list"),
        ({"prompt": "a", "scale": float("nan")}, "scale: .*finite"),
        ({"prompt": "a", "grain": "neuron"}, "grain: .*'head' or 'layer'"),
        ({"prompt": "a", "top_k": None}, "top_k: .*integer"),
    ],
)
def test_a_wrong_keyword_is_refused_by_name(keywords, message):
    with pytest.raises(ArgumentError, match=message):
        registry.check(SPEC, keywords)


def test_wrong_keywords_are_refused_before_the_model_is_touched():
    with pytest.raises(ArgumentError, match="has no parameter 'promt'"):
        registry.run("next-token", None, promt="a")  # type: ignore[arg-type]


def test_the_schema_says_what_check_does():
    schema = registry.json_schema("logit-lens")
    assert schema["required"] == ["prompt"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["top_k"] | {"description": ""} == {
        "default": 3, "description": "", "title": "top_k", "type": "integer",
    }  # fmt: skip
    assert schema["properties"]["position"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]
    assert "text" in schema["properties"]["prompt"]["description"]


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package whose parent must not be imported, offering one analysis."""
    package = tmp_path / "shiny"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    source = '"""Shines."""\ndef glow(model, prompt: str) -> Glow:\n    """Glows."""\n    return 3\n'
    (package / "glow.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, value: str):
        monkeypatch.setattr(registry, "entry_points", lambda group: (EntryPoint(name, value, group),))
        registry.specs.cache_clear()

    yield install
    monkeypatch.undo()
    registry.specs.cache_clear()


def test_a_plugin_is_listed_without_importing_its_package(plugin):
    plugin("glow", "shiny.glow")
    spec = registry.get("glow")
    assert (spec.kind, spec.doc, spec.module) == ("plugin", "Shines.", "shiny.glow")
    assert registry.themes()["From plugins"] == [spec]


@pytest.mark.parametrize(
    ("name", "value"), [("glow", "shiny.missing"), ("glow", "absent.glow"), ("shine", "shiny.glow")]
)
def test_a_plugin_that_names_no_module_is_refused(plugin, name, value):
    plugin(name, value)
    with pytest.raises(ArgumentError, match=f"entry point {name} = '{value}'"):
        registry.specs()


def test_two_analyses_of_one_name_are_refused(plugin, tmp_path):
    (tmp_path / "shiny" / "next_token.py").write_text('"""Doc."""\ndef next_token(model) -> R:\n    """D."""\n')
    plugin("next_token", "shiny.next_token")
    with pytest.raises(ArgumentError, match="two analyses are called 'next_token'"):
        registry.specs()


def test_what_a_plugin_returns_must_be_a_result(plugin, tmp_path):
    (tmp_path / "shiny" / "__init__.py").write_text("")
    source = '"""Doc."""\ndef glow(model, prompt: str) -> "Glow":\n    """D."""\n    return 3\n'
    (tmp_path / "shiny" / "glow.py").write_text(source)
    plugin("glow", "shiny.glow")
    with pytest.raises(ArgumentError, match="returned int, not a Result"):
        registry.run("glow", None, prompt="a")  # type: ignore[arg-type]


def test_a_result_of_the_registry_says_how_to_ask_again(tiny_model, tmp_path):
    result = registry.run("logit-lens", tiny_model, prompt="ab", top_k=2)
    call = result.call
    assert (call.analysis, call.arguments["prompt"], call.arguments["top_k"]) == ("logit_lens", "ab", 2)
    assert set(call.arguments) == {item.name for item in registry.get("logit_lens").parameters}
    spec = registry.get("logit_lens")
    assert call.command == invocation.command(spec, call.arguments, model=tiny_model.name, dtype="float32")
    namespace = {}
    exec(call.script, namespace)  # what it says, done
    again = namespace["result"]
    assert again.model_copy(update={"call": call}) == result
    path = result.save(tmp_path / "lens.json")
    assert registry.open_result(path) == result
    assert registry.open_result(str(path)).call == call


def test_kinds_of_results_are_told_apart_by_their_names():
    kinds = [spec.result for spec in registry.specs().values()]
    assert len(set(kinds)) == len(kinds)


def _saved(tmp_path, **changes):
    data = {"schema": 1, "result": "NextToken", "summary": "s"} | changes
    return artifact.write_json(tmp_path / "result.json", data)


def test_what_is_no_result_is_refused_with_a_reason_and_the_name_of_the_file(tmp_path):
    def refused(path, match):
        with pytest.raises(ArtifactError, match=match) as error:
            registry.open_result(path)
        assert str(path) in str(error.value)
        assert error.value.hint or "cannot read" in error.value.message or "strict JSON" in error.value.message

    refused(tmp_path / "missing.json", "cannot read")
    for text, match in (('{"schema": 1', "no strict JSON"), ("[]", "holds no result"), ('{"a": 1}', "holds no result")):
        path = tmp_path / "text.json"
        path.write_text(text, encoding="utf8")
        refused(path, match)
    refused(_saved(tmp_path, result="NextTokn"), "'NextTokn', which nothing here makes. Did you mean 'NextToken'")
    refused(_saved(tmp_path, schema=2), "version 2 cannot be read, only 1")
    refused(_saved(tmp_path), "is damaged: recipe: Field required")
    refused(_saved(tmp_path, result=["NextToken"]), "holds no result")


def test_results_of_other_names_open_from_their_files(tmp_path):
    """Every kind of result in the skin of mlxterp is in the table; one comes back from a file and a store."""
    from fluoroscope import Store, load
    from fluoroscope.interpretable.causal import activation_patching

    for name, module in registry.OTHERS.items():
        assert issubclass(getattr(importlib.import_module(module), name), Result)
    package = importlib.import_module("fluoroscope.interpretable")
    kinds = {
        node.name
        for path in Path(str(package.__file__)).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8")))
        if isinstance(node, ast.ClassDef)
        and any(getattr(base, "id", "") in ("Result", "WorkflowResult") for base in node.bases)
    }
    assert kinds == set(registry.OTHERS)
    found = activation_patching(load(), "Tom saw the red ball", "Tom saw the new ball", component="mlp")
    assert found.clean == ("Tom saw the red ball",)
    assert "Tom·saw·the·red·ball" in found.to_markdown()
    found.save(tmp_path / "found.json")
    assert registry.open_result(tmp_path / "found.json") == found
    store = Store(tmp_path / "runs.sqlite")
    assert store.open(store.keep(found).short) == found
