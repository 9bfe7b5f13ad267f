"""What programs read of the server: the catalogue of analyses, and all addresses as an OpenAPI document."""

import json
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from fluoroscope import __version__, registry
from fluoroscope.server import circuit_trace, graphs, messages, words


class ModelRequest(messages.Message):
    """What /api/model takes: one of its choices."""

    name: str


ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error", "message", "hint"],
    "properties": {name: {"type": "string"} for name in ("error", "message", "hint")},
}


@cache
def catalogue() -> bytes:
    """Every analysis by theme, as JSON: what it answers, and the schema of its parameters."""
    found = [
        {
            "name": spec.name, "command": spec.command, "theme": theme, "kind": spec.kind, "headline": spec.headline,
            "doc": spec.doc, "parameters": registry.json_schema(spec.name),
        }
        for theme, specs in registry.themes().items()
        for spec in specs
    ]  # fmt: skip
    return json.dumps(found).encode()


@cache
def document() -> bytes:
    """The OpenAPI document, as JSON."""
    shown, word = (
        TypeAdapter(kind).json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
        for kind in (messages.Shown, messages.Word)
    )
    parts = {**shown.pop("$defs"), **word.pop("$defs"), "Shown": shown, "Error": ERROR}
    own = {
        "/api/health": _get("Version, model, device, and how many requests wait.", _WHATEVER),
        "/api/ready": _get("Whether the model is loaded; 503 until it is, with the reason.", _WHATEVER),
        "/api/model": _get("The model, what it is, and which others there are.", _WHATEVER)
        | _post("Loads another model.", _schema(ModelRequest), _WHATEVER),
        "/api/analyses": _get("Every analysis, with the schema of its parameters.", _list(messages.Analysis)),
        "/api/runs": _get("Kept results, the newest first.", _list(messages.KeptRun))
        | _post("Keeps a result, as an analysis gave it.", _WHATEVER, _schema(messages.KeptRun)),
        "/api/runs/{id}": _get("A kept result, by its id or the beginning of one.", _SHOWN, "id"),
        "/api/presets": _get("Circuit Trace: prompts with known circuits.", _list(messages.Preset)),
        "/api/word": _post("Which token a word names.", _schema(words.WordRequest), word),
        "/api/analyze": _post(
            "Circuit Trace: a prompt analysed whole.", _schema(circuit_trace.AnalyzeRequest), _WHATEVER
        ),
        "/api/patch": _post("Circuit Trace: every head patched.", _schema(circuit_trace.PatchRequest), _WHATEVER),
        **{f"/api/graph/{form}": _post(f"A graph as a .{form} file.", _WHATEVER, _FILE) for form in graphs.FORMS},
        "/openapi.json": _get("This document.", _WHATEVER),
    }
    analyses = {
        f"/api/analyses/{spec.command}": _post(spec.headline, registry.json_schema(spec.name), _SHOWN)
        for spec in registry.specs().values()
    }
    found = {
        "openapi": "3.1.0",
        "info": {"title": "Fluoroscope", "version": __version__, "description": _ABOUT},
        "paths": own | analyses,
        "components": {"schemas": parts},
    }
    return json.dumps(found).encode()


_ABOUT = (
    "Every analysis is a socket as well, at its address: send the arguments as one message; `progress` messages come, "
    "`partial` ones with what there is so far where an analysis can tell it, then `result` or `error`. /ws/analyze is "
    "Circuit Trace's: `accepted`, a `layer` each, `done`. /api/session is the page's: docs/lab.md."
)
_WHATEVER: dict[str, Any] = {"type": "object"}
_SHOWN: dict[str, Any] = {"$ref": "#/components/schemas/Shown"}
_FILE: dict[str, Any] = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}


def _schema(kind: Any) -> dict[str, Any]:
    return kind.model_json_schema()


def _list(kind: Any) -> dict[str, Any]:
    return {"type": "array", "items": _schema(kind)}


def _get(summary: str, answer: dict[str, Any], *names: str) -> dict[str, Any]:
    """An address that is read; `names` are those in it."""
    texts = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    return {"get": {"summary": summary, "responses": _responses(answer), **({"parameters": texts} if texts else {})}}


def _post(summary: str, body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    asked = {"required": True, "content": _json(body)}
    return {"post": {"summary": summary, "requestBody": asked, "responses": _responses(answer)}}


def _responses(answer: dict[str, Any]) -> dict[str, Any]:
    refused = {"description": "Refused.", "content": _json({"$ref": "#/components/schemas/Error"})}
    return {"200": {"description": "Done.", "content": _json(answer)}, "4XX": refused, "5XX": refused}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
