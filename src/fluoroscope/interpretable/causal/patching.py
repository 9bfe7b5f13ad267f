"""Patching of layers, heads and paths, and the causal trace, under mlxterp's names.

Clean values go into the corrupted prompt, as there, and effects are recoveries, 0 the corrupted prompt and 1 the clean
one. What there is absorbed (a component that is missing, prompts of unequal length, a token that is none) is an error.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from fluoroscope import causal_trace as traces
from fluoroscope import offer
from fluoroscope.errors import ArgumentError
from fluoroscope.interpretable import recoveries
from fluoroscope.interpretable.opened import numbered, xray
from fluoroscope.interpretable.patching_results import Nested, PatchingResult, PathEffect
from fluoroscope.interpretable.recoveries import Own
from fluoroscope.methods import confidence, paths
from fluoroscope.methods.sweeps import Effects, Part, Sweep
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.interpretable.model import InterpretableModel
    from fluoroscope.model import Model, Prompt


def activation_patching(
    model: "InterpretableModel | Model",
    clean: "Prompt",
    corrupted: "Prompt",
    layers: Sequence[int] | None = None,
    component: str = "resid_post",
    metric: str | Own | None = "l2",
    positions: Sequence[int] | Literal["all"] | None = None,
    metric_kwargs: Mapping[str, Any] | None = None,
    verbose: bool = False,
) -> PatchingResult:
    """Puts the clean value of a component into the corrupted prompt, layer by layer, and measures what comes back.

    Args:
        clean: a prompt, or several, each with the corrupted one of its index; of several the effects are means.
        layers: which; None for all.
        component: resid_post, resid_pre, attn, mlp, attn_head (every head by itself), or any other site or path.
        metric: a name that `metrics.make` or mlxterp knows, or a function of one's own; every token of the vocabulary
            takes part in l2. None is logit_diff where `metric_kwargs` names tokens, else l2.
        positions: token indices, each patched by itself; "all" for every one; None patches all of them at once.
        metric_kwargs: `correct_token` and `incorrect_token`, as id or text of one token, for metrics of an answer;
            without them what the two runs say themselves. A function of one's own gets them all.
        verbose: print what was found.

    Raises:
        ArgumentError: prompts of unequal length, scored alike or not in pairs; an unknown metric or keyword.
        SiteError, UnavailableError: a layer or component that this model does not have.
        TokenError: no such position, or a token that is not one.
    """
    sites = _sites(model := xray(model), component, layers)
    sweep = recoveries.pairs(model, clean, corrupted, [sites[0].name])
    made, name = recoveries.made(model, sweep, metric, metric_kwargs)
    places = _places(sweep, positions)
    units = model.n_heads if component == "attn_head" else None
    chosen = sites if units is None else [Site(site.name, site.layer, head) for site in sites for head in range(units)]
    effects = sweep.effects([Part((s,), None if p is None else (p,)) for s in chosen for p in places or [None]], made)
    values = effects.scores if (own := recoveries.is_own(metric)) else effects.shares
    shape = [len(sites), *([] if units is None else [units]), *([] if places is None else [len(places)])]
    low, high = confidence.interval(values.T) if values.shape[1] > 1 else (None, None)
    result = PatchingResult(
        recipe=sweep.replay.trace.recipe,
        component=component,
        site=sites[0].name,
        layers=[site.layer or 0 for site in sites],
        heads=units,
        positions=None if places is None else tuple(places),
        tokens=tuple(sweep.sides[0][0].labels[0]) if len(sweep.changed) == 1 else (),
        metric_name=name,
        normalised=not own,
        pairs=len(sweep.changed),
        effects=_nested(values.mean(1), shape),
        low=None if low is None else _nested(low, shape),
        high=None if high is None else _nested(high, shape),
        scores=_nested(effects.scores.mean(1), shape),
        **_ends(effects, own=own),
        **_prompts(sweep),
    )
    if verbose:
        print(result.summary())
    return result


def path_patching(
    model: "InterpretableModel | Model",
    clean: "Prompt",
    corrupted: "Prompt",
    sender: "str | Site | Sequence[str]",
    receiver: "str | Site | Sequence[str] | None" = None,
    metric: str | Own | None = "l2",
    sender_layer: int | None = None,
    receiver_layer: int | None = None,
    metric_kwargs: Mapping[str, Any] | None = None,
    hold_mlps: bool = True,
) -> PathEffect:
    """What senders with clean values do to the corrupted answer through what the receivers read, and nothing else.

    Args:
        sender: heads (L7H2), whole attentions, MLPs or embed; with `sender_layer` the name of a component.
        receiver: heads (their queries, keys and values), single ones of these (q.9.6), whole attentions or MLPs;
            without it the direct path to the logits. With `receiver_layer` the name of a component.
        metric: as for `activation_patching`.
        hold_mlps: freezes MLPs between them too; without it differences also pass through these, as in Wang et al.

    Raises:
        ArgumentError: a part that sends or receives nothing, and as `activation_patching`.
        SiteError, UnavailableError: a part that this model does not have.
    """
    model = xray(model)
    paths.check(model, hold_mlps=hold_mlps)
    sending = [_sender(site) for site in _named(model, sender, sender_layer)]
    reading = [Site("logits")]
    if receiver is not None:
        found = [each for site in _named(model, receiver, receiver_layer) for each in _receivers(model, site)]
        reading = list(dict.fromkeys(found))
    before = {site.whole for site in paths.senders(model, reading)}
    if late := [site for site in sending if site.whole not in before]:
        raise ArgumentError(
            f"{late[0]} does not compute before what should read it, so nothing comes of it", "Name an earlier sender."
        )
    sweep = recoveries.pairs(model, clean, corrupted, paths.needed(reading))
    made, name = recoveries.made(model, sweep, metric, metric_kwargs)
    effects = paths.effects(sweep, [Part(tuple(sending))], reading, made, hold_mlps=hold_mlps)
    held = paths.held(model, sending, reading, hold_mlps=hold_mlps)
    own = recoveries.is_own(metric)
    return PathEffect(
        recipe=sweep.replay.trace.recipe,
        senders=tuple(map(str, sending)),
        receivers=tuple(map(str, reading)),
        n_frozen=sum(model.n_heads if site.name == "z" else 1 for site in held),
        metric_name=name,
        normalised=not own,
        effect=float((effects.scores if own else effects.shares).mean()),
        score=float(effects.scores.mean()),
        **_ends(effects, own=own),
        **_prompts(sweep),
    )


def causal_trace(model: "InterpretableModel | Model", clean: "Prompt", corrupted: "Prompt") -> "CausalTrace":
    """A pair of prompts for several patches at once; `with` is allowed, and not needed."""
    return CausalTrace(model, clean, corrupted)


class CausalTrace:
    """`fluoroscope.CausalTrace` under mlxterp's names; clean values go into the corrupted prompt."""

    def __init__(self, model: "InterpretableModel | Model", clean: "Prompt", corrupted: "Prompt") -> None:
        self.model = xray(model)
        self._trace = traces.CausalTrace(self.model, clean, corrupted)

    def __enter__(self) -> "CausalTrace":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def patch(self, component: str, positions: Any = None, layer: int | None = None) -> None:
        """Adds a patch: a site or path, or with `layer` the name of a component; refuses a value that has one already.

        Raises as `fluoroscope.CausalTrace.patch` does.
        """
        self._trace.patch(self._site(component, layer), positions)

    def metric(self, metric_fn: str | Own = recoveries.BARE, **kwargs: Any) -> float:
        """How much of the way from the corrupted prompt to the clean one the patches go together; or what a function
        of (patched, clean, corrupted, **kwargs), logits [1, d_vocab] at the end, says.

        Raises as `fluoroscope.CausalTrace.metric` does, and for unknown keywords.
        """
        if not isinstance(metric_fn, str):
            ends = [logits[:, -1] for logits in (self.output, self.clean_output, self.corrupted_output)]
            return float(metric_fn(*ends, **kwargs))
        return self._trace.metric(metric_fn, **recoveries.tokens(kwargs)).share

    def get_clean_activation(self, component: str, layer: int | None = None) -> Tensor:
        """What a site holds in the clean run."""
        return self._trace.value(self._site(component, layer))

    @property
    def output(self) -> Tensor:
        """Logits [1, pos, d_vocab] of the corrupted prompt with all patches; from here on none can be added."""
        return self._trace.logits

    @property
    def clean_output(self) -> Tensor:
        """Of the clean prompt."""
        return self._trace.clean_logits

    @property
    def corrupted_output(self) -> Tensor:
        """Of the corrupted prompt as it is."""
        return self._trace.corrupted_logits

    def _site(self, component: str, layer: int | None) -> Site:
        return self.model.site(component) if layer is None else offer.component(self.model, component, layer)


