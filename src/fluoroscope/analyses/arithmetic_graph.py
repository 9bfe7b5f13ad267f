"""How a model calculates: which heads and MLPs carry the operands to the answer, if any do.

Nothing of it is calculated here: the model's answer stands beside the true one, and the graph shows which way the
effect of an operand takes through the model (Stolfo et al. 2023, "A Mechanistic Interpretation of Arithmetic Reasoning
in Language Models"). That a part carries a number does not show by which rule it calculates (Nikankin et al. 2024,
"Arithmetic Without Algorithms"), and a single right answer may be remembered, so other operands are asked as well.
"""

from collections.abc import Iterator
from itertools import islice
from math import prod
from typing import TYPE_CHECKING

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import arithmetic, operand_flow, operands
from fluoroscope.methods.arithmetic import SIDES, Calculation, Side
from fluoroscope.methods.operand_flow import Flow, Shares, Trial
from fluoroscope.methods.operands import Spelling
from fluoroscope.methods.path_patching import Node as Place
from fluoroscope.render.text import number, percent, quoted, visible
from fluoroscope.result import Record, Result
from fluoroscope.sites import Site
from fluoroscope.views import Column, Edge, Graph, Lines, Mark, Node, Row, Series, Table, View

if TYPE_CHECKING:
    from fluoroscope.model import Model
    from fluoroscope.trace import Trace

THEME = "Reasoning and chats"

LEAST = 0.02
"""Parts and paths of smaller shares for both operands are left out."""


class Both(Record):
    """A share for each operand; None where it is not defined."""

    left: float | None
    right: float | None

    @property
    def larger(self) -> float:
        """The one of larger magnitude; 0 if there is none."""
        return max((share for share in (self.left, self.right) if share is not None), key=abs, default=0.0)


class Operand(Record):
    """One operand of the calculation.

    Args:
        text: what its tokens show.
        slots: indices of its tokens.
        others: the other numbers that were tried in its place.
        solved: how many of them the model calculated rightly, as far as the token that is looked at.
        told_apart: how many of them it answered differently; all shares are means over these.
        effect: how far these move the logit difference between the two answers, in logits; None if there are none.
    """

    side: Side
    value: int
    text: str
    slots: tuple[int, ...]
    others: tuple[int, ...]
    solved: int
    told_apart: int
    effect: float | None


class Digit(Record):
    """One token of the true answer, the tokens before it given.

    Args:
        depths: its probability if the model stopped after the embedding, and after each block.
    """

    token: str
    id: int
    probability: float
    depths: tuple[float, ...]


class Mover(Record):
    """A head or MLP at one token; `methods/path_patching.py` defines its share, `operand_flow.py` what it writes.

    Args:
        looks: a head's attention to the tokens of each operand; nothing where there are no patterns.
        writes: nothing before the last token, from where nobody writes the answer.
    """

    id: str
    site: str
    label: str
    slot: int
    share: Both
    writes: Both
    looks: Both


class Path(Record):
    """A path from an operand (`left`, `right`) or a mover, to a mover or the `answer`, by their ids."""

    source: str
    target: str
    share: Both


class WritingNeuron(Record):
    """A neuron at the last token: the share of the answer's change that it writes, and that of patching it alone."""

    site: str
    label: str
    writes: Both
    share: Both


