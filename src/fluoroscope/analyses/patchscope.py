"""What a hidden state holds, said by the model when it is put into another prompt.

Ghandeharioun et al. 2024, "Patchscopes": the residual stream of every depth at one token replaces that of a placeholder
in a target prompt, and the target prompt goes on. The default one repeats words, so that the state has most to say;
another one asks for something ("The capital of x is").
"""

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.lens_records import Guess
from fluoroscope.methods import patchscope as method
from fluoroscope.methods import readout
from fluoroscope.methods.translators import depth_sites
from fluoroscope.render.text import percent, quoted
from fluoroscope.result import Record, Result, number
from fluoroscope.signature import AnyPrompt
from fluoroscope.sites import Site
from fluoroscope.views import Column, Lines, Mark, Row, Series, Table, TokenMark, Tokens, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Predictions and lenses"


class Said(Record):
    """What the target prompt says.

    Args:
        top: its likeliest next tokens, likeliest first.
        next_probability: what it gives to the source's own next token.
        next_rank: 1 + the number of tokens that are likelier.
        text: how it goes on, greedily; None if that was not asked for.
    """

    top: tuple[Guess, ...]
    next_probability: float
    next_rank: int
    text: str | None


class Decoded(Said):
    """What the target prompt says of one depth of the source.

    Args:
        site: the stream that was read.
        into: the stream of the target prompt that it replaced.
        lens_probability: what the logit lens of this depth gives to the source's own next token.
    """

    site: str
    into: str
    lens_probability: float

    @property
    def label(self) -> str:
        return "the embedding" if self.site == "resid_pre.0" else f"block {self.site.rpartition('.')[2]}"

    @property
    def tick(self) -> str:
        return _tick(self.site)


class Agreement(Record):
    """How well a depth foretells the model's own next token, over all positions of the source.

    Args:
        precision: share of positions at which the target prompt says it first.
        surprisal: its -log p there, in nats, on average; None where that is infinite.
        lens_precision: the same share for the logit lens.
        lens_surprisal: the same for the logit lens.
    """

    site: str
    precision: float
    surprisal: float | None
    lens_precision: float
    lens_surprisal: float | None


class Patchscope(Result):
    """What a target prompt says when it holds the state of a source token, for every depth of that state.

    Args:
        tokens: the source prompt, as the model reads it.
        position: index of its token whose states are read.
        next_token: what the model itself expects after that token, with its `next_probability`.
        target_tokens: the target prompt.
        placeholder: index of its token whose state is replaced.
        unpatched: the target prompt as it is.
        depths: shallowest first.
        agreement: by depth; None if it was not asked for.
    """

    tokens: tuple[str, ...]
    position: int
    next_token: str
    next_id: int
    next_probability: float
    target_tokens: tuple[str, ...]
    placeholder: int
    unpatched: Said
    depths: tuple[Decoded, ...]
    agreement: tuple[Agreement, ...] | None

    def foretold(self) -> list[Decoded]:
        """The depths at which the target prompt says the source's own next token, and would not have without them."""
        return [each for each in self.depths if each.top[0].id == self.next_id != self.unpatched.top[0].id]

    def summary(self) -> str:
        own, told = self.unpatched.top[0], self.foretold()
        if told:
            said = (
                f"says {quoted(self.next_token)}, the model's own next token, first at {told[0].label} "
                f"({percent(told[0].next_probability)})"
            )
        else:
            others = [each for each in self.depths if each.top[0].id != own.id] or self.depths
            best = max(others, key=lambda each: each.top[0].probability)
            said = f"says {quoted(best.top[0].piece)} most surely at {best.label} ({percent(best.top[0].probability)})"
        return (
            f"Put into another prompt in place of {quoted(self.target_tokens[self.placeholder])}, the state of "
            f"{quoted(self.tokens[self.position])} {said}; without it that prompt says {quoted(own.piece)} "
            f"({percent(own.probability)})."
        )

    def views(self) -> list[View]:
        line = [self._line()] if self.foretold() else []
        return [self._table(), *line, self._target(), *([] if self.agreement is None else [self._agreement()])]

    def _table(self) -> Table:
        count = min(2, len(self.unpatched.top))
        names = ("likeliest", "second")[:count]
        texts = self.unpatched.text is not None
        elsewhere = any(each.into != each.site for each in self.depths)
        told = "" if not elsewhere else f" All of them are put into {self.depths[0].into}."
        rows: list[tuple[str, Said, str | None]] = [("nothing", self.unpatched, None)]
        rows += [(each.tick, each, each.site) for each in self.depths]
        return Table(
            title="What the target prompt says",
            caption=f"Given the state of {quoted(self.tokens[self.position])} at each depth (emb: the embedding, Ln: "
            "after block n), or nothing. The target prompt has a say as well: compare with the first row. "
            f"own: what it gives to {quoted(self.next_token)}, which the model expects after the source.{told}",
            columns=(
                Column(name="given"),
                *(column for name in names for column in (Column(name=name, token=True), Column(name="p"))),
                Column(name="own"),
                *([Column(name="goes on")] if texts else []),
            ),
            rows=tuple(
                Row(
                    cells=(
                        name,
                        *(cell for guess in said.top[:count] for cell in (guess.piece, guess.probability)),
                        said.next_probability,
                        *([said.text] if texts else []),
                    ),
                    site=site,
                )
                for name, said, site in rows
            ),
        )

    def _line(self) -> Lines:
        return Lines(
            title=f"{quoted(self.next_token)}, the model's own next token",
            caption="A state may hold it in a form that later blocks can read and the output head, which is the logit "
            "lens, cannot.",
            unit="probability",
            maximum=1.0,
            x=tuple(Mark(label=each.tick, site=each.site) for each in self.depths),
            series=(
                Series(label="target prompt", values=tuple(each.next_probability for each in self.depths)),
                Series(label="logit lens", values=tuple(each.lens_probability for each in self.depths)),
            ),
        )

    def _target(self) -> Tokens:
        return Tokens(
            title="The target prompt",
            caption="Marked: the token whose state is replaced. What is said is read at the end.",
            items=tuple(TokenMark(text=token) for token in self.target_tokens),
            marked=self.placeholder,
        )

    def _agreement(self) -> Lines:
        found = self.agreement or ()
        return Lines(
            title="How often each depth foretells the model's own next token",
            caption=f"Of all {len(self.tokens)} positions of the source prompt.",
            unit="share of positions",
            maximum=1.0,
            x=tuple(Mark(label=_tick(each.site), site=each.site) for each in found),
            series=(
                Series(label="target prompt", values=tuple(each.precision for each in found)),
                Series(label="logit lens", values=tuple(each.lens_precision for each in found)),
            ),
        )


