"""Attribution under mlxterp's names: what patching would do, from gradients, and what adds to a logit."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fluoroscope import metrics, offer
from fluoroscope.analyses.attribution_patching import AttributionPatching
from fluoroscope.analyses.attribution_patching import attribution_patching as estimated
from fluoroscope.analyses.logit_attribution import logit_attribution
from fluoroscope.interpretable import recoveries
from fluoroscope.interpretable.opened import numbered, xray
from fluoroscope.interpretable.refusals import SettingError
from fluoroscope.interpretable.results import AttributionResult, DLAResult
from fluoroscope.methods import contrast, readout

if TYPE_CHECKING:
    from fluoroscope.interpretable.model import InterpretableModel
    from fluoroscope.model import Model, Prompt

_EPS = 1e-3
_ENDS = ("b_norm", "b_U")


def attribution_patching(
    model: "InterpretableModel | Model",
    clean: "Prompt",
    corrupted: "Prompt",
    component: str = "resid_post",
    metric: str = "l2",
    n_projections: int = 1,
    eps: float = _EPS,
    metric_kwargs: Mapping[str, Any] | None = None,
) -> AttributionResult:
    """Estimates `activation_patching` at all tokens from exact gradients, of all layers at once.

    Nanda 2023, "Attribution Patching: Activation Patching At Industrial Scale".

    Args:
        component: resid_post, resid_pre, attn, mlp, attn_head, or any other kind of site that can be estimated.
        metric: a name that has a gradient; with `metric_kwargs` as for `activation_patching`.
        n_projections: points between a layer's corrupted and clean values at which gradients are taken, one backward
            pass each; more come closer to what patching the layer does. 1 takes them at the corrupted prompt, of all
            layers at once.
        eps: of finite differences, which are not made: derivatives are exact.

    Raises:
        SettingError: another `eps`, or `n_projections` below 1.
        ArgumentError, SiteError, TokenError, UnavailableError: as `activation_patching`; a metric without a gradient.
    """
    if eps != _EPS:
        raise SettingError(f"eps={eps:g} has no meaning here", "Derivatives are exact: leave it out.")
    if n_projections < 1:
        raise SettingError(f"n_projections={n_projections} takes no gradient", "Give at least 1.")
    found = xray(model)
    site = offer.component(found, component, 0).name
    result = estimates(found, clean, corrupted, metric, metric_kwargs, [site], n_projections)
    kind = result.kinds[0]
    scores = kind.shares if kind.units else tuple(sum(row) for row in kind.shares)
    return AttributionResult(
        recipe=result.recipe,
        component=component,
        site=site,
        layers=list(kind.layers),
        scores=scores,
        passes=1 if n_projections == 1 else n_projections * len(kind.layers),
        metric_name=metrics.resolve(metric),
        clean_score=result.clean_score,
        corrupted_score=result.corrupted_score,
        clean=("".join(found.tokens(clean).pieces[0]),),
        corrupted=("".join(found.tokens(corrupted).pieces[0]),),
    )


def estimates(
    model: "Model",
    clean: "Prompt",
    corrupted: "Prompt",
    metric: "str | recoveries.Own | None",
    words: Mapping[str, Any] | None,
    sites: list[str] | None = None,
    steps: int = 1,
) -> AttributionPatching:
    """The analysis for mlxterp's metrics and keywords.

    Raises:
        ArgumentError: a function of one's own, which is not estimated.
    """
    if metric is not None and not isinstance(metric, str):
        raise SettingError("a function of one's own is not estimated here", "Name a metric.")
    named = recoveries.tokens(dict(words or {}))
    name: Any = metrics.resolve(metric or ("logit_diff" if named else recoveries.BARE))
    given: dict[str, Any] = {word: contrast.spelled(readout.token_ids(model, token)) for word, token in named.items()}
    if sites is not None:
        given |= {"sites": sites, "top_k": 0}
    if steps > 1:
        given |= {"method": "values", "steps": steps}
    return estimated(model, clean, corrupted, metric=name, **given)


def direct_logit_attribution(
    model: "InterpretableModel | Model",
    text: "Prompt",
    target_token: int | str | None = None,
    position: int = -1,
    layers: Sequence[int] | None = None,
) -> DLAResult:
    """Splits a logit into what every part adds to it, through the final norm as it is in this run: an exact sum.

    Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits".

    Args:
        target_token: id or text of the token; without it the model's own prediction.
        position: index of the token after which to predict; negative ones count from the end.
        layers: which layers to tell apart; the others are summed. None for all.

    Raises:
        SiteError: no such layer.
        TokenError: no such position, or a target that is not one token.
        UnavailableError: this model offers no exact decomposition.
    """
    found = xray(model)
    chosen = numbered(found, layers)
    asked = None if target_token is None else contrast.spelled(readout.token_ids(found, target_token))
    split = logit_attribution(found, text, target=asked, position=position)
    cells: dict[tuple[str, int], float] = {}
    heads: dict[int, list[float]] = {layer: [] for layer in chosen}
    embedding = bias = others = 0.0
    for part in split.parts:
        name = part.name.partition(".")[0]
        if name in _ENDS:
            bias += part.value
        elif part.layer < 0:
            embedding += part.value
        elif part.layer not in chosen:
            others += part.value
        else:
            kind = "mlp" if name in ("mlp_out", "b_out") else "attn"
            cells[kind, part.layer] = cells.get((kind, part.layer), 0.0) + part.value
            if name == "z":
                heads[part.layer].append(part.value)
    return DLAResult(
        recipe=split.recipe,
        text="".join(split.tokens),
        position=split.position,
        target_token=split.target_ids[0],
        target_token_str=split.target,
        layers=chosen,
        attention=tuple(cells.get(("attn", layer), 0.0) for layer in chosen),
        heads=tuple(tuple(heads[layer]) for layer in chosen),
        mlps=tuple(cells.get(("mlp", layer), 0.0) for layer in chosen),
        embedding=embedding,
        bias=bias,
        others=others,
        logit=split.logit,
        error=split.error,
    )
