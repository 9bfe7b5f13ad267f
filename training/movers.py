"""Indirect objects: who moves the receiver's name to the end, and who tells which name came twice."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fluoroscope.interventions import mean_ablate, replace
from fluoroscope.methods.decomposition import decompose, sites_needed
from fluoroscope.model import Model
from fluoroscope.tokens import Tokens
from fluoroscope.trace import Trace
from training.finding import END, Finding, Head, edits_at_end, heads_of, label
from training.world import Case, cases


@dataclass(frozen=True)
class _Scenes:
    """Prompts that end before the receiver's name, with what each head does at their last token, row by row.

    Attributes:
        words: each head's direct logit attribution of answer minus foil.
        looks: each head's attention from the last token to the receiver (IO) and the giver's two mentions (S1, S2).
        orders: the rows in which the receiver is told first, and those in which second.
    """

    told: Sequence[Case]
    tokens: Tokens
    trace: Trace
    answers: Tensor
    foils: Tensor
    words: dict[Head, Tensor]
    looks: dict[str, dict[Head, Tensor]]
    orders: dict[str, Tensor]


def _scenes(model: Model, n: int) -> _Scenes:
    told = cases("ioi", n, seed=7)
    tokens = model.tokens([case.prompt for case in told], pad="left")
    trace = model.trace(tokens, sites=[*sites_needed(model, "head"), "pattern.*"])
    answers, foils = (torch.tensor([model.single_token(str(word)) for word in words]) for words in _words(told))
    places = _occurrences(model, tokens.ids, told)
    orders = {"receiver first": places["IO"] < places["S1"], "receiver second": places["IO"] > places["S1"]}
    looks = {name: _attended(model, trace, slots) for name, slots in places.items()}
    words = _attribution(model, trace, answers, foils)
    return _Scenes(told, tokens, trace, answers, foils, words, looks, orders)


def ioi(model: Model, n: int) -> list[Finding]:
    """Name movers by exact attribution and attention, and the heads that tell them which name came twice.

    A mean over both orders of the names hides heads that read, say, whoever was told second, so each order is looked
    at by itself: its movers attend to the receiver more than to the giver and write for the receiver there.
    """
    scenes = _scenes(model, n)
    last = scenes.trace.logits[:, END]
    whole = float(_difference(last, scenes.answers, scenes.foils).mean())
    by_order = {order: _movers(model, scenes, rows, 0.03 * whole) for order, rows in scenes.orders.items()}
    enough = math.ceil(len(heads_of(model)) / 16)  # three of the specimen's 48, two of its sibling's 24
    union = [head for head in heads_of(model) if any(head in movers for movers in by_order.values())]
    means = {head: scenes.trace[f"z.{head[0]}.{head[1]}"][:, END].mean(0) for head in union}
    edits = edits_at_end(union, lambda head: mean_ablate(means[head]))
    without = model.trace(scenes.tokens, edits=edits).logits[:, END]
    figures = [{"head": label(head)} | _by_order(scenes, head) for head in union]
    return [
        Finding("IOI: logit difference", whole, details={"accuracy": _right(last, scenes.answers)}),
        *(
            Finding(f"IOI: name movers, {order}", len(movers), least=enough, heads=tuple(map(label, movers)))
            for order, movers in by_order.items()
        ),
        Finding("IOI: movers in both orders", len(set.intersection(*map(set, by_order.values())))),
        Finding(
            "IOI: accuracy without the name movers", _right(without, scenes.answers), most=0.5,
            heads=tuple(map(label, union)), details={"table": figures},
        ),
        Finding("IOI: logit difference without them", float(_difference(without, scenes.answers, scenes.foils).mean())),
        _s2_movers(model, scenes),
    ]  # fmt: skip


def _movers(model: Model, scenes: _Scenes, rows: Tensor, least: float) -> list[Head]:
    """The heads that write at least so many logits for the receiver in these rows and look at him above all."""
    written = {head: float(values[rows].mean()) for head, values in scenes.words.items()}
    seen = {name: {head: float(each[head][rows].mean()) for head in each} for name, each in scenes.looks.items()}
    return [
        head
        for head in sorted(heads_of(model), key=lambda head: -written[head])
        if written[head] > least and seen["IO"][head] > max(0.25, seen["S1"][head])
    ]


def _by_order(scenes: _Scenes, head: Head) -> dict[str, float]:
    """Logits written and attention to the receiver, in each order."""
    found: dict[str, float] = {}
    for order, rows in scenes.orders.items():
        found[f"logits, {order}"] = round(float(scenes.words[head][rows].mean()), 3)
    for order, rows in scenes.orders.items():
        found[f"attends to IO, {order}"] = round(float(scenes.looks["IO"][head][rows].mean()), 3)
    return found


def _words(told: Sequence[Case]) -> tuple[list[str], list[str]]:
    return [case.answer for case in told], [str(case.foil) for case in told]


def _difference(last: Tensor, answers: Tensor, foils: Tensor) -> Tensor:
    rows = torch.arange(len(last))
    return last[rows, answers] - last[rows, foils]


def _right(last: Tensor, answers: Tensor) -> float:
    return float((last.argmax(-1) == answers).float().mean())


def _attribution(model: Model, trace: Trace, answers: Tensor, foils: Tensor) -> dict[Head, Tensor]:
    """Direct logit attribution of answer minus foil at the last token: one value a row, per head."""
    found = {head: torch.zeros(len(answers)) for head in heads_of(model)}
    slot = trace.tokens.ids.shape[1] - 1
    for row, (answer, foil) in enumerate(zip(answers.tolist(), foils.tolist(), strict=True)):
        weights = torch.zeros(model.d_vocab)
        weights[answer], weights[foil] = 1.0, -1.0
        for part in decompose(model, trace, slot, weights, row=row):
            if part.site is not None and part.site.name == "z":
                found[part.site.layer or 0, part.site.unit or 0][row] = part.value
    return found


def _occurrences(model: Model, ids: Tensor, told: Sequence[Case]) -> dict[str, Tensor]:
    """Slots of the receiver (IO) and of the giver's first and second mention (S1, S2), one a row."""
    slots: dict[str, list[int]] = {"IO": [], "S1": [], "S2": []}
    for row, case in zip(ids, told, strict=True):
        receiver, giver = (_mentions(model, row, str(word)) for word in (case.answer, case.foil))
        for name, slot in (("IO", receiver[0]), ("S1", giver[0]), ("S2", giver[-1])):
            slots[name].append(slot)
    return {name: torch.tensor(found) for name, found in slots.items()}