class ArithmeticGraph(Result):
    """What a model answers to a calculation, and how the operands get there.

    Args:
        tokens: the prompt, and the answer's tokens before the one that is looked at.
        calculation: what is asked, as the program reads it; `truth` is its result.
        written: what the model goes on with, up to the end of its number; `answer` is this number, if it is one.
        probability: of the true answer, all its tokens together.
        step: index of the token of the true answer that all below is about.
        said: the token that the model finds likeliest there.
        movers: in the order of computation.
        neurons: the largest first.
    """

    tokens: tuple[str, ...]
    calculation: str
    truth: int
    written: str
    answer: int | None
    probability: float
    digits: tuple[Digit, ...]
    step: int
    said: str
    operands: tuple[Operand, Operand]
    movers: tuple[Mover, ...]
    paths: tuple[Path, ...]
    neurons: tuple[WritingNeuron, ...]

    @property
    def right(self) -> bool:
        """Whether the model's answer is the true one."""
        return self.answer == self.truth

    def summary(self) -> str:
        if not self.right:
            same = "" if any(each.told_apart for each in self.operands) else " whatever the operands"
            return (
                f"The model does not solve {self.calculation}: it goes on with {quoted(self.written)}{same}, and "
                f"{self.truth} has {percent(self.probability)}, so nothing here is its way of calculating."
            )
        solved, tried = sum(each.solved for each in self.operands), sum(len(each.others) for each in self.operands)
        found = f"The model solves {self.calculation} = {self.truth} with {percent(self.probability)}, and {solved} of "
        found += f"{tried} more with another operand"
        carried = list(filter(None, map(self._carrier, self.operands)))
        most = "the heads that carry most are" if len(carried) > 1 else "the head that carries most is"
        told = [f"{most} {' and '.join(carried)}"] if carried else []
        writer = max(self.movers, key=lambda mover: mover.writes.larger, default=None)
        if writer is not None and writer.writes.larger >= LEAST:
            told.append(f"{writer.label} writes the largest share of the answer ({number(writer.writes.larger)})")
        return f"{found}: {', '.join(told)}." if told else f"{found}; no part stands out."

    def _carrier(self, operand: Operand) -> str:
        shares = {m.label: getattr(m.share, operand.side) or 0.0 for m in self.movers if m.site.startswith("z.")}
        label = max(shares, key=lambda each: shares[each], default=None)
        if label is None or shares[label] < LEAST:
            return ""
        same = len({each.value for each in self.operands}) == 1
        which = f"the {operand.side} {operand.value}" if same else str(operand.value)
        return f"{label} for {which} ({number(shares[label])} of its effect)"

    def views(self) -> list[View]:
        if not self.movers:
            return [self._lens()]
        return [self._graph(), self._lens(), self._table(), *([self._neurons()] if self.neurons else [])]

    def _graph(self) -> Graph:
        nodes = [Node(id=o.side, rank=-1, label=o.text, token=True, group="operand") for o in self.operands]
        ends = {end for path in self.paths for end in (path.source, path.target)}
        alone = ", ".join(self._name(mover) for mover in self.movers if mover.id not in ends)
        for mover in (mover for mover in self.movers if mover.id in ends):
            site = Site.parse(mover.site)
            rank, group = (2 * (site.layer or 0), "head") if site.name == "z" else (2 * (site.layer or 0) + 1, "MLP")
            value, name = mover.share.larger, self._name(mover)
            nodes.append(Node(id=mover.id, rank=rank, label=name, group=group, value=value, site=mover.site))
        nodes.append(Node(id="answer", rank=1 + nodes[-1].rank, label=self.said, token=True, group="answer"))
        way = f"How {self.calculation} becomes {quoted(self.said)}"
        tried = " and ".join(f"{each.told_apart} other numbers for {each.value}" for each in self.operands)
        return Graph(
            title=way if self.right else f"What the wrong answer {quoted(self.said)} hangs on",
            caption="In a box: the share of another operand's effect on the answer that this part alone has when it "
            "is taken from that prompt. At an arrow: the same with only what the part reads from there; at an arrow to "
            "the answer: the share that it writes itself. Of both operands the larger share; means over "
            f"{tried}. Shares overlap, so they need not sum to 1; what is below {LEAST} is left out"
            f"{f', and what no arrow leads to or from: {alone}' if alone else ''}.",
            unit="share of the operand's effect",
            signed=True,
            nodes=tuple(nodes),
            edges=tuple(Edge(source=path.source, target=path.target, value=path.share.larger) for path in self.paths),
        )

    def _name(self, mover: Mover) -> str:
        token = self.tokens[mover.slot]
        return f"{mover.label} @ {visible(token)}" + (f" {mover.slot}" if self.tokens.count(token) > 1 else "")

    def _lens(self) -> Lines:
        ticks = ["emb", *(f"L{layer}" for layer in range(len(self.digits[0].depths) - 1))]
        return Lines(
            title=f"The true answer {self.truth} over depth",
            caption="Logit lens: the probability of each of its tokens, those before it given, if the model stopped "
            "after the embedding or after a block.",
            unit="probability",
            maximum=1.0,
            x=tuple(Mark(label=tick) for tick in ticks),
            series=tuple(Series(label=digit.token, token=True, values=digit.depths) for digit in self.digits),
        )

    def _table(self) -> Table:
        left, right = (str(operand.value) for operand in self.operands)
        names = ("part", f"carries {left}", right, f"writes {left}", right, f"looks at {left}", right)
        movers = sorted(self.movers, key=lambda mover: -abs(mover.share.larger))
        return Table(
            title="What carries the operands",
            caption="For each operand: the share of its effect that the part has alone, the share that it writes into "
            "the answer, and a head's attention to its tokens.",
            columns=tuple(Column(name=name) for name in names),
            rows=tuple(Row(cells=(self._name(m), *_flat(m.share, m.writes, m.looks)), site=m.site) for m in movers),
        )

    def _neurons(self) -> Table:
        return Table(
            title="Neurons that write the answer",
            caption="For the operand for which it is larger: the share of the answer's change that the neuron writes, "
            "and the share that it has when it alone is taken from a prompt with another operand.",
            columns=tuple(Column(name=name) for name in ("neuron", "writes", "alone")),
            rows=tuple(Row(cells=(n.label, n.writes.larger, n.share.larger), site=n.site) for n in self.neurons),
        )


