"""While the model writes: which parts of it wrote each token.

Every generated token is explained at the moment it is chosen, from the same cached forward passes that chose it, by
the exact decomposition of its logit.
"""

from typing import TYPE_CHECKING

import torch

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import decomposition, readout
from fluoroscope.methods.contrast import Contrast
from fluoroscope.render.text import counted, percent, quoted
from fluoroscope.result import Record, Result
from fluoroscope.signature import AnyPrompt
from fluoroscope.views import Column, Row, Table, TokenMark, Tokens, View

if TYPE_CHECKING:
    from fluoroscope.generation import Generation
    from fluoroscope.model import Model

THEME = "Attribution"


class WrittenBy(Record):
    """One part of a logit; `site` is None for a bias."""

    label: str
    site: str | None
    value: float


class WrittenToken(Record):
    """One generated token.

    Args:
        probability: under the model's own distribution.
        logit: before any softcap; `error` is what the sum of all parts misses it by.
        parts: the parts of largest absolute value, largest first.
    """

    id: int
    piece: str
    probability: float
    logit: float
    error: float
    parts: tuple[WrittenBy, ...]


class GenerationAttribution(Result):
    """The continuation, token by token, with the parts that wrote each."""

    prompt: tuple[str, ...]
    written: tuple[WrittenToken, ...]

    def summary(self) -> str:
        text = "".join(token.piece for token in self.written)
        leaders = [token.parts[0].label for token in self.written]
        most = max(set(leaders), key=lambda label: (leaders.count(label), label))
        worst = max(abs(token.error) for token in self.written)
        return (
            f"The model continues with {quoted(text)}; {most} is the largest part of {leaders.count(most)} of "
            f"{counted(len(leaders), 'token')}, and every sum meets its logit within {worst:.1e}."
        )

    def views(self) -> list[View]:
        count = max(len(token.parts) for token in self.written)
        rows = tuple(
            Row(cells=(token.piece, percent(token.probability), token.logit, *_cells(token, count)))
            for token in self.written
        )
        names = tuple(Column(name=name) for index in range(count) for name in (f"part {index + 1}", "logits"))
        marks = tuple(TokenMark(text=token.piece, id=token.id, value=token.probability) for token in self.written)
        return [
            Tokens(title="Continuation", unit="probability", items=marks),
            Table(
                title="What wrote each token",
                caption="The parts with the largest share of the token's logit, embeddings, heads, MLPs and biases.",
                columns=(Column(name="token", token=True), Column(name="p"), Column(name="logit"), *names),
                rows=rows,
            ),
        ]


@checked
def generation_attribution(
    model: "Model", prompt: AnyPrompt, *, max_new_tokens: int = 10, top_k: int = 3
) -> GenerationAttribution:
    """Continues a prompt greedily and splits the logit of every chosen token into its parts.

    Args:
        prompt: the text to continue.
        max_new_tokens: how many tokens to write, at most.
        top_k: how many parts to list for each token.

    Raises:
        ArgumentError: `top_k` below 1, or a batch of prompts.
        UnavailableError: this model offers no exact decomposition of its logits.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    sites = decomposition.sites_needed(model, "head")
    generation = model.generate(prompt, max_new_tokens=max_new_tokens, sites=sites)
    start = readout.only_slot(generation.prompt, -1)
    written = tuple(_written(model, generation, start, step, top_k) for step in range(len(generation.ids[0])))
    return GenerationAttribution(recipe=generation.recipe, prompt=tuple(generation.prompt.labels[0]), written=written)


def _written(model: "Model", generation: "Generation", start: int, step: int, top_k: int) -> WrittenToken:
    trace = generation.trace
    if trace is None:
        raise ArgumentError("the generation kept no sites")
    token = generation.ids[0][step]
    weights = Contrast((token,)).weights(model.d_vocab)
    parts = decomposition.decompose(model, trace, start + step, weights)
    logit = decomposition.linear_logit(model, trace, start + step, weights)
    top = sorted(parts, key=lambda part: -abs(part.value))[:top_k]
    return WrittenToken(
        id=token,
        piece=model.token_label(token),
        probability=min(1.0, float(torch.tensor(generation.log_probs[0][step], dtype=torch.float64).exp())),
        logit=logit,
        error=sum(part.value for part in parts) - logit,
        parts=tuple(
            WrittenBy(label=part.label, site=None if part.site is None else str(part.site), value=part.value)
            for part in top
        ),
    )


def _cells(token: WrittenToken, count: int) -> tuple[str | float | None, ...]:
    cells: list[str | float | None] = [cell for part in token.parts for cell in (part.label, part.value)]
    return (*cells, *[None] * (2 * count - len(cells)))