# ── prompts and parts ──────────────────────────────────────────────────────────────────────────


def _sites(model: "Model", component: str, layers: Sequence[int] | None) -> list[Site]:
    """The component of each layer, whole; of all that have it without layers."""
    return [offer.component(model, component, layer).whole for layer in numbered(model, layers)]


def _places(sweep: Sweep, positions: Sequence[int] | Literal["all"] | None) -> list[int] | None:
    """Token indices from 0, which all pairs have."""
    if positions is None:
        return None
    lengths = {len(side.rows[0]) for side in sweep.sides[0]}
    if len(lengths) > 1:
        raise ArgumentError(
            f"positions of pairs of {sorted(lengths)} tokens are not the same places", "Give pairs of one length."
        )
    chosen = range(lengths.pop()) if positions == "all" else positions
    if isinstance(chosen, str) or not chosen:
        raise ArgumentError(f"positions={positions!r} names no token", 'Give indices, or "all".')
    return list(dict.fromkeys(sweep.position(position) for position in chosen))


def _named(model: "Model", names: "str | Site | Sequence[str]", layer: int | None) -> list[Site]:
    listed = [names] if isinstance(names, str | Site) else list(names)
    if not listed:
        raise ArgumentError("a path has two ends, and one of them is empty", "Name heads, attentions or MLPs.")
    return [
        model.site(name) if layer is None or isinstance(name, Site) else offer.component(model, name, layer)
        for name in listed
    ]


