"""A sweep on its way through one block: rows, each the copy of one token of a base run, as a batch of single tokens.

The copies of a prompt from its first edited slot on are a variant. What lies before that slot is the base run's, keys
and values included, which all variants of a prompt share.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from fluoroscope.attention import softmax
from fluoroscope.errors import EditError
from fluoroscope.run import Edit, Run, Seen, call
from fluoroscope.sites import Site


@dataclass(frozen=True)
class Span:
    """The tokens of one variant that are computed again.

    Args:
        prompt: row of the base run.
        layer: of the first block that runs; `n_layers` where only the last residual is edited.
        first: first slot; `last` the last one that anything reads.
    """

    prompt: int
    layer: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True)
class Layout:
    """Which token of which variant each row is; variants lie one behind the other, slots in order.

    Args:
        whole: of the same variants, with the tokens whose keys and values are their own; None for those of `spans`.
    """

    spans: Sequence[Span]
    device: torch.device
    whole: "Layout | None" = None

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        return sum(map(len, self.spans))

    def _each(self, values: Sequence[int]) -> Int64[Tensor, "row"]:
        repeated = [value for value, span in zip(values, self.spans, strict=True) for _ in range(len(span))]
        return torch.tensor(repeated, device=self.device)

    @cached_property
    def prompt(self) -> Int64[Tensor, "row"]:
        return self._each([span.prompt for span in self.spans])

    @cached_property
    def slot(self) -> Int64[Tensor, "row"]:
        slots = [slot for span in self.spans for slot in range(span.first, span.last + 1)]
        return torch.tensor(slots, device=self.device)

    @cached_property
    def variant(self) -> Int64[Tensor, "row"]:
        return self._each(range(len(self.spans)))

    @cached_property
    def starts(self) -> list[int]:
        """Row of each variant's first token."""
        return [0, *accumulate(map(len, self.spans[:-1]))] if self.spans else []

    @cached_property
    def longest(self) -> int:
        return max(map(len, self.spans))

    @property
    def own(self) -> "Layout":
        """The rows whose keys and values are the variants' own."""
        return self.whole or self

    @cached_property
    def within(self) -> Int64[Tensor, "row"]:
        """Where in the rows of `own` each row is."""
        three = zip(self.own.starts, self.own.spans, self.spans, strict=True)
        found = [start + slot - old.first for start, old, span in three for slot in range(span.first, span.last + 1)]
        return torch.tensor(found, device=self.device)

    @cached_property
    def columns(self) -> Int64[Tensor, "row token"]:
        """The slots of a variant's own tokens; where it has fewer than the longest, they run on beyond its end."""
        first = self._each([span.first for span in self.own.spans])
        return first[:, None] + torch.arange(self.own.longest, device=self.device)

    @cached_property
    def _padded(self) -> Int64[Tensor, "token"]:
        longest = range(self.longest)
        pairs = zip(self.starts, self.spans, strict=True)
        return torch.tensor(
            [start + min(n, len(span) - 1) for start, span in pairs for n in longest], device=self.device
        )

    @cached_property
    def _flat(self) -> Int64[Tensor, "row"]:
        first = self._each([span.first for span in self.spans])
        return self.variant * self.longest + self.slot - first

    @cached_property
    def of_prompts(self) -> list[tuple[int, slice | Int64[Tensor, "row"]]]:
        """The rows of each prompt."""
        found = self.prompt.unique().tolist()
        if len(found) == 1:
            return [(found[0], slice(None))]
        return [(prompt, (self.prompt == prompt).nonzero()[:, 0]) for prompt in found]

    def padded(self, rows: Float[Tensor, "row ..."]) -> Float[Tensor, "variant token ..."]:
        """Rows by variant; variants with fewer tokens repeat their last one."""
        even = len(self) == len(self.spans) * self.longest
        return (rows if even else rows.index_select(0, self._padded)).unflatten(0, (-1, self.longest))

    def flat(self, padded: Float[Tensor, "variant token ..."]) -> Float[Tensor, "row ..."]:
        """The rows that `padded` was made of."""
        rows = padded.flatten(0, 1)
        return rows if len(rows) == len(self) else rows.index_select(0, self._flat)


@dataclass(frozen=True, eq=False)
class Patch:
    """What a site becomes at some slots: an edit that is a value.

    Args:
        site: whole, or a unit.
        slots: in any order.
        value: [slot, …], without the axes of batch and unit.
    """

    site: Site
    slots: tuple[int, ...]
    value: Tensor


