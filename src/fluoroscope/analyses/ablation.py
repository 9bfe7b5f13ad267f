"""What the prediction loses without a part: heads and MLPs set to zero, alone and together.

Unlike direct attribution this is causal: it counts what later parts do with a part's output, and what they do to make
up for its absence (McGrath et al. 2023, "The Hydra Effect"). Zero is far from what some parts write on average, so a
large effect may also mean that the model was thrown off course.
"""

from typing import TYPE_CHECKING

from fluoroscope import contrasted, offer
from fluoroscope.contrasted import Contrasted
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import contrast, effects, readout
from fluoroscope.methods.ablation import without
from fluoroscope.methods.contrast import Contrast
from fluoroscope.render.text import number, percent, quoted
from fluoroscope.result import Record
from fluoroscope.sites import Site, by_layer
from fluoroscope.views import Bar, Bars, HeadGrid, View

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.model import Model

THEME = "Causes"


class Removal(Record):
    """What is left without some sites.

    Args:
        sites: canonical names of what was set to zero at every position.
        label: their names for people.
        probability: of the target, without them; of a set, that one of its tokens comes.
        effect: change of its logarithm, in nats; negative where the parts had helped.
        difference: change of the lead, in logits; None without a foil.
        leads: the token that is likeliest without them.
    """

    sites: tuple[str, ...]
    label: str
    probability: float
    effect: float
    difference: float | None
    leads: str
    leads_id: int

    @property
    def change(self) -> float:
        """The difference where there is a foil, else the effect."""
        return self.effect if self.difference is None else self.difference


class Ablation(Contrasted):
    """The effect of removing parts on one prediction.

    Args:
        tokens: the prompt, as the model reads it.
        position: index of the token after which the prediction is made.
        probability: of the target, with everything in place.
        lead: its mean logit minus that of the foil, behind any softcap; None without a foil.
        removals: one per part, in the order asked for.
        joint: all of the `top_k` parts that help by more than nothing, removed at once; None if none does.
        top_k: how many parts the bars name.
    """

    tokens: tuple[str, ...]
    position: int
    probability: float
    lead: float | None
    removals: tuple[Removal, ...]
    joint: Removal | None
    top_k: int

    def top(self) -> list[Removal]:
        """The `top_k` removals of largest absolute change, largest first."""
        return _largest(self.removals, self.top_k)

    def least(self) -> float:
        """The change that is worth a word, in nats, or of a lead in logits."""
        return effects.NOTHING if self.lead is None else effects.worth(self.lead)

    def summary(self) -> str:
        after = quoted(self.tokens[self.position])
        kept = (
            f"{quoted(self.target)} has {percent(self.probability)} after {after}"
            if self.lead is None
            else f"The {self.asked()} after {after} is {number(self.lead)} logits"
        )
        if self.joint is None:
            return f"{kept}; {self._unharmed()}."
        first = min(self.removals, key=lambda removal: removal.change)
        alone = f"without {first.label} {self._left(first)}"
        if len(self.joint.sites) == 1:
            return f"{kept}; {alone}, where {quoted(first.leads)} leads."
        together = f"without the {len(self.joint.sites)} that help most together {self._left(self.joint)}"
        return f"{kept}; {alone}, {together}, where {quoted(self.joint.leads)} leads."

    def _unharmed(self) -> str:
        """What is said where no part that was removed had helped."""
        most = max(self.removals, key=lambda removal: removal.change)
        if most.change >= self.least():
            return f"no part that was removed had helped it, and without {most.label} it rises to {self._left(most)}"
        parts = most.label if len(self.removals) == 1 else f"any one of {len(self.removals)} parts"
        return f"removing {parts} changes next to nothing"

    def views(self) -> list[View]:
        bars = [self._bar(removal, removal.label) for removal in self.top()]
        if self.joint is not None and len(self.joint.sites) > 1:
            bars.append(self._bar(self.joint, f"{len(self.joint.sites)} together"))
        measured = (
            "log-probability: -0.69 halves the probability. Then what is left of it"
            if self.lead is None
            else f"lead, one logit minus the other, from {number(self.lead)}. Then the probability that is left of "
            f"{quoted(self.target)}"
        )
        chart = Bars(
            title=f"What the {self.asked()} loses without each part"
            if self.foil
            else f"What {quoted(self.target)} loses without each part",
            caption="A causal check: the part is set to zero at every position, and the model runs on. Change of the "
            f"{measured}, and who leads instead.",
            unit="nats" if self.lead is None else "logits",
            signed=True,
            reach=effects.REACH * self.least(),
            items=tuple(bars),
        )
        grid = self._grid()
        return [chart, *([] if grid is None else [grid])]

    def _left(self, removal: Removal) -> str:
        """What is left of the probability, or of the lead."""
        return percent(removal.probability) if self.lead is None else number(self.lead + removal.change)

    def _bar(self, removal: Removal, label: str) -> Bar:
        instead = "" if removal.leads_id in self.target_ids else f", {quoted(removal.leads)}"
        site = removal.sites[0] if len(removal.sites) == 1 else None
        return Bar(label=label, value=removal.change, remark=f"{percent(removal.probability)}{instead}", site=site)

    def _grid(self) -> HeadGrid | None:
        """All heads, if all were removed."""
        heads = {each.sites[0]: each.change for each in self.removals if Site.parse(each.sites[0]).name == "z"}
        rows = by_layer(heads)
        if not heads or sum(map(len, rows)) != len(heads):
            return None
        return HeadGrid(
            title="Without each head", caption="A row is a block, a column a head in it.", values=rows,
            unit="nats" if self.lead is None else "logits", reach=effects.REACH * self.least(),
        )  # fmt: skip


