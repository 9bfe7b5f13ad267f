"""Generation under mlxterp's names: a prompt continued with a cache, under interventions, watched by a callback."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fluoroscope.generation import Generation, Steps
from fluoroscope.interpretable.opened import edits, xray
from fluoroscope.interpretable.refusals import SettingError, valued
from fluoroscope.interpretable.results import GenerationResult

if TYPE_CHECKING:
    from fluoroscope.interpretable.model import InterpretableModel
    from fluoroscope.model import Model


def generate(
    model: "InterpretableModel | Model",
    prompt: Any,
    max_tokens: int = 50,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    interventions: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    stop_tokens: Sequence[int | str] | None = None,
    callback: Callable[[int, int, Tensor], object] | None = None,
    *,
    seed: int = 0,
    intervention_tokens: Steps = "all",
    token_logits: bool = False,
) -> GenerationResult:
    """Continues one prompt token by token.

    Args:
        prompt: a text, ids, or a tensor of ids.
        temperature: 0 takes the likeliest token; else logits are divided by it and sampled, by `seed`.
        top_k: sample from so many tokens; 0 from all.
        top_p: sample from the smallest set of tokens with this probability together.
        interventions: module path or site -> what becomes of its value, at every step.
        stop_tokens: ids or texts of tokens that end it; the model's own end tokens if not given.
        callback: called with (step, token id, logits [d_vocab]) after each token, which is kept; True ends it.
        intervention_tokens: at which tokens interventions act: "all", "prompt", "generated", or step numbers.
        token_logits: keep the logits of every step, [d_vocab] each.

    Raises:
        ArgumentError: a setting outside of its range.
        SiteError, UnavailableError, EditError: an intervention that cannot act.
        InputError: no such prompt, or one that is too long (a ValueError, too).
    """
    found, kept = xray(model), list[Tensor]()
    if callback is not None and not callable(callback):
        raise SettingError(f"callback={callback!r} cannot be called", "Give a function of (step, token id, logits).")

    def told(step: int, token: Any, logits: Tensor) -> bool:
        if token_logits:
            kept.append(logits[0].clone())
        return not (callback is not None and callback(step, token, logits[0]))

    with valued():
        made = found.generate(
            prompt,
            max_new_tokens=max_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            stop_tokens=stop_tokens,
            edits=edits(interventions),
            edit_tokens=intervention_tokens,
            callback=told,
        )
    result = _result(found, prompt, made)
    return result.with_logits(kept) if token_logits else result


def _result(model: "Model", prompt: Any, made: Generation) -> GenerationResult:
    return GenerationResult(
        recipe=made.recipe,
        prompt=prompt if isinstance(prompt, str) else "".join(made.prompt.pieces[0]),
        text=made.text,
        tokens=made.ids[0],
        pieces=tuple(map(model.token_label, made.ids[0])),
        log_probs=tuple(made.log_probs[0]),
        stopped=made.stopped[0],
    )