@dataclass
class RowEdit:
    """All edits of a sweep at one site, each of its own rows.

    Args:
        site: whole.
        base: rows, and the function by which the base run edited them itself; before all others.
        patches: rows, and the values that they become.
        parts: rows, and the function that edits them.
    """

    site: Site
    base: list[tuple[list[int], Edit]] = field(default_factory=list[tuple[list[int], Edit]])
    patches: list[tuple[list[int], Patch]] = field(default_factory=list[tuple[list[int], Patch]])
    parts: list[tuple[list[int], Edit]] = field(default_factory=list[tuple[list[int], Edit]])

    def apply(self, value: Tensor, start: int) -> Tensor:
        """The edited value; a function gets what `Model.trace` of the one prompt would hand it: [1, …]."""
        edited = value.clone()
        self._call(edited, self.base)
        self._put(edited.squeeze(self.site.kind.position_axis))
        self._call(edited, self.parts)
        return edited

    def _call(self, edited: Tensor, parts: Sequence[tuple[list[int], Edit]]) -> None:
        axis = self.site.kind.position_axis
        for rows, edit in parts:
            seen = edited[rows].squeeze(axis).movedim(0, axis - 1)[None]
            unit = edit.site.unit
            part = seen if unit is None else seen.select(self.site.kind.unit_axis or 0, unit)
            new = call(edit.function, edit.site, part)
            if unit is not None:
                whole = seen.clone()
                whole.select(self.site.kind.unit_axis or 0, unit).copy_(new)
                new = whole
            edited[rows] = new[0].movedim(axis - 1, 0).unsqueeze(axis)

    def _put(self, by_row: Float[Tensor, "row ..."]) -> None:
        """Writes all patches at once, those of units and those of whole sites."""
        for whole in (True, False):
            chosen = [(rows, patch) for rows, patch in self.patches if (patch.site.unit is None) == whole]
            if not chosen:
                continue
            rows = torch.tensor([row for rows, _ in chosen for row in rows], device=by_row.device)
            units = torch.tensor([patch.site.unit or 0 for rows, patch in chosen for _ in rows], device=by_row.device)
            expected = by_row.shape[1 if whole else 2 :]
            for _, patch in chosen:
                if patch.value.shape[1:] != expected:
                    given = f"a patch of {patch.site.whole} has the shape {tuple(patch.value.shape[1:])} a token"
                    raise EditError(given, f"There it is {tuple(expected)}.")
            values = torch.cat([patch.value for _, patch in chosen]).to(by_row)
            by_row[rows if whole else (rows, units)] = values


Held = Mapping[Site, Tensor]


def attend(
    run: Run,
    layout: Layout,
    held: Held,
    layer: int,
    qkv: Sequence[Tensor],
    mask: Tensor | None,
    given: dict[str, Any],
    *,
    own: Sequence[Tensor] = (),
) -> Float[Tensor, "row one head d_v"]:
    """What `attention.explicit` gives at these tokens, each variant on its prompt's keys and values and its own.

    Args:
        held: the base run's values, its k and v among them.
        qkv: of the rows, [row, head or kv head, 1, size].
        mask: the one that the base run's attention got.
        given: further keywords of the attention function.
        own: keys and values of the rows of `layout.own`, where these are others.
    """
    q, k, v = (run.visit(name, layer, value)[:, :, 0] for name, value in zip("qkv", qkv, strict=True))
    k, v = own or (k, v)
    keys, values = (held[Site(name, layer)] for name in "kv")
    scaling = given.get("scaling")
    scores = _scores(layout, q.to(keys), k.to(keys), keys) * (q.shape[-1] ** -0.5 if scaling is None else scaling)
    softcap = given.get("softcap")
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if given.get("position_bias") is not None:
        scores = _masked(scores, layout, given["position_bias"])
    scores = _masked(scores, layout, mask)
    scores = run.visit("scores", layer, scores[:, :, None])
    pattern = run.visit("pattern", layer, softmax(scores, given.get("s_aux")).to(values.dtype))
    return _mixed(layout, pattern[:, :, 0], v.to(values), values)[:, None]


def keep(
    run: Run, own: list[Tensor], layer: int, qkv: Sequence[Tensor], _mask: Tensor | None, _given: dict[str, Any]
) -> Tensor:
    """Keeps the rows' keys and values, and ends the pass, of which no more is wanted.

    Raises:
        Seen: always.
    """
    own += [run.visit(name, layer, value)[:, :, 0] for name, value in zip("kv", qkv[1:], strict=True)]
    raise Seen


