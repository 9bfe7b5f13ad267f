"""What the prediction loses without a part: heads and MLPs set to zero, alone and together.

Unlike direct attribution this is causal: it counts what later parts do with a part's output, and what they do to make
up for its absence (McGrath et al. 2023, "The Hydra Effect"). Zero is far from what some parts write on average, so a
large effect may also mean that the model was thrown off course.
"""

from typing import TYPE_CHECKING

from fluoroscope import offer
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import readout
from fluoroscope.methods.ablation import without
from fluoroscope.render.text import percent, quoted
from fluoroscope.result import Record, Result
from fluoroscope.sites import Site, by_layer
from fluoroscope.views import Bar, Bars, HeadGrid, View

if TYPE_CHECKING:
    from fluoroscope.model import Model


class Removal(Record):
    """What is left without some sites.

    Args:
        sites: canonical names of what was set to zero at every position.
        label: their names for people.
        probability: of the target, without them.
        effect: change of the target's log-probability, in nats; negative where the parts had helped.
        leads: the token that is likeliest without them.
    """

    sites: tuple[str, ...]
    label: str
    probability: float
    effect: float
    leads: str


class Ablation(Result):
    """The effect of removing parts on one prediction.

    Args:
        tokens: the prompt, as the model reads it.
        position: index of the token after which the prediction is made.
        probability: of the target, with everything in place.
        removals: one per part, in the order asked for.
        joint: all of the `top_k` parts that help, removed at once; None if none helps.
        top_k: how many parts the bars name.
    """

    tokens: tuple[str, ...]
    position: int
    target: str
    target_id: int
    probability: float
    removals: tuple[Removal, ...]
    joint: Removal | None
    top_k: int

    def top(self) -> list[Removal]:
        """The `top_k` removals of largest absolute effect, largest first."""
        return _largest(self.removals, self.top_k)

    def summary(self) -> str:
        kept = f"{quoted(self.target)} has {percent(self.probability)} after {quoted(self.tokens[self.position])}"
        if self.joint is None:
            return f"{kept}; no part that was removed had helped it."
        first = min(self.removals, key=lambda removal: removal.effect)
        alone = f"without {first.label} {percent(first.probability)}"
        if len(self.joint.sites) == 1:
            return f"{kept}; {alone}, where {quoted(first.leads)} leads."
        together = f"without the {len(self.joint.sites)} that help most together {percent(self.joint.probability)}"
        return f"{kept}; {alone}, {together}, where {quoted(self.joint.leads)} leads."

    def views(self) -> list[View]:
        bars = [self._bar(removal, removal.label) for removal in self.top()]
        if self.joint is not None and len(self.joint.sites) > 1:
            bars.append(self._bar(self.joint, f"{len(self.joint.sites)} together"))
        chart = Bars(
            title=f"What {quoted(self.target)} loses without each part",
            caption="A causal check: the part is set to zero at every position, and the model runs on. Change of the "
            "log-probability: -0.69 halves the probability. Then what is left of it, and who leads instead.",
            unit="nats",
            signed=True,
            items=tuple(bars),
        )
        grid = self._grid()
        return [chart, *([] if grid is None else [grid])]

    def _bar(self, removal: Removal, label: str) -> Bar:
        instead = "" if removal.leads == self.target else f", {quoted(removal.leads)}"
        site = removal.sites[0] if len(removal.sites) == 1 else None
        return Bar(label=label, value=removal.effect, remark=f"{percent(removal.probability)}{instead}", site=site)

    def _grid(self) -> HeadGrid | None:
        """All heads, if all were removed."""
        heads = {each.sites[0]: each.effect for each in self.removals if Site.parse(each.sites[0]).name == "z"}
        rows = by_layer(heads)
        if not heads or sum(map(len, rows)) != len(heads):
            return None
        return HeadGrid(
            title="Without each head", caption="A row is a block, a column a head in it.", unit="nats", values=rows
        )


def ablation(
    model: "Model",
    prompt: str,
    *,
    target: str | None = None,
    sites: list[str] | None = None,
    position: int = -1,
    top_k: int = 10,
) -> Ablation:
    """Removes parts of the model and measures what that does to a prediction.

    Args:
        prompt: the text whose next token is looked at.
        target: the token to watch, as text or id (#338); without it the model's own prediction.
        sites: what to remove, in any spelling, such as L3H1 or mlp_out.*; without it every head and every MLP.
        position: index of the token after which to predict; negative counts from the end.
        top_k: how many parts to name, and at most to remove together.

    Raises:
        ArgumentError: `top_k` below 1, or no site.
        TokenError: the target is not exactly one token, or the prompt has no such position.
        SiteError, UnavailableError, EditError: a site that does not exist here, or cannot be written.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    chosen = _every_part(model) if sites is None else list(dict.fromkeys(offer.expand(model, sites)))
    if not chosen:
        raise ArgumentError("no site was given, so nothing is removed", "Name sites, or leave them out for all.")
    trace = model.trace(prompt)
    slot = readout.only_slot(trace.tokens, position)
    whole = readout.log_probs(trace.logits[0, slot])
    target_id = int(whole.argmax()) if target is None else readout.token_id(model, target)
    ids = trace.tokens.ids[0].tolist()

    def removals(variants: list[list[Site]]) -> tuple[Removal, ...]:
        log_p = readout.log_probs(without(model, ids, variants, slot))
        return tuple(
            Removal(
                sites=tuple(str(site) for site in variant),
                label=", ".join(site.label for site in variant),
                probability=float(row[target_id].exp()),
                effect=float(row[target_id] - whole[target_id]),
                leads=model.token_label(int(row.argmax())),
            )
            for variant, row in zip(variants, log_p, strict=True)
        )

    alone = removals([[site] for site in chosen])
    helpers = [Site.parse(each.sites[0]) for each in _largest(alone, top_k) if each.effect < 0]
    return Ablation(
        recipe=trace.recipe,
        tokens=tuple(trace.tokens.pieces[0]),
        position=slot,
        target=model.token_label(target_id),
        target_id=target_id,
        probability=float(whole[target_id].exp()),
        removals=alone,
        joint=removals([helpers])[0] if helpers else None,
        top_k=top_k,
    )


def _every_part(model: "Model") -> list[Site]:
    heads = [Site(site.name, site.layer, unit) for site in model.sites("z") for unit in range(model.n_heads)]
    return [*heads, *model.sites("mlp_out")]


def _largest(removals: tuple[Removal, ...], top_k: int) -> list[Removal]:
    return sorted(removals, key=lambda removal: -abs(removal.effect))[:top_k]