def _sender(site: Site) -> Site:
    """What is patched: a whole attention is all of its heads."""
    if site.name == "attn_out":
        return Site("z", site.layer)
    if site.name not in ("z", "mlp_out", "embed"):
        raise ArgumentError(f"{site} sends nothing by itself", "Name heads (L7H2), attentions, MLPs or embed.")
    return site


def _receivers(model: "Model", site: Site) -> list[Site]:
    """What a part reads by."""
    if site.name == "attn_out" or (site.name == "z" and site.unit is None):
        return [Site(letter, site.layer) for letter in "qkv"]
    if site.name == "z":
        return [paths.receiver(model, site, reads) for reads in ("q", "k", "v")]
    return [site]


def _nested(values: Tensor, shape: Sequence[int]) -> Nested:
    def tuples(value: Any) -> Any:
        return tuple(map(tuples, value)) if isinstance(value, list) else value

    return tuples(values.reshape(*shape).tolist())


def _prompts(sweep: Sweep) -> dict[str, Any]:
    """The texts of both sides, as the model reads them."""
    sides = zip(("clean", "corrupted"), sweep.sides, strict=True)
    return {name: tuple("".join(tokens.pieces[0]) for tokens in side) for name, side in sides}


def _ends(effects: Effects, *, own: bool) -> dict[str, Any]:
    """Mean scores of both sides; a function of one's own has none, for it compares them itself."""
    clean, corrupted = (None if own else float(side.mean()) for side in (effects.clean, effects.corrupted))
    return {"clean_score": clean, "corrupted_score": corrupted}
