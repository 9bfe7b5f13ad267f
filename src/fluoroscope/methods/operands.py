"""Where the numbers of a calculation stand among a model's tokens, how it spells the answer, and other such numbers.

Counterfactual prompts have the same tokens but for one operand, whose tokens are as many (Stolfo et al. 2023, "A
Mechanistic Interpretation of Arithmetic Reasoning in Language Models using Causal Mediation Analysis").
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import TokenError
from fluoroscope.methods import readout
from fluoroscope.methods.arithmetic import Calculation, Side, leading_number, others
from fluoroscope.tokens import Tokens

if TYPE_CHECKING:
    from fluoroscope.model import Model


class Spelling(NamedTuple):
    """How an answer follows a prompt: what stands before the number, and the tokens of both."""

    before: str
    ids: tuple[int, ...]


class Counterfactual(NamedTuple):
    """Another calculation, the tokens of its prompt, and the token of its own answer that belongs behind them."""

    calculation: Calculation
    ids: tuple[int, ...]
    answer: int


def slots(tokens: Tokens, calculation: Calculation, side: Side) -> tuple[int, ...]:
    """The slots of the tokens that hold an operand.

    Raises:
        TokenError: the tokens do not show the text as it is written.
    """
    whole = "".join(tokens.pieces[0])
    start = whole.find(calculation.text)
    if start < 0:
        raise TokenError(
            f"the tokens of {calculation.text!r} read {whole!r}", "Write the prompt as the tokenizer shows it."
        )
    operand = calculation.operand(side)
    return tuple(tokens.slots(0, tokens.span((start + operand.start, start + operand.end))))


def spelling(model: "Model", calculation: Calculation) -> Spelling:
    """The true answer as tokens behind the prompt: with a space in front or without, as the model finds likelier.

    Raises:
        TokenError: either way the tokens of the prompt would change.
    """
    prompt = model.tokens(calculation.text).rows[0]
    found = [Spelling(before, ids) for before in (" ", "") if (ids := _spelled(model, calculation, before))]
    if not found:
        raise TokenError(
            f"no answer can follow {calculation.text!r} without changing its tokens", "End it differently, with = say."
        )
    return max(found, key=lambda each: float(log_probabilities(model, prompt, each.ids)[-1].sum()))


def log_probabilities(model: "Model", prompt: Sequence[int], ids: Sequence[int]) -> Float[Tensor, "depth token"]:
    """Of each token of an answer, the ones before it given, by the logit lens; the last depth is the model itself."""
    where = slice(len(prompt) - 1, len(prompt) + len(ids) - 1)
    sites = ["resid_pre.0", *(f"resid_post.{layer}" for layer in range(model.n_layers))]
    trace = model.trace([*prompt, *ids[:-1]], sites=sites)
    logits = [*(model.unembed(trace[site][0, where]) for site in sites), trace.logits[0, where]]
    chosen = torch.tensor(ids, device=trace.logits.device)[:, None]
    return torch.stack([readout.log_probs(row).gather(-1, chosen)[:, 0] for row in logits]).detach()


def written(model: "Model", prompt: Sequence[int], length: int) -> tuple[str, int | None]:
    """What the model goes on with, greedily, and the number that this begins with, if it does.

    Returns:
        The text up to the end of the number, or of the first token that shows anything where there is none.
    """
    generation = model.generate([list(prompt)], max_new_tokens=length)
    text = generation.text
    number = leading_number(text)
    if number is not None:
        return text[: next(end for end in range(1, len(text) + 1) if leading_number(text[:end]) == number)], number
    return model.token_label(generation.ids[0][0]), None


def counterfactuals(
    model: "Model", calculation: Calculation, side: Side, spelled: Spelling, step: int, seed: int
) -> Iterator[Counterfactual]:
    """Prompts with another number for one operand, the answer's first `step` tokens behind all of them being the same.

    Args:
        spelled: how the answer to the calculation itself is written.
        step: how many tokens of the answer stand behind the prompt already.
    """
    prompt = model.tokens(calculation.text)
    given, mine = spelled.ids[:step], slots(prompt, calculation, side)
    for other in others(calculation, side, seed):
        tokens, answer = model.tokens(other.text), _spelled(model, other, spelled.before)
        if (
            answer is None
            or len(answer) <= step
            or answer[:step] != given
            or len(tokens.rows[0]) != len(prompt.rows[0])
        ):
            continue
        pairs = zip(prompt.rows[0], tokens.rows[0], strict=True)
        changed = {slot for slot, (one, another) in enumerate(pairs) if one != another}
        if changed <= set(mine) and slots(tokens, other, side) == mine:
            yield Counterfactual(other, (*tokens.rows[0], *given), answer[step])


def _spelled(model: "Model", calculation: Calculation, before: str) -> tuple[int, ...] | None:
    """The tokens that the answer adds to the prompt; None if it changes tokens of the prompt."""
    prompt = model.tokens(calculation.text).rows[0]
    whole = model.tokens(f"{calculation.text}{before}{calculation.result}").rows[0]
    return tuple(whole[len(prompt) :]) if whole[: len(prompt)] == prompt and len(whole) > len(prompt) else None
