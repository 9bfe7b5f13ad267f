"""What a row of logits says: probabilities, uncertainty, distance and rank, in nats and in float32 or better.

Also which position and which tokens of it an analysis was asked about.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fluoroscope.errors import ArgumentError, TokenError, UnavailableError
from fluoroscope.signature import AnyToken
from fluoroscope.tokens import Tokens

if TYPE_CHECKING:
    from fluoroscope.model import Model


def log_probs(logits: Float[Tensor, "... d_vocab"]) -> Float[Tensor, "... d_vocab"]:
    """Natural-log probabilities.

    Raises:
        UnavailableError: a logit is NaN, so no probability exists.
    """
    if bool(logits.isnan().any()):
        raise UnavailableError(
            "the logits hold NaN, so they give no probabilities", "Load with dtype='float32', or look where NaN begins."
        )
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return wide.log_softmax(-1)


def entropy(log_p: Float[Tensor, "... d_vocab"]) -> Float[Tensor, "..."]:
    """Uncertainty in nats: 0 when one token has everything, ln(d_vocab) when all are equal."""
    return torch.special.entr(log_p.exp()).sum(-1)


def kl(log_p: Float[Tensor, "... d_vocab"], log_q: Float[Tensor, "... d_vocab"]) -> Float[Tensor, "..."]:
    """KL(p ‖ q) in nats: what is lost by believing q where p holds."""
    p = log_p.exp()
    return torch.where(p > 0, p * (log_p - log_q), 0.0).sum(-1).clamp_min(0)


def rank(log_p: Float[Tensor, "... d_vocab"], ids: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """1 + the number of tokens that are likelier than `ids`."""
    return 1 + (log_p > log_p.gather(-1, ids[..., None])).sum(-1)


def only_slot(tokens: Tokens, position: int) -> int:
    """The slot of a token index (negative ones count from the end) of a single prompt.

    Raises:
        ArgumentError: a batch of prompts.
        TokenError: the prompt has no such token.
    """
    if tokens.batch != 1:
        raise ArgumentError(f"{tokens.batch} prompts were given", "This analysis takes one prompt.")
    return tokens.slots(0, position)[0]


def parting(one: Tokens, other: Tokens) -> int:
    """The index of the first token at which two prompts of equal length differ; of each its first row counts.

    Raises:
        ArgumentError: different lengths, or the same tokens.
    """
    a, b = one.rows[0], other.rows[0]
    part = next((k for k, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1]), min(len(a), len(b)))
    if len(a) != len(b):
        raise ArgumentError(
            f"the prompts have {len(a)} and {len(b)} tokens, and part at token {part}",
            "Reword one of them until both have as many; fluoro tokens shows the tokens of a text.",
        )
    if part == len(a):
        raise ArgumentError("both prompts are the same tokens", "Change a word of one of them.")
    return part


def token_id(model: "Model", token: AnyToken) -> int:
    """The id that a parameter names: a text of exactly one token, or an id, as a number or as `#338`.

    Raises:
        TokenError: several tokens, none, or an id that the model has no logit for.
    """
    if not isinstance(token, str | int) and len(token) != 1:
        raise TokenError(f"{len(token)} tokens are named", "Name one.")
    token = token if isinstance(token, str) else f"#{token if isinstance(token, int) else token[0]}"
    number = re.fullmatch(r"#(-?[0-9]+)", token)
    if number is None:
        return model.single_token(token)
    if not 0 <= int(number[1]) < model.d_vocab:
        raise TokenError(f"there is no token {token}", f"Ids of this model run from #0 to #{model.d_vocab - 1}.")
    return int(number[1])


def token_ids(model: "Model", text: AnyToken) -> tuple[int, ...]:
    """The ids that a parameter names: one token as `token_id` reads it, or a set with bars between, ` Mary| Anna`.

    A set of ids is taken as a sequence as well.

    From left to right the longest stretch that is one token is that token, so one that holds a bar itself (`||`,
    `<|endoftext|>`) is named like any other, alone and in a set.

    Raises:
        TokenError: a part that is empty or not exactly one token, or a token that is named twice.
    """
    if not isinstance(text, str):
        text = "|".join(f"#{each}" for each in (text if isinstance(text, Sequence) else [text]))
    words = text.split("|")
    if len(words) == 1:
        return (token_id(model, text),)
    most = 1 + max((piece.count("|") for piece in model.tokenizer.get_vocab()), default=0) if model.tokenizer else 1
    found: dict[int, str] = {}
    while words:
        part = _longest(model, words[:most])
        if not part:
            raise TokenError(f"{text!r} holds an empty token", "Put one | between two tokens, as in ' Mary| Anna'.")
        token = token_id(model, part)
        if token in found:
            raise TokenError(f"{text!r} names token {token} twice: {found[token]!r} and {part!r}", "Leave one out.")
        found[token] = part
        words = words[part.count("|") + 1 :]
    return tuple(found)


def _longest(model: "Model", words: list[str]) -> str:
    """The most of these words that make one token, joined by bars; the first of them if none do."""
    for end in range(len(words), 1, -1):
        part = "|".join(words[:end])
        try:
            token_id(model, part)
        except TokenError:
            continue
        return part
    return words[0]
