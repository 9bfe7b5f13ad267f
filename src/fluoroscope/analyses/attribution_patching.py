"""What patching every part would do: one backward pass, checked where it says most.

The estimate is the first-order effect of giving one part its value in the other prompt: difference of the two runs ·
gradient of the metric. The largest are then patched in truth, so that the result says what the estimates are worth.
Nanda 2023, "Attribution Patching: Activation Patching At Industrial Scale"; repairs after Kramár et al. 2024, "AtP*".
"""

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from fluoroscope import metrics, patched
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError, UnavailableError, nearest
from fluoroscope.methods import attribution_patching as methods
from fluoroscope.methods import contrast, sweeps
from fluoroscope.methods.attribution_patching import Estimates
from fluoroscope.methods.ranks import spearman
from fluoroscope.methods.sweeps import Part, Sweep
from fluoroscope.metrics import Metric
from fluoroscope.patched import Patched
from fluoroscope.render.text import number, quoted, share
from fluoroscope.result import Record
from fluoroscope.signature import AnyMetric, AnyPrompt, AnyToken, Direction
from fluoroscope.sites import SITES, Site
from fluoroscope.views import Bar, Bars, Heatmap, Mark, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Causes"

KINDS = (
    "z", "q", "k", "v", "pattern", "neurons", "attn_out", "mlp_out", "resid_pre", "resid_mid", "resid_post",
    "q_proj", "k_proj", "v_proj",
)  # fmt: skip
_BY = {
    "linear": "one backward pass", "softmax": "one backward pass and the true softmax of each head",
    "atp-star": "AtP*: the true softmax of each head, and one backward pass for each block's attention dropped",
    "inputs": "gradients integrated between the prompts' embeddings",
    "values": "gradients integrated between the parts' own values",
}  # fmt: skip


_INTEGRATED = ("inputs", "values")
Method = Literal["linear", "softmax", "atp-star", "inputs", "values"]


class Kind(Record):
    """The estimates of one kind of site, as shares of the way to the other prompt's score.

    Args:
        units: whether columns are heads or neurons, patched at all tokens; otherwise they are tokens.
        shares: `[layer][unit]` or `[layer][position]`, one row for each of `layers`.
        by_position: `[layer][unit][position]`, patched at one token alone, if asked for.
    """

    site: str
    layers: tuple[int, ...]
    units: bool
    shares: tuple[tuple[float, ...], ...]
    by_position: tuple[tuple[tuple[float, ...], ...], ...] | None = None


class Checked(Record):
    """A part with its estimate and its exact effect, as shares of the way.

    Args:
        position: the index of the token at which it is patched; None for all of them.
    """

    site: str
    position: int | None
    estimate: float
    exact: float


class AttributionPatching(Patched):
    """Estimated effects of every part, and the exact ones of those that seem largest.

    Args:
        method: how they were estimated; `steps` on the way where that is by integrated gradients, else None.
        kinds: one entry for each kind of site.
        checked: the largest estimates, with the exact effects; the largest first.
        agreement: Spearman's rank correlation of both over `checked`; None for fewer than three.
    """

    method: Method
    steps: int | None
    kinds: tuple[Kind, ...]
    checked: tuple[Checked, ...]
    agreement: float | None

    def summary(self) -> str:
        asked = f"of the {self.asked()} ({self.gap()})"
        if not self.checked:
            estimated = f"What each part {self.verb()} {asked} is estimated by {_BY[self.method]}"
            return f"{self.partial()}{estimated}; nothing was checked.{self.doubts()}"
        first, verb = self.checked[0], self.verb()
        told = (
            f"{self.partial()}{self._label(first)} {verb} {share(first.exact)} {asked}, estimated at "
            f"{share(first.estimate)} by {_BY[self.method]}"
        )
        if self.agreement is None:
            return f"{told}.{self.doubts()}"
        return (
            f"{told}; the {len(self.checked)} largest estimates and their exact effects have a rank correlation of "
            f"{number(self.agreement)}.{self.doubts()}"
        )

    def views(self) -> list[View]:
        largest = Bars(
            title=f"How much of the {self.asked()} a part {self.verb()}: the largest estimates",
            caption=f"By {_BY[self.method]}; beside each bar the exact effect. {self.caption()}",
            unit="share",
            signed=True,
            items=tuple(
                Bar(label=self._label(each), value=each.estimate, remark=f"exactly {share(each.exact)}", site=each.site)
                for each in self.checked
            ),
        )
        return [*([largest] if self.checked else []), *(self._heatmap(kind) for kind in self.kinds if _drawn(kind))]

    def _heatmap(self, kind: Kind) -> Heatmap:
        heads = tuple(Mark(label=f"H{unit}") for unit in range(len(kind.shares[0])))
        meaning = SITES[kind.site].meaning
        columns = heads if kind.units else tuple(Mark(label=self._token(place)) for place in range(len(self.clean)))
        return Heatmap(
            title=f"Estimates for {kind.site}",
            caption=f"{meaning[0].upper()}{meaning[1:]}. A row is a block, a column "
            + ("a head in it, at all tokens." if kind.units else "a token of the clean prompt."),
            unit="share",
            signed=True,
            rows=tuple(Mark(label=f"{kind.site}.{layer}", site=f"{kind.site}.{layer}") for layer in kind.layers),
            columns=columns,
            values=kind.shares,
        )

    def _label(self, part: Checked) -> str:
        label = Site.parse(part.site).label
        return label if part.position is None else f"{label} at {self._token(part.position)}"

    def _token(self, position: int) -> str:
        return f"{quoted(self.clean[position])} {position}"