@checked
def arithmetic_graph(
    model: "Model",
    prompt: str,
    *,
    expression: str | None = None,
    step: int = 0,
    samples: int = 4,
    top_k: int = 6,
    seed: int = 0,
) -> ArithmeticGraph:
    """Traces how the operands of a calculation get into the answer, by patching from prompts with another operand.

    Args:
        prompt: a text that ends where the answer begins, mostly without a space; its last calculation counts.
        expression: the calculation, such as 3 + 2, where the prompt has its numbers but does not write it out.
        step: which token of the true answer to look at, counted from 0; the tokens before it are given.
        samples: how many other numbers to put in the place of each operand, at most.
        top_k: how many heads, MLPs and neurons to show, at most, of each.
        seed: of the draw of the other numbers.

    Raises:
        ArgumentError: no calculation that can be read, a number below 1, or a step beyond the answer.
        TokenError: the tokenizer does not show the prompt, or cannot put an answer behind it.
        UnavailableError: this model offers no exact decomposition of its logits.
    """
    if min(samples, top_k) < 1:
        raise ArgumentError(f"samples={samples}, top_k={top_k} leave nothing to look at", "Give at least 1 of each.")
    asked = arithmetic.parse(prompt) if expression is None else arithmetic.locate(prompt, expression)
    bare, spelled = model.tokens(prompt).rows[0], operands.spelling(model, asked)
    if not 0 <= step < len(spelled.ids):
        raise ArgumentError(f"the answer {asked.result} has no token {step}", f"They run 0..{len(spelled.ids) - 1}.")
    sites = [*operand_flow.sites_needed(model), *model.sites("pattern")]
    clean = model.trace([*bare, *spelled.ids[:step]], sites=sites)
    trials: dict[Side, Trial] = {}
    for side in SIDES:
        others = operands.counterfactuals(model, asked, side, spelled, step, seed)
        trials[side] = operand_flow.trial(model, clean, islice(others, samples))
    flow = operand_flow.flow(model, {side: trial.contrasts for side, trial in trials.items()}, top_k)
    left, right = (_operand(model, asked, side, trial) for side, trial in trials.items())
    movers = [_mover(clean, (left, right), node, flow) for node, share in flow.nodes.items() if _seen(share)]
    digits = _digits(model, bare, spelled)
    written, answer = operands.written(model, bare, len(spelled.ids) + 2)
    return ArithmeticGraph(
        recipe=clean.recipe.model_copy(update={"seed": seed}),
        tokens=tuple(clean.tokens.labels[0]),
        calculation=str(asked),
        truth=asked.result,
        written=written,
        answer=answer,
        probability=prod(digit.probability for digit in digits),
        digits=digits,
        step=step,
        said=model.token_label(int(clean.logits[0, -1].argmax())),
        operands=(left, right),
        movers=tuple(movers),
        paths=tuple(_paths(flow, movers)),
        neurons=tuple(_neurons(flow)),
    )


