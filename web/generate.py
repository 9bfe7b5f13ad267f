"""Writes web/src/api/generated.ts from the server's types; `--check` says whether it is fresh."""

import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from fluoroscope.marks import Selection
from fluoroscope.server import messages
from fluoroscope.views import View

TARGET = Path(__file__).parent / "src" / "api" / "generated.ts"
ROOTS: dict[str, Any] = {
    "View": View,
    "Selection": Selection,
    "FromServer": messages.FromServer,
    "Frame": messages.Frame,
    "FromPage": messages.FromPage,
    "Analysis": messages.Analysis,
    "KeptRun": messages.KeptRun,
    "Preset": messages.Preset,
    "Shown": messages.Shown,
    "Word": messages.Word,
}
SIMPLE = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def main() -> int:
    """Writes the file, or says that it is stale."""
    if "--check" in sys.argv:
        print("fresh" if fresh() else f"{TARGET.name} is stale: run python web/generate.py")
        return 0 if fresh() else 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(source(), encoding="utf8")
    return 0


def fresh() -> bool:
    """Whether the file is that of the types as they are."""
    return TARGET.is_file() and TARGET.read_text(encoding="utf8") == source()


def source() -> str:
    """All types, each once."""
    types: dict[str, str] = {}
    for name, kind in ROOTS.items():
        schema = TypeAdapter(kind).json_schema(mode="serialization")
        for inner, part in schema.pop("$defs", {}).items():
            types[inner] = declared(inner, part)
        types[name] = declared(name, schema)
    return "\n".join(["// Made by web/generate.py from the server's types; never edited.", *types.values(), ""])


def declared(name: str, schema: dict[str, Any]) -> str:
    """One exported type, with its documentation."""
    said = " ".join(schema.get("description", "").partition("\n\n")[0].split())
    comment = f"\n/** {said} */" if said else ""
    return f"{comment}\nexport type {name} = {written(schema)};"


def written(schema: dict[str, Any]) -> str:
    """A JSON schema as TypeScript."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "const" in schema:
        return repr(schema["const"]).replace("'", '"')
    if "enum" in schema:
        return " | ".join(repr(value).replace("'", '"') for value in schema["enum"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " | ".join(dict.fromkeys(written(part) for part in schema[several]))
    if "prefixItems" in schema:
        return f"[{', '.join(written(part) for part in schema['prefixItems'])}]"
    if schema.get("type") == "array":
        return f"readonly ({written(schema['items'])})[]" if "items" in schema else "readonly unknown[]"
    if "properties" in schema:
        return (
            "{ " + " ".join(f"readonly {name}: {written(part)};" for name, part in schema["properties"].items()) + " }"
        )
    if schema.get("type") == "object":
        return "Readonly<Record<string, unknown>>"
    return SIMPLE[schema["type"]]


if __name__ == "__main__":
    sys.exit(main())