def ablation(
    model: "Model",
    prompt: str,
    *,
    target: str | None = None,
    foil: str | None = None,
    sites: list[str] | None = None,
    position: int = -1,
    top_k: int = 10,
) -> Ablation:
    """Removes parts of the model and measures what that does to a prediction.

    Args:
        prompt: the text whose next token is looked at.
        target: the token to watch, as text or id (#338), or several (" Mary| Anna"), of which one is to come; without
            it the model's own prediction.
        foil: a token, or several, whose mean logit is taken off: what the parts do for the target rather than for this.
        sites: what to remove, in any spelling, such as L3H1 or mlp_out.*; without it every head and every MLP.
        position: index of the token after which to predict; negative counts from the end.
        top_k: how many parts to name, and at most to remove together.

    Raises:
        ArgumentError: `top_k` below 1, no site, or a token that is in target and foil.
        TokenError: target or foil is not one token or a set of them, or the prompt has no such position.
        SiteError, UnavailableError, EditError: a site that does not exist here, or cannot be written.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    chosen = _every_part(model) if sites is None else list(dict.fromkeys(offer.expand(model, sites)))
    if not chosen:
        raise ArgumentError("no site was given, so nothing is removed", "Name sites, or leave them out for all.")
    asked = contrast.asked(model, target, foil)
    trace = model.trace(prompt)
    slot = readout.only_slot(trace.tokens, position)
    whole = readout.log_probs(trace.logits[0, slot].double())
    about, ids = asked.at(whole), trace.tokens.ids[0].tolist()

    def removals(variants: list[list[Site]]) -> tuple[Removal, ...]:
        log_p = readout.log_probs(without(model, ids, variants, slot).double())
        return tuple(_removal(model, sites, about, whole, after) for sites, after in zip(variants, log_p, strict=True))

    lead = float(about.score(whole)) if about.foil else None
    alone = removals([[site] for site in chosen])
    least = effects.NOTHING if lead is None else effects.worth(lead)
    helpers = [Site.parse(each.sites[0]) for each in _largest(alone, top_k) if each.change <= -least]
    return Ablation(
        recipe=trace.recipe,
        tokens=tuple(trace.tokens.labels[0]),
        position=slot,
        **contrasted.named(model, about),
        probability=float(about.log_probability(whole).exp()),
        lead=lead,
        removals=alone,
        joint=removals([helpers])[0] if helpers else None,
        top_k=top_k,
    )


def _removal(model: "Model", sites: list[Site], about: Contrast, before: "Tensor", after: "Tensor") -> Removal:
    """Compares the log-probabilities without some sites with those of the plain run."""
    leader = int(after.argmax())
    return Removal(
        sites=tuple(str(site) for site in sites),
        label=", ".join(site.label for site in sites),
        probability=float(about.log_probability(after).exp()),
        effect=float(about.log_probability(after) - about.log_probability(before)),
        difference=float(about.score(after) - about.score(before)) if about.foil else None,
        leads=model.token_label(leader),
        leads_id=leader,
    )


def _every_part(model: "Model") -> list[Site]:
    heads = [Site(site.name, site.layer, unit) for site in model.sites("z") for unit in range(model.n_heads)]
    return [*heads, *model.sites("mlp_out")]


def _largest(removals: tuple[Removal, ...], top_k: int) -> list[Removal]:
    return sorted(removals, key=lambda removal: -abs(removal.change))[:top_k]
