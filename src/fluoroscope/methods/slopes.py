"""The slope of a metric at the values of a run: one forward pass with a graph, one backward pass for all sites.

Weights get no gradients, whether they ask for them or not; the unembedding is computed at the last token alone, and
of the tokens that a linear metric reads.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fluoroscope.errors import ArgumentError
from fluoroscope.interventions import Intervention, replace
from fluoroscope.metrics import Metric
from fluoroscope.progress import track
from fluoroscope.run import Edits
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model

Score = Metric | Callable[[Float[Tensor, "row d_vocab"]], Float[Tensor, "row"]]

Path = Literal["inputs", "values"]
"""What moves from one run to the other: what enters the first block, or each part's own values."""

Way = tuple[Site, Tensor, Tensor]
"""A site, its values at the start, and the difference to those at the end."""

_TOKENS_AT_ONCE = 1024
MOST_STEPS = 1024


class Slopes:
    """A run whose score can be differentiated at its values.

    Args:
        model: whose run it is.
        tokens: the prompts, one a row; each is scored after its last token.
        sites: whole sites whose values and gradients are wanted. The gradient at resid_mid is that at attn_out.
        metric: the score of each row.
        edits: values that are set on the way, and take part in the graph from there on only.
        held: whole sites whose values are kept too; gradients through them can be dropped.

    Attributes:
        values: of `sites` and `held`, [row, ...].
        scores: Float[Tensor, "row"], detached.

    Raises:
        ArgumentError: a metric without gradient.
        UnavailableError: this model does not offer a site.
    """

    def __init__(
        self,
        model: "Model",
        tokens: Tokens,
        sites: Sequence[Site],
        metric: Score,
        edits: Mapping[Site, Intervention] | None = None,
        held: Sequence[Site] = (),
    ) -> None:
        if isinstance(metric, Metric) and not metric.differentiable:
            raise ArgumentError(
                f"{metric.name} has no gradient",
                "Take log_probability or logit_diff, or patch exactly where that is offered.",
            )
        self.sites = tuple(sites)
        wanted = {*sites, *map(written, sites), *held}
        given: dict[str | Site, list[Intervention]] = {site: [made, _leaf] for site, made in (edits or {}).items()}
        for site in _roots({*wanted, *(edits or {})}):
            given.setdefault(site, []).append(_leaf)
        trace = run(model, tokens, wanted, given, grad=True)
        with torch.enable_grad():
            self._scores = scored(model, trace, metric)
        if not self._scores.requires_grad:
            raise ArgumentError("the metric's score has no gradient", "It must stay in the graph of its logits.")
        self._values = {site: trace[site] for site in wanted}
        self.values = {site: trace[site].detach() for site in (*sites, *held)}
        self.scores = self._scores.detach()

    def gradients(self, dropped: Sequence[Site] = (), *, last: bool = True) -> dict[Site, Tensor]:
        """Of the scores' sum at each of `sites`; each row's score depends on its own values alone.

        Args:
            dropped: of those `held`: sites through which no gradient flows.
            last: whether the graph is of no more use.

        Raises:
            ArgumentError: it is not finite, as that of a distance at the place that it is measured from.
        """
        hooks = [self._values[site].register_hook(torch.zeros_like) for site in dropped]
        try:
            found = torch.autograd.grad(
                self._scores.sum(), [self._values[written(site)] for site in self.sites],
                retain_graph=not last, allow_unused=True, materialize_grads=True,
            )  # fmt: skip
        finally:
            for hook in hooks:
                hook.remove()
        if not all(bool(gradient.isfinite().all()) for gradient in found):
            raise ArgumentError(
                "the metric's gradient is not finite in this run", "A distance has none where it is 0: start elsewhere."
            )
        return dict(zip(self.sites, found, strict=True))


def _leaf(value: Tensor) -> Tensor:
    return value.detach().requires_grad_()


def written(site: Site) -> Site:
    """Where a site is set and its gradient taken: the stream between attention and MLP through what attention adds."""
    return Site("attn_out", site.layer) if site.name == "resid_mid" else site


def _roots(sites: set[Site]) -> list[Site]:
    """Where the graph begins: below all that is wanted, so that the embedding and earlier blocks are none of it."""
    embedded = [site for site in sites if site.layer is None and "embed" in site.name]
    return embedded or [Site("resid_pre", min(site.layer or 0 for site in sites))]


def run(
    model: "Model", tokens: Tokens, sites: Collection[Site], edits: Edits | None = None, *, grad: bool = False
) -> Trace:
    """A trace that `scored` can score: with the last residual, and without logits where these are made of it."""
    whole = ("unembed", None) in model.unavailable
    end = [] if whole else [Site("resid_post", model.n_layers - 1)]
    return model.trace(tokens, sorted({*sites, *end}), edits, logits=whole, grad=grad)


def scored(
    model: "Model", trace: Trace, metric: Score, slots: Int64[Tensor, "row"] | None = None
) -> Float[Tensor, "row"]:
    """The metric at a slot of each row, by default after its last token."""
    whole = ("unembed", None) in model.unavailable
    end = trace[Site("logits") if whole else Site("resid_post", model.n_layers - 1)]
    slots = trace.tokens.last if slots is None else slots
    last = end[torch.arange(len(end), device=end.device), slots.to(end.device)]
    if whole:
        return metric(last)
    if isinstance(metric, Metric) and metric.weights is not None and metric.reads is not None:
        return metric.of_read(model.unembed(last, tokens=metric.reads.to(last.device)))
    return metric(model.unembed(last))


def along(model: "Model", base: Tokens, sites: Sequence[Site], metric: Score, way: Way, steps: int) -> Iterator[Slopes]:
    """Runs at the midpoints of `steps` equal parts of a way, several of them as rows of one: point by point all pairs.

    Raises:
        ArgumentError: fewer than one step.
    """
    if not 1 <= steps <= MOST_STEPS:
        raise ArgumentError(
            f"{steps:,} steps are no way from one run to the other",
            f"Give 1 to {MOST_STEPS:,}; the error falls as the square of their number.",
        )
    moved, start, difference = way
    together = max(1, _TOKENS_AT_ONCE // base.ids.numel())
    for first in track(range(0, steps, together), "integrated gradients"):
        points = torch.arange(first, min(first + together, steps), dtype=start.dtype, device=start.device)
        count = len(points)
        share = ((points + 0.5) / steps).view(-1, 1, *[1] * (start.dim() - 1))
        values = (start + share * difference).flatten(0, 1)
        rows = Tokens(base.ids.repeat(count, 1), base.mask.repeat(count, 1), base.pad, base.tokenizer)
        own = metric.at(list(range(len(base))) * count) if isinstance(metric, Metric) else metric
        yield Slopes(model, rows, sites, own, {moved: replace(values)})


def check_pairs(base: Tokens, donor: Tokens) -> None:
    """Refuses prompts that are not row by row of equal length.

    Raises:
        ArgumentError: they are not.
    """
    if base.mask.shape == donor.mask.shape and torch.equal(base.mask, donor.mask):
        return
    lengths = [tokens.lengths.tolist() for tokens in (base, donor)]
    raise ArgumentError(
        f"the prompts have {lengths[0]} and {lengths[1]} tokens",
        "Reword one of a pair until both have as many; fluoro tokens shows the tokens of a text.",
    )