def _mentions(model: Model, row: Tensor, word: str) -> list[int]:
    """Slots where a one-token word stands, with or without the space before it."""
    forms = torch.tensor([model.single_token(word), model.single_token(word.strip())])
    return torch.isin(row, forms).nonzero()[:, 0].tolist()


def _attended(model: Model, trace: Trace, slots: Tensor) -> dict[Head, Tensor]:
    """Attention from the last token to one slot a row, per head."""
    rows = torch.arange(len(slots))
    return {(layer, head): trace[f"pattern.{layer}"][rows, head, END, slots] for layer, head in heads_of(model)}


def _s2_movers(model: Model, scenes: _Scenes) -> Finding:
    """Heads that read the second mention: patched from clean to corrupted (giver swapped) at the last token."""
    clean, answers, foils = scenes.trace, scenes.answers, scenes.foils
    swapped = [str(case.answer).join(case.prompt.rsplit(str(case.foil), 1)) for case in scenes.told]
    tokens = model.tokens(swapped, pad="left")
    corrupted = _difference(model.trace(tokens).logits[:, END], answers, foils).mean()
    whole = _difference(clean.logits[:, END], answers, foils).mean() - corrupted

    def restored(heads: Sequence[Head]) -> float:
        edits = edits_at_end(heads, lambda head: replace(clean[f"z.{head[0]}.{head[1]}"][:, END:]))
        patched = _difference(model.trace(tokens, edits=edits).logits[:, END], answers, foils).mean()
        return float((patched - corrupted) / whole)

    to_s2 = {head: float(share.mean()) for head, share in scenes.looks["S2"].items()}
    readers = [head for head in heads_of(model) if to_s2[head] > 0.2]
    alone = {head: restored([head]) for head in readers}
    movers = [head for head in sorted(readers, key=lambda head: -alone[head]) if alone[head] > 0.01]
    table = [
        {"head": label(head), "restores alone": round(alone[head], 3), "attends to S2": round(to_s2[head], 3)}
        | {"logits": round(float(scenes.words[head].mean()), 3)}
        for head in movers
    ]
    names = tuple(label(head) for head in movers)
    return Finding("IOI: S2 movers restore together", restored(movers), 0.95, None, names, {"table": table})
