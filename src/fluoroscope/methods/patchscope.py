"""Hidden states read by the model itself: put into another prompt, whose continuation says what they hold.

Ghandeharioun et al. 2024, "Patchscopes: A Unifying Framework for Inspecting Hidden Representations of Language Models":
a residual stream of a source prompt replaces the one at a placeholder of a target prompt, without any mapping, and the
target prompt goes on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.errors import ArgumentError, TokenError
from fluoroscope.generation import generate
from fluoroscope.interventions import At, at, replace
from fluoroscope.methods import patching, readout
from fluoroscope.methods.patching import Patch
from fluoroscope.methods.translators import depth_sites
from fluoroscope.progress import track
from fluoroscope.sites import Site
from fluoroscope.tokens import Tokens
from fluoroscope.trace import Trace

if TYPE_CHECKING:
    from fluoroscope.model import Model

PLACEHOLDER = "?"

State = tuple[Site, Float[Tensor, "d_model"]]
"""A residual stream at one position, and where it was read."""

_STREAM = ("resid_pre", "resid_mid", "resid_post")


@dataclass(frozen=True, eq=False)
class Target:
    """Where states are put: one prompt, and the slot in it whose stream is overwritten.

    Args:
        site: the residual stream that is overwritten; None for the one that a state was read from.
    """

    tokens: Tokens
    slot: int
    site: Site | None

    def into(self, source: Site) -> Site:
        """The site at which a state of `source` is put."""
        return self.site or source


def target(model: "Model", prompt: str, placeholder: str | None, position: int | None, site: str | None) -> Target:
    """Finds the placeholder of a target prompt: by its text, there once and one token, or by its index.

    Raises:
        ArgumentError: both are given, or a site that is no residual stream.
        SiteError: a site that the model does not have.
        TokenError: the prompt does not hold the placeholder exactly once as a token of its own, or has no such index.
    """
    if placeholder is not None and position is not None:
        raise ArgumentError(
            f"the placeholder is {placeholder!r} and at position {position}", "Give its text or its position, not both."
        )
    chosen = None if site is None else model.site(site)
    if chosen is not None and chosen.name not in _STREAM:
        raise ArgumentError(
            f"{chosen} is no residual stream, and a stream is put there", f"Name one of {', '.join(_STREAM)}."
        )
    tokens = model.tokens(prompt)
    if position is not None:
        return Target(tokens, readout.only_slot(tokens, position), chosen)
    return Target(tokens, _found(tokens, PLACEHOLDER if placeholder is None else placeholder), chosen)


def _found(tokens: Tokens, placeholder: str) -> int:
    pieces = tokens.pieces[0]
    text = "".join(pieces)
    if not placeholder or text.count(placeholder) != 1:
        times = text.count(placeholder) if placeholder else 0
        raise TokenError(
            f"the target prompt {text!r} holds the placeholder {placeholder!r} {times} times",
            "Write it there exactly once, name another, or give its position.",
        )
    span = tokens.span(placeholder)
    covered = "".join(pieces[span])
    if span.stop - span.start != 1 or covered.strip() != placeholder.strip():
        raise TokenError(
            f"the placeholder {placeholder!r} is no token of the target prompt, which has "
            f"{' + '.join(map(repr, pieces[span]))} there",
            "Set it off by spaces, name one that is one token, or give its position.",
        )
    return readout.only_slot(tokens, span.start)


@torch.no_grad()
def logits(model: "Model", goal: Target, states: Sequence[State]) -> Float[Tensor, "state d_vocab"]:
    """The logits at the end of the target prompt with each state."""
    ids = goal.tokens.rows[0]
    variants = [[Patch(goal.into(site), goal.slot, state)] for site, state in states]
    return patching.patched(model, ids, variants, len(ids) - 1)[0]


def continuations(model: "Model", goal: Target, states: Sequence[State], max_new_tokens: int) -> list[str]:
    """How the target prompt goes on, greedily: first as it is, then with each state.

    Raises:
        TokenError: prompt and new tokens do not fit the context.
    """
    edits: dict[str | Site, list[At]] = {}
    for row, (site, state) in enumerate(states, 1):
        edits.setdefault(goal.into(site), []).append(at(replace(state), positions=goal.slot, rows=row))
    rows = [goal.tokens.rows[0]] * (1 + len(states))
    return generate(model, rows, max_new_tokens=max_new_tokens, edits=edits).texts


@dataclass(frozen=True)
class Agreement:
    """How well a depth foretells the model's own next token, over all positions of the source prompt.

    Args:
        precision: share of positions at which the target prompt goes on with the token that the source does.
        surprisal: what that token has in the target prompt, as -log p in nats, on average.
        lens_precision: the same share for the logit lens of the same states.
        lens_surprisal: the same surprisal for the logit lens.
    """

    site: str
    precision: float
    surprisal: float
    lens_precision: float
    lens_surprisal: float


@torch.no_grad()
def agreement(model: "Model", goal: Target, source: Trace) -> Iterator[Agreement]:
    """Every depth of a source prompt, each of its positions put into the target prompt by itself.

    Args:
        source: one prompt, with `depth_sites`.
    """
    own = source.logits[0].argmax(-1)[:, None]
    for name in track(depth_sites(model.n_layers), "patchscope"):
        site, streams = Site.parse(name), source[name][0]
        both = logits(model, goal, [(site, stream) for stream in streams]), model.unembed(streams)
        found: list[float] = []
        for log_p in map(readout.log_probs, both):
            found.append((log_p.argmax(-1, keepdim=True) == own).double().mean().item())
            found.append(-log_p.gather(-1, own).double().mean().item())
        yield Agreement(name, *found)
