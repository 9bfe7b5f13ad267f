"""A graph that a page shows, perhaps pruned there, as a file for other programs."""

import json
from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fluoroscope.render import dot, graphml
from fluoroscope.server.answers import Refused
from fluoroscope.views import Graph

FORMS: dict[str, Callable[[Graph], str]] = {"dot": dot.source, "graphml": graphml.source}
"""By the suffix of the file."""


def source(form: str, given: dict[str, Any]) -> str:
    """The text of the file, as `Result.save` writes it.

    Raises:
        Refused: what is given is no graph.
    """
    try:
        graph = TypeAdapter(Graph).validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors()[:3])
        raise Refused(422, "argument", wrong, "Send a view of the kind graph, as results have it.") from error
    return FORMS[form](graph)