def _operand(model: "Model", asked: Calculation, side: Side, trial: Trial) -> Operand:
    tokens = model.tokens(asked.text)
    slots = operands.slots(tokens, asked, side)
    effects = [contrast.whole for contrast in trial.contrasts]
    return Operand(
        side=side,
        value=asked.operand(side).value,
        text="".join(tokens.pieces[0][slot] for slot in slots),
        slots=slots,
        others=tuple(other.operand(side).value for other in trial.calculations),
        solved=trial.solved,
        told_apart=len(effects),
        effect=sum(effects) / len(effects) if effects else None,
    )


def _digits(model: "Model", prompt: list[int], spelled: Spelling) -> tuple[Digit, ...]:
    columns = operands.log_probabilities(model, prompt, spelled.ids).exp().T.tolist()
    return tuple(
        Digit(token=model.token_label(token), id=token, probability=column[-1], depths=tuple(column[:-1]))
        for token, column in zip(spelled.ids, columns, strict=True)
    )


def _mover(clean: "Trace", asked: tuple[Operand, Operand], node: Place, flow: Flow) -> Mover:
    looks: Shares = {}
    if node.site.name == "z" and Site("pattern", node.site.layer) in clean.values:
        pattern = clean[Site("pattern", node.site.layer, node.site.unit)][0, node.slot]
        looks = {operand.side: float(pattern[list(operand.slots)].sum()) for operand in asked}
    return Mover(
        id=_id(node),
        site=str(node.site),
        label=node.site.label,
        slot=node.slot,
        share=_both(flow.nodes[node]),
        writes=_both(flow.written.get(node, {})),
        looks=_both(looks),
    )


def _paths(flow: Flow, movers: list[Mover]) -> Iterator[Path]:
    """The paths between what is shown, and those to the answer."""
    shown = {mover.id for mover in movers}
    for (sender, receiver), share in flow.paths.items():
        source = sender if isinstance(sender, str) else _id(sender)
        if _seen(share) and _id(receiver) in shown and source in shown | {*SIDES}:
            yield Path(source=source, target=_id(receiver), share=_both(share))
    for mover in movers:
        if abs(mover.writes.larger) >= LEAST:
            yield Path(source=mover.id, target="answer", share=mover.writes)


def _neurons(flow: Flow) -> Iterator[WritingNeuron]:
    for site, (writes, share) in flow.neurons.items():
        if _seen(writes):
            yield WritingNeuron(site=str(site), label=site.label, writes=_both(writes), share=_both(share))


def _id(node: Place) -> str:
    return f"{node.site}@{node.slot}"


def _flat(*shares: Both) -> Iterator[float | None]:
    for both in shares:
        yield from (both.left, both.right)


def _seen(shares: Shares) -> bool:
    return operand_flow.size(shares) >= LEAST


def _both(shares: Shares) -> Both:
    return Both(left=shares.get("left"), right=shares.get("right"))