@checked
@torch.no_grad()
def patchscope(
    model: "Model",
    prompt: AnyPrompt,
    *,
    position: int = -1,
    target_prompt: AnyPrompt = "cat->cat; 1135->1135; hello->hello; ?",
    placeholder: str | None = None,
    target_position: int | None = None,
    target_site: str | None = None,
    top_k: int = 3,
    max_new_tokens: int = 8,
    precision: bool = False,
) -> Patchscope:
    """Puts the residual stream of one token, of every depth by itself, into a target prompt that says what it holds.

    Args:
        prompt: the source, whose state is read.
        position: index of its token; negative counts from the end.
        target_prompt: the text that the state is put into.
        placeholder: the token there whose state is replaced, by its text, which the target prompt holds once; ? if
            neither this nor target_position is given.
        target_position: the same token by its index; negative counts from the end.
        target_site: the residual stream of the target prompt that is overwritten, such as resid_pre.0; without it the
            same as was read.
        top_k: how many next tokens of the target prompt to keep, at most.
        max_new_tokens: how far the target prompt goes on, at most; 0 for its next token only.
        precision: whether to try every token of the source, for the share that foretells the model's own next token.

    Raises:
        ArgumentError: `top_k` below 1, fewer than 0 new tokens, two placeholders, or a site that is no stream.
        SiteError: the model has no such site.
        TokenError: no such position, or the target prompt does not hold the placeholder once, as one token.
    """
    if top_k < 1 or max_new_tokens < 0:
        raise ArgumentError(f"top_k={top_k}, max_new_tokens={max_new_tokens}", "Give at least 1, and at least 0.")
    goal = method.target(model, target_prompt, placeholder, target_position, target_site)
    sites = [Site.parse(name) for name in depth_sites(model.n_layers)]
    trace = model.trace(prompt, sites=sites)
    slot = readout.only_slot(trace.tokens, position)
    own = readout.log_probs(trace.logits[0, slot]).exp()
    next_id = int(own.argmax())
    states = [(site, trace[site][0, slot]) for site in sites]
    unpatched, depths = _read(model, goal, states, next_id, top_k, max_new_tokens)
    return Patchscope(
        recipe=trace.recipe,
        tokens=tuple(trace.tokens.labels[0]),
        position=slot,
        next_token=model.token_label(next_id),
        next_id=next_id,
        next_probability=float(own[next_id]),
        target_tokens=tuple(goal.tokens.labels[0]),
        placeholder=goal.slot,
        unpatched=unpatched,
        depths=depths,
        agreement=tuple(_agreement(each) for each in method.agreement(model, goal, trace)) if precision else None,
    )


def _read(
    model: "Model", goal: method.Target, states: list[method.State], next_id: int, top_k: int, max_new_tokens: int
) -> tuple[Said, tuple[Decoded, ...]]:
    """What the target prompt says as it is, and with each state."""
    said = readout.log_probs(method.logits(model, goal, states))
    plain = readout.log_probs(model.trace(goal.tokens).logits[0, -1])
    lens = readout.log_probs(model.unembed(torch.stack([state for _, state in states])))[:, next_id].exp()
    texts: list[str | None] = [None] * (1 + len(states))
    if max_new_tokens:
        texts = [*method.continuations(model, goal, states, max_new_tokens)]
    columns = zip(states, said, lens.tolist(), texts[1:], strict=True)
    depths = (
        Decoded(
            **_said(model, row, next_id, top_k),
            text=text,
            site=str(site),
            into=str(goal.into(site)),
            lens_probability=by_lens,
        )
        for (site, _), row, by_lens, text in columns
    )
    return Said(**_said(model, plain, next_id, top_k), text=texts[0]), tuple(depths)


def _said(model: "Model", log_p: Float[Tensor, "d_vocab"], next_id: int, top_k: int) -> dict[str, Any]:
    top = log_p.topk(min(top_k, len(log_p)))
    ids = torch.tensor(next_id, device=log_p.device)
    return {
        "top": tuple(
            Guess(id=token, piece=model.token_label(token), probability=probability)
            for token, probability in zip(top.indices.tolist(), top.values.exp().tolist(), strict=True)
        ),
        "next_probability": float(log_p[next_id].exp()),
        "next_rank": int(readout.rank(log_p, ids)),
    }


def _agreement(found: method.Agreement) -> Agreement:
    return Agreement(
        site=found.site,
        precision=found.precision,
        surprisal=number(found.surprisal),
        lens_precision=found.lens_precision,
        lens_surprisal=number(found.lens_surprisal),
    )


def _tick(site: str) -> str:
    return "emb" if site == "resid_pre.0" else f"L{site.rpartition('.')[2]}"
