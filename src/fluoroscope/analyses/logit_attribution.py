"""Which embeddings, heads and MLPs wrote the logit of a token, as an exact sum."""

from typing import TYPE_CHECKING, Literal

from fluoroscope.result import Record, Result
from fluoroscope.views import Bar, Bars, HeadGrid, Lines, Mark, Series, View

if TYPE_CHECKING:
    from fluoroscope.model import Model


class Contribution(Record):
    """One addend: its site (None for a bias), the block that adds it, its value in logits, and its share.

    Args:
        share: |value| over the sum of all |values|, so that shares of all parts sum to 1.
    """

    name: str
    label: str
    site: str | None
    layer: int
    value: float
    share: float


class LogitAttribution(Result):
    """The parts of one logit, or of the difference of two.

    Args:
        position: token index whose logits are explained; they predict the next token.
        logit: the model's own number, before any softcap.
        total: the sum of all parts; `error` is total - logit.
        softcap: the cap that the model applies afterwards, if any.
        parts: every addend, in the order of computation.
        cumulative: the sum after the embeddings and after each block, through the final norm of the whole run.
        top_k: how many parts the views name before they sum up the rest.
    """

    prompt: list[str]
    position: int
    target: str
    target_id: int
    foil: str | None
    foil_id: int | None
    logit: float
    total: float
    error: float
    softcap: float | None
    parts: list[Contribution]
    cumulative: list[float]
    top_k: int

    def top(self) -> list[Contribution]:
        """The `top_k` parts of largest absolute value, largest first."""
        return sorted(self.parts, key=lambda part: -abs(part.value))[: self.top_k]

    def remainder(self) -> float:
        """What all parts outside of the top sum to, in logits."""
        return self.total - sum(part.value for part in self.top())

    def _asked(self) -> str:
        return f"logit of {self.target!r}" + (f" minus that of {self.foil!r}" if self.foil is not None else "")

    def summary(self) -> str:
        named = ", ".join(f"{part.label} {part.value:+.2f}" for part in self.top()[:3])
        cap = "" if self.softcap is None else " (before the softcap)"
        return (
            f"The {self._asked()} after token {self.position} is {self.logit:.3f}{cap}: {named} and "
            f"{len(self.parts) - min(3, len(self.parts))} smaller parts sum to it with an error of {self.error:.1e}."
        )

    def views(self) -> list[View]:
        bars = [Bar(label=part.label, value=part.value, site=part.site) for part in self.top()]
        rest = len(self.parts) - len(bars)
        if rest:
            bars.append(Bar(label=f"{rest} other parts", value=self.remainder()))
        bars.append(Bar(label="sum of all", value=self.total))
        depth = tuple(Mark(label=label) for label in ("embed", *(f"L{n}" for n in range(len(self.cumulative) - 1))))
        views: list[View] = [
            Bars(title=f"What wrote the {self._asked()}", unit="logits", signed=True, items=tuple(bars)),
            Lines(
                title="The sum after each block",
                caption="Through the final norm as it is at the end; the step at a layer is what that layer adds.",
                unit="logits",
                x=depth,
                series=(Series(label=self._asked(), values=tuple(self.cumulative)),),
            ),
        ]
        grid = self._grid()
        return views if grid is None else [*views, grid]

    def _grid(self) -> HeadGrid | None:
        heads = [part for part in self.parts if part.site is not None and part.site.startswith("z.")]
        if not heads:
            return None
        layers = 1 + max(part.layer for part in heads)
        rows = tuple(tuple(part.value for part in heads if part.layer == layer) for layer in range(layers))
        return HeadGrid(title="What each head adds", unit="logits", values=rows)


def logit_attribution(
    model: "Model",
    prompt: str,
    *,
    target: str | None = None,
    foil: str | None = None,
    position: int = -1,
    grain: Literal["head", "layer"] = "head",
    top_k: int = 10,
) -> LogitAttribution:
    """Splits a logit, or the difference of two, into what each part of the model added to it.

    Args:
        prompt: text whose next token is explained.
        target: token to explain, exactly one token; the model's own prediction if not given.
        foil: token whose logit is taken off: why the target rather than this.
        position: token index whose prediction is explained; negative counts from the end.
        grain: every head by itself, or attention by layer.
        top_k: parts to name before summing up the rest.

    Raises:
        TokenError: target or foil is not exactly one token, or the position is outside of the prompt.
    """
    import torch

    from fluoroscope.methods import decomposition

    trace = model.trace(prompt, sites=decomposition.sites_needed(model, grain))
    slot = trace.tokens.slots(0, [position])[0]
    target_id = int(trace.logits[0, slot].argmax()) if target is None else model.single_token(target)
    foil_id = None if foil is None else model.single_token(foil)
    weights = torch.zeros(model.d_vocab, dtype=torch.float64)
    weights[target_id] += 1
    if foil_id is not None:
        weights[foil_id] -= 1
    parts = decomposition.decompose(model, trace, slot, weights, grain)
    logit = decomposition.linear_logit(model, trace, slot, weights)
    total, size = sum(part.value for part in parts), sum(abs(part.value) for part in parts)
    return LogitAttribution(
        recipe=trace.recipe,
        prompt=trace.tokens.pieces[0],
        position=slot,
        target=model.token_label(target_id),
        target_id=target_id,
        foil=None if foil_id is None else model.token_label(foil_id),
        foil_id=foil_id,
        logit=logit,
        total=total,
        error=total - logit,
        softcap=model.architecture.softcap,
        parts=[
            Contribution(
                name=part.name,
                label=part.site.label if part.site else part.name,
                site=part.name if part.site else None,
                layer=part.layer,
                value=part.value,
                share=abs(part.value) / size if size else 0.0,
            )
            for part in parts
        ],
        cumulative=[sum(p.value for p in parts if p.layer <= layer) for layer in range(-1, model.n_layers)],
        top_k=top_k,
    )