def _scores(
    layout: Layout,
    q: Float[Tensor, "row head d"],
    k: Float[Tensor, "own kv d"],
    keys: Float[Tensor, "prompt kv slot d"],
) -> Float[Tensor, "row head slot"]:
    """Products with the prompt's keys, and from a variant's first slot on with its own."""
    own_layout, n_slots, groups = layout.own, keys.shape[2], q.shape[1] // k.shape[1]
    scores = q.new_empty(len(q), q.shape[1], n_slots + own_layout.longest)
    grouped = q.unflatten(1, (-1, groups))
    for prompt, rows in layout.of_prompts:
        part = grouped[rows].transpose(0, 1).flatten(1, 2) @ keys[prompt].mT
        scores[rows, :, :n_slots] = part.unflatten(1, (-1, groups)).transpose(0, 1).flatten(1, 2).to(scores)
    by_token = layout.padded(grouped).permute(0, 2, 3, 1, 4).flatten(2, 3)  # variant, kv, group and token, d
    own = by_token @ own_layout.padded(k).permute(0, 2, 3, 1)
    own = own.unflatten(2, (groups, -1)).permute(0, 3, 1, 2, 4).flatten(2, 3)  # variant, token, head, own token
    return scores.scatter_(2, _columns(layout, q.shape[1]), layout.flat(own).to(scores))[..., :n_slots]


def _mixed(
    layout: Layout, pattern: Float[Tensor, "row head slot"], v: Tensor, values: Float[Tensor, "prompt kv slot d_v"]
) -> Float[Tensor, "row head d_v"]:
    groups, columns = pattern.shape[1] // v.shape[1], _columns(layout, pattern.shape[1])
    pattern = torch.nn.functional.pad(pattern, (0, layout.own.longest))
    own = layout.padded(pattern.gather(2, columns).unflatten(1, (-1, groups)))
    own = own.permute(0, 2, 3, 1, 4).flatten(2, 3) @ layout.own.padded(v).transpose(1, 2)
    mixed = layout.flat(own.unflatten(2, (groups, -1)).permute(0, 3, 1, 2, 4)).flatten(1, 2)
    before = pattern.scatter(2, columns, 0.0)[..., : values.shape[2]].unflatten(1, (-1, groups))
    for prompt, rows in layout.of_prompts:
        part = before[rows].transpose(0, 1).flatten(1, 2) @ values[prompt]
        mixed[rows] += part.unflatten(1, (-1, groups)).transpose(0, 1).flatten(1, 2)
    return mixed


def _columns(layout: Layout, heads: int) -> Int64[Tensor, "row head token"]:
    return layout.columns[:, None].expand(-1, heads, -1)


def _masked(scores: Float[Tensor, "row head slot"], layout: Layout, mask: Tensor | None) -> Tensor:
    least = torch.finfo(scores.dtype).min
    if mask is None:
        slots = torch.arange(scores.shape[-1], device=scores.device)
        return scores.masked_fill((slots > layout.slot[:, None])[:, None], least)
    rows = mask[layout.prompt if mask.shape[0] > 1 else torch.zeros_like(layout.prompt), :, layout.slot]
    rows = rows[..., : scores.shape[-1]]
    return scores.masked_fill(~rows, least) if rows.dtype == torch.bool else scores + rows


Places = tuple[Int64[Tensor, "row"], Int64[Tensor, "row"]]
"""Prompt and slot of each row."""


def gathered(value: Any, places: Places, shape: tuple[int, int]) -> Any:
    """A block's arguments for rows: what has batch and position axes, all else as it is; no cache."""
    from transformers import Cache

    if isinstance(value, dict):
        return {name: gathered(part, places, shape) for name, part in value.items()}
    if isinstance(value, tuple | list):
        parts: Sequence[Any] = value
        return type(parts)(gathered(part, places, shape) for part in parts)  # pyright: ignore[reportCallIssue]
    if isinstance(value, Cache):
        return None
    if not isinstance(value, Tensor) or value.dim() not in (2, 3) or value.shape[1] != shape[1]:
        return value
    if value.shape[0] not in (1, shape[0]):
        return value
    prompt, slot = places
    return value[prompt if value.shape[0] > 1 else torch.zeros_like(prompt), slot][:, None]
