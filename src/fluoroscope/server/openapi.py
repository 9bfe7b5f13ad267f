"""What programs read of the server: the catalogue of analyses, and all addresses as an OpenAPI document."""

from typing import Any

from pydantic import TypeAdapter

from fluoroscope import __version__, registry
from fluoroscope.server import circuit_trace
from fluoroscope.signature import Spec
from fluoroscope.views import View

ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error", "message", "hint"],
    "properties": {name: {"type": "string"} for name in ("error", "message", "hint")},
}


def catalogue() -> list[dict[str, Any]]:
    """Every analysis by theme: what it answers, and the schema of its parameters."""
    return [
        {
            "name": spec.name, "command": spec.command, "theme": theme, "kind": spec.kind, "headline": spec.headline,
            "doc": spec.doc, "parameters": registry.json_schema(spec.name),
        }
        for theme, specs in registry.themes().items()
        for spec in specs
    ]  # fmt: skip


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    own = {
        "/api/health": _get("Version, model, device, and how many requests wait."),
        "/api/ready": _get("Whether the model is loaded; 503 until it is."),
        "/api/model": _get("The model, what it is, and which others there are.")
        | _post("Loads another model.", {"type": "object", "required": ["name"], "properties": {"name": _TEXT}}),
        "/api/analyses": _get("Every analysis, with the schema of its parameters."),
        "/api/presets": _get("Circuit Trace: prompts with known circuits."),
        "/api/analyze": _post("Circuit Trace: a prompt analysed whole.", _schema(circuit_trace.AnalyzeRequest)),
        "/api/patch": _post("Circuit Trace: every head patched.", _schema(circuit_trace.PatchRequest)),
    }
    analyses = {f"/api/analyses/{spec.command}": _analysis(spec) for spec in registry.specs().values()}
    views = TypeAdapter(View).json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fluoroscope", "version": __version__},
        "paths": own | analyses,
        "components": {
            "schemas": {
                **views.pop("$defs"), "View": views, "Error": ERROR,
                "Shown": {
                    "type": "object",
                    "required": ["title", "summary", "views", "result"],
                    "properties": {
                        "title": _TEXT, "summary": _TEXT, "result": {"type": "object"},
                        "views": {"type": "array", "items": {"$ref": "#/components/schemas/View"}},
                    },
                },
            }
        },
    }  # fmt: skip


_TEXT = {"type": "string"}


def _schema(kind: Any) -> dict[str, Any]:
    return kind.model_json_schema()


def _analysis(spec: Spec) -> dict[str, Any]:
    found = _post(spec.headline, registry.json_schema(spec.name))
    found["post"]["responses"]["200"]["content"] = _json({"$ref": "#/components/schemas/Shown"})
    return found


def _get(summary: str) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": {"200": {"description": "Done."}}}}


def _post(summary: str, body: dict[str, Any]) -> dict[str, Any]:
    refused = {"description": "Refused.", "content": _json({"$ref": "#/components/schemas/Error"})}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": _json(body)},
            "responses": {"200": {"description": "Done."}, "4XX": refused},
        }
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