@checked
def attribution_patching(
    model: "Model",
    clean: AnyPrompt,
    corrupted: AnyPrompt,
    *,
    answer: AnyToken | None = None,
    foil: AnyToken | None = None,
    sites: list[str] | None = None,
    by_position: bool = False,
    metric: AnyMetric = "logit_diff",
    direction: Direction = "denoise",
    method: Literal["linear", "softmax", "atp-star", "inputs", "values"] = "linear",
    steps: int = 10,
    top_k: int = 10,
    budget: int = 1024,
) -> AttributionPatching:
    """Estimates what patching every part would do to the answer, from one backward pass, and checks the largest.

    Args:
        clean: the prompt that is answered as it should be.
        corrupted: one of as many tokens that is answered otherwise.
        answer: the token that is right, as text or id (#338), or several (" Mary| Anna"); without it the model's own
            prediction after the clean prompt.
        foil: the token it is held against; without it the model's own prediction after the corrupted prompt.
        sites: kinds of parts, such as z, mlp_out, neurons, q or resid_pre; without them heads (z) and mlp_out.
        by_position: heads at each token apart; neurons are always patched at all tokens.
        metric: what is measured at the end of the prompt; rank has no gradient.
        direction: denoise puts clean values into the corrupted prompt (what is enough), noise the reverse (what is
            needed).
        method: linear; softmax, the true one for queries and keys; atp-star, also the mean size over backward passes
            that each drop one block's attention; or gradients integrated between the inputs, or the parts' own values.
        steps: points of the integral, one backward pass each.
        top_k: how many of the largest estimates to check by patching them; 0 checks none.
        budget: megabytes that this check may hold beside the model and the two runs.

    Raises:
        ArgumentError: prompts of unequal length, the same or scored alike, an unknown kind, a metric without a slope.
        TokenError: answer or foil is not one token or a set of them.
        UnavailableError: this model has no such values.
    """
    names = _names(model, sites)
    _check(metric, direction, method, top_k)
    sweep = Sweep(model, [(clean, corrupted)], names, direction, budget << 20)
    asked = contrast.asked(model, answer, foil)
    measured, told, against = sweeps.measure(model, sweep, metric, asked.target, asked.foil)
    found = _estimates(model, sweep, names, measured, method, steps)
    parts = _largest(found, names, top_k, by_position=by_position)

    def result(effects: sweeps.Effects) -> AttributionPatching:
        way = float((effects.clean - effects.corrupted)[0]) * (1 if direction == "denoise" else -1)
        return AttributionPatching(
            **patched.fields(model, sweep, effects, told, against),
            metric=metrics.resolve(metric),
            method=method,
            steps=steps if method in _INTEGRATED else None,
            kinds=tuple(_kind(found, name, way, by_position=by_position) for name in names),
            **_checked(parts, effects.shares[:, 0], way),
        )

    return sweeps.told(lambda: sweep.effects([_part(*part) for part in parts], measured), result)


