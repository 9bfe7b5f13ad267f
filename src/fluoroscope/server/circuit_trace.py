"""Circuit Trace's own interface, for those who have programs for it: one prompt analysed whole, one sweep of all heads.

The numbers are those of our analyses; where the original's are not what their names say, ours are (docs/lab.md).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from fluoroscope import registry
from fluoroscope.server import live
from fluoroscope.server.answers import Refused
from fluoroscope.server.messages import Message, Preset
from fluoroscope.tasks import presets

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.model import Model
    from fluoroscope.trace import Trace

_CELL = 21  # bytes of a number in JSON
IOI = "When Mary and John went to the store, {} gave a drink to"
_CARDS = (
    "Paul has {} cards. Kevin takes 2 of them. He wins 4 more. How many cards does Paul have now? "
    "First, {} - 2 = {}. Then, {} + 4 = {}. The answer is"
)
_WAR, _AGAIN = presets.PRESETS["greater_than"], presets.PRESETS["duplicate"]


PRESETS = (
    Preset(
        id="ioi", title="Indirect object", prompt=IOI.format("John"), corrupted=IOI.format("Mary"), answer=" Mary",
        foil=" John", expected='Name-mover heads in L9-L11 write " Mary".', known_of="gpt2",
    ),
    Preset(
        id="induction", title="Induction", prompt="The cat sat on the mat. The cat sat on the",
        corrupted="The cat sat on the floor. The cat sat on the", answer=" mat", foil=" floor", known_of="gpt2",
        expected='Induction heads (L5-L7) look from the current token to what followed it before and copy " mat".',
    ),
    Preset(
        id="factual", title="Factual recall", prompt="The capital of France is", corrupted="The capital of Italy is",
        answer=" Paris", foil=" Rome", expected="MLPs do most of the work; few heads dominate.", known_of="gpt2",
    ),
    Preset(
        id="greater-than", title="Greater than", prompt="The war lasted from the year 1732 to 17",
        corrupted="The war lasted from the year 1701 to 17", answer="|".join(map(str, range(33, 100))),
        foil="|".join(f"{year:02d}" for year in range(33)), known_of="gpt2",
        expected="Heads that look at the first year, and late MLPs that raise all years behind it.",
    ),
    Preset(
        id="duplicate", title="Duplicate token", prompt="The password is SWORDFISH. Again, the password is",
        corrupted="The password is GOLDFISH. Again, the password is", answer=" SW", foil=" G", known_of="gpt2",
        expected="Duplicate-token heads in early layers feed induction heads further up.",
    ),
    Preset(
        id="specimen-year", title="Greater than (specimen)", prompt=_WAR.clean, corrupted=_WAR.corrupted,
        answer=_WAR.answer, foil=_WAR.foil, known_of="specimen",
        expected="Heads that look at the first year; its card (fluoro specimen) has the mass on later years.",
    ),
    Preset(
        id="specimen-password", title="Password (specimen)", prompt=_AGAIN.clean, corrupted=_AGAIN.corrupted,
        answer=_AGAIN.answer, foil=_AGAIN.foil, known_of="specimen",
        expected="Previous-token heads feed induction heads, which copy; its card (fluoro specimen) names both.",
    ),
    Preset(
        id="specimen-word-problem", title="Word problem (specimen)", prompt=_CARDS.format(7, 7, 5, 5, 9),
        corrupted=_CARDS.format(8, 8, 6, 6, 10), answer=" 9", foil=" 10", known_of="specimen",
        expected="The last calculation holds the answer: hidden, it is gone. Reasoning, below, takes it step by step.",
    ),
)  # fmt: skip
"""The five of Circuit Trace, then three in the phrasing of the specimen; the corrupted prompts are ours."""


class AnalyzeRequest(Message):
    """What /api/analyze and /ws/analyze take."""

    prompt: str
    top_k: int = Field(default=10, ge=1, le=100)
    top_path_per_layer: int = Field(default=2, ge=1, le=64)
    attention: bool = True


class PatchRequest(Message):
    """What /api/patch takes."""

    clean: str
    corrupted: str


def check_size(model: "Model", prompt: str, most: int) -> None:
    """Whether all patterns of a prompt can be written as JSON.

    Raises:
        Refused: they would have more bytes than `most`.
    """
    cells = len(model.tokens(prompt).rows[0]) ** 2 * model.n_layers * model.n_heads
    if cells * _CELL > most:
        message = f"about {cells * _CELL:,} bytes of attention as JSON, {most:,} at most"
        raise Refused(413, "large", message, 'Shorten the prompt, or send "attention": false.')


def analyze(
    model: "Model", request: AnalyzeRequest, tell: Callable[[dict[str, Any]], None] = lambda message: None
) -> dict[str, Any]:
    """The whole analysis of a prompt; `tell` gets the tokens and each layer while the model computes.

    Raises as the analyses do.
    """

    def begun(ids: list[int], labels: list[str]) -> None:
        tell({"type": "accepted", "tokens": _tokens(ids, labels)})

    def layer(header: dict[str, Any], pattern: "Tensor | None") -> None:
        shown = {} if pattern is None or not request.attention else {"attention": pattern.double().tolist()}
        tell({"type": "layer", **header, **shown})

    trace = live.run(model, request.prompt, begun, layer)
    prediction = registry.run("next_token", model, prompt=request.prompt, top_k=min(request.top_k, model.d_vocab))
    sums = registry.run("logit_attribution", model, prompt=request.prompt)
    roles = registry.run("head_roles", model, prompt=request.prompt, seeds=0)
    lens = registry.run("logit_lens", model, prompt=request.prompt, position=-1, top_k=3)
    told, parts = prediction.model_dump(mode="json"), sums.model_dump(mode="json")
    heads = [part for part in parts["parts"] if (part["site"] or "").startswith("z.")]
    found: dict[str, Any] = {
        "prompt": request.prompt,
        "tokens": _tokens(trace.tokens.rows[0], trace.tokens.labels[0]),
        "predictions": told["predictions"],
        "target": {"token": parts["target"], "ids": parts["target_ids"], "logit": parts["logit"]},
        "heads": [_head(role, heads) for role in roles.model_dump(mode="json")["heads"]],
        "contributions": parts["parts"],
        "residue": parts["error"],
        "top_path": _path(heads, request.top_path_per_layer),
        "logit_lens": [
            {"site": depth["site"], "top": depth["cells"][-1]["top"]}
            for depth in lens.model_dump(mode="json")["depths"]
        ],
        "token_flow": _flow(model, trace),
    }
    if request.attention:
        found["attention"] = [trace[site][0].double().tolist() for site in model.sites("pattern")]
    return found


def patch(model: "Model", request: PatchRequest) -> dict[str, Any]:
    """Every head's clean output put into the corrupted prompt: share of the lead that comes back, and probability."""
    pair = {"clean": request.clean, "corrupted": request.corrupted}
    lead, mass = (
        registry.run("head_patching", model, **pair, metric=metric).model_dump(mode="json")
        for metric in ("logit_diff", "probability")
    )
    sweep = [
        {
            "layer": layer, "head": head, "recovered": value, "logit_diff": lead["scores"][layer][head],
            "probability": mass["scores"][layer][head],
            "delta": mass["scores"][layer][head] - mass["corrupted_score"],
        }
        for layer, row in enumerate(lead["effects"])
        for head, value in enumerate(row)
        if value is not None
    ]  # fmt: skip
    return {
        "clean_tokens": lead["clean"], "corrupted_tokens": lead["corrupted"], "target": lead["answer"],
        "foil": lead["foil"], "direction": lead["direction"], "clean_logit_diff": lead["clean_score"],
        "corrupted_logit_diff": lead["corrupted_score"], "clean_probability": mass["clean_score"],
        "corrupted_probability": mass["corrupted_score"],
        "sweep": sorted(sweep, key=lambda each: -abs(each["recovered"])),
    }  # fmt: skip


