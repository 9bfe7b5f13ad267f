"""The document holds every address, and says of each what it takes and gives."""

import json
import re

import pytest
from starlette.routing import Route

import tiny
from fluoroscope import registry
from fluoroscope.server import openapi
from fluoroscope.server.app import application
from fluoroscope.server.settings import Settings
from server.labs import routes_of

DOCUMENT = json.loads(openapi.document())
OPERATIONS = [(path, method) for path, item in DOCUMENT["paths"].items() for method in item]


def test_every_address_and_every_analysis_is_there():
    served = set()
    for route in routes_of(application(Settings())):
        if isinstance(route, Route) and route.path != "/":
            paths = [route.path]
            if "{name}" in route.path:
                paths = [route.path.replace("{name}", spec.command) for spec in registry.specs().values()]
            served |= {(path, method.lower()) for path in paths for method in route.methods - {"HEAD"}}
    assert served == set(OPERATIONS)


def test_every_reference_leads_somewhere_and_nothing_is_there_for_nobody():
    def references(part):
        if isinstance(part, dict):
            yield from [part["$ref"]] if "$ref" in part else []
            part = list(part.values())
        for inner in part if isinstance(part, list) else []:
            yield from references(inner)

    found = set(references(DOCUMENT))
    assert found == {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}


@pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda value: str(value))
def test_every_operation_says_what_it_is_takes_and_gives(path, method):
    operation = DOCUMENT["paths"][path][method]
    assert re.match(r"[A-Z].*\S$", operation["summary"])
    assert {"200", "4XX", "5XX"} == set(operation["responses"])
    assert "schema" in operation["responses"]["200"]["content"]["application/json"]
    assert ("requestBody" in operation) == (method == "post")


@pytest.mark.parametrize("name", sorted(registry.specs()))
def test_the_parameters_of_an_analysis_are_in_its_schema(name):
    spec = registry.get(name)
    body = DOCUMENT["paths"][f"/api/analyses/{spec.command}"]["post"]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {item.name for item in spec.parameters}
    assert set(schema.get("required", [])) == {item.name for item in spec.parameters if item.required}
    assert schema["additionalProperties"] is False


def test_it_is_what_is_served(client):
    assert client.get("/openapi.json").json() == DOCUMENT
    listed = client.get("/api/analyses").json()
    assert {entry["name"] for entry in listed} == set(registry.specs())


def test_answers_are_as_their_schemas_say(client):
    shown = client.post("/api/analyses/next-token", json={"prompt": tiny.PROMPT}).json()
    schemas = DOCUMENT["components"]["schemas"]
    assert set(shown) == set(schemas["Shown"]["properties"])
    refused = client.post("/api/analyses/next-token", json={}).json()
    assert set(refused) == set(schemas["Error"]["required"])