def _estimates(model: "Model", sweep: Sweep, names: list[str], metric: Metric, method: Method, steps: int) -> Estimates:
    sides = reversed(sweep.sides) if sweep.direction == "denoise" else sweep.sides
    base, donor = (side[0] for side in sides)
    every = [site for name in names for site in model.sites(name)]
    if method in ("inputs", "values"):
        return methods.integrated(model, base, donor, every, metric, steps=steps, path=method)
    return methods.linear(model, base, donor, every, metric, softmax=method != "linear", drop=method == "atp-star")


def _checked(parts: "list[Largest]", exact: Tensor, way: float) -> dict[str, Any]:
    """The fields about what was patched in truth, as far as it was."""
    estimates = torch.tensor([value for value, _, _ in parts], dtype=torch.float64) / way
    there = ~exact.isnan()
    rows = zip(parts, estimates.tolist(), exact.tolist(), there.tolist(), strict=True)
    checked = tuple(
        Checked(site=str(site), position=place, estimate=guess, exact=truth)
        for (_, site, place), guess, truth, known in rows
        if known
    )
    return {"checked": checked, "agreement": spearman(estimates[there], exact[there]) if len(checked) > 2 else None}


def _names(model: "Model", sites: list[str] | None) -> list[str]:
    names = list(dict.fromkeys(["z", "mlp_out"] if sites is None else sites))
    if not names:
        raise ArgumentError("no kind of part was given", f"Known: {', '.join(KINDS)}.")
    for name in names:
        if name not in KINDS:
            raise ArgumentError(f"{name!r} is no kind of part", nearest(name, KINDS))
        if not model.sites(name):
            raise UnavailableError(f"{model.name} offers {name} on no block", f"{model.unavailable.get((name, 0), '')}")
    return names


def _check(metric: AnyMetric, direction: Direction, method: Method, top_k: int) -> None:
    """Refuses fewer than no parts, and a distance from the clean prediction at the clean prompt, where it is least."""
    if top_k < 0:
        raise ArgumentError(f"top_k={top_k} checks nothing", "Give 0 or more.")
    if direction == "noise" and "reference" in metrics.needs(metric) and method not in _INTEGRATED:
        raise ArgumentError(
            f"{metric} is measured from the clean prediction, where it has no slope",
            "Take direction='denoise', or method='inputs'.",
        )


Largest = tuple[float, Site, int | None]


def _largest(found: Estimates, names: list[str], top_k: int, *, by_position: bool) -> list[Largest]:
    """The largest estimates of all kinds together: value, site or unit, position."""
    sites = [site for name in names for site in found.cells if site.name == name]
    ranked: list[Largest] = []
    for site in sites:
        apart = not site.kind.unit or (by_position and site.name != "neurons")
        values = (found.cells if apart else found.whole)[site][0]
        for index in values.abs().flatten().topk(min(top_k, values.numel())).indices.tolist():
            place = index % values.shape[-1] if apart else None
            unit = None if not site.kind.unit else index // values.shape[-1] if apart else index
            ranked.append((float(values.flatten()[index]), Site(site.name, site.layer, unit), place))
    return sorted(ranked, key=lambda part: -abs(part[0]))[:top_k]


def _part(_: float, site: Site, place: int | None) -> Part:
    return Part((site,), None if place is None else (place,))


def _kind(found: Estimates, name: str, way: float, *, by_position: bool) -> Kind:
    units, sites = SITES[name].unit is not None, [site for site in found.cells if site.name == name]
    held = [(found.whole if units else found.cells)[site][0].double() / way for site in sites]
    split = units and by_position and name != "neurons"
    apart = [found.cells[site][0].double() / way for site in sites] if split else []
    return Kind(
        site=name,
        layers=tuple(site.layer or 0 for site in sites),
        units=units,
        shares=tuple(tuple(row.tolist()) for row in held),
        by_position=tuple(tuple(tuple(row) for row in layer.tolist()) for layer in apart) or None,
    )


def _drawn(kind: Kind) -> bool:
    """Neurons are too many for a picture."""
    return kind.site != "neurons"