def _tokens(ids: list[int], labels: list[str]) -> list[dict[str, Any]]:
    return [{"id": number, "text": label} for number, label in zip(ids, labels, strict=True)]


def _head(role: dict[str, Any], heads: list[dict[str, Any]]) -> dict[str, Any]:
    _, layer, head = role["site"].split(".")
    wrote = next((part["value"] for part in heads if part["site"] == role["site"]), None)
    kept = ("prev_token_score", "duplicate_token_score", "induction_score", "label", "entropy", "concentration")
    scores = {name: role[name] for name in (*kept, "value_norm")}
    return {"layer": int(layer), "head": int(head), **scores, "contribution": wrote, "top_pairs": role["top"]}


def _path(heads: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The heads of each layer that wrote most; what they read of one another is for path patching to say."""
    layers = sorted({part["layer"] for part in heads})
    return [
        {"layer": layer, "head": int(part["site"].rpartition(".")[2]), "contribution": part["value"]}
        for layer in layers
        for part in sorted((p for p in heads if p["layer"] == layer), key=lambda p: -abs(p["value"]))[:count]
    ]


def _flow(model: "Model", trace: "Trace") -> list[list[float]]:
    """Mean attention over all heads of all layers, [query][key]."""
    sites = model.sites("pattern")
    return (sum(trace[site][0].double().mean(0) for site in sites) / len(sites)).tolist()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
