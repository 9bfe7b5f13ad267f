"""The page's types are made from these, and are fresh. That sessions send no others: `test_session.py`."""

import importlib.util
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from fluoroscope.server import circuit_trace, messages, openapi

WEB = Path(__file__).resolve().parents[2] / "web"


@pytest.mark.skipif(not WEB.is_dir(), reason="the page's sources are not here")
def test_the_pages_types_are_those_of_the_server():
    spec = importlib.util.spec_from_file_location("generate", WEB / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.TARGET.read_text(encoding="utf8") == generate.source(), "run python web/generate.py"


def test_the_catalogue_and_the_presets_are_of_their_types():
    TypeAdapter(list[messages.Analysis]).validate_json(openapi.catalogue(), strict=True)
    for preset in circuit_trace.PRESETS:
        messages.Preset.model_validate(preset.model_dump(), strict=True)


def test_a_field_that_nobody_knows_is_refused():
    with pytest.raises(ValidationError):
        messages.Done(type="done", run="a", more=1)
