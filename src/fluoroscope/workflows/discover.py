"""The circuit of a task: found, checked on new prompts, and told with what disagrees.

All edges are estimated on one pair of prompts, and the largest checked by patching; a circuit is found on some pairs
and judged on others, beside random circuits, beside the model without it, and without each of its nodes; of the heads
that it needs most it is told where they look. With `resume` every finished step is kept in a folder, and a run that was
stopped goes on from there.
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from fluoroscope import tasks, wiring
from fluoroscope.analyses.attention_patterns import AttentionPatterns, attention_patterns
from fluoroscope.analyses.circuit import Circuit, circuit
from fluoroscope.analyses.edges import EdgeEffect, Edges, edges
from fluoroscope.analyses.head_roles import HeadRoles, Look, head_roles
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.methods.discovery import FAITHFUL
from fluoroscope.progress import telling
from fluoroscope.render.text import counted, number, percent, quoted, share
from fluoroscope.result import Record
from fluoroscope.signature import AnyPrompt, AnyToken, MetricName, OutputFile
from fluoroscope.stepwise import Asks, Causes, Journal, Made, Stepwise, about, make
from fluoroscope.views import Column, Graph, Row, Table, View
from fluoroscope.wiring import Wire

if TYPE_CHECKING:
    from fluoroscope.model import Model

_CAUSES: Causes = {"estimates": (), "circuit": ()} | dict.fromkeys(
    ("attention", "roles"), (UnavailableError, ArgumentError)
)
"""Where heads look is left out, with the reason, where it cannot be read."""
_AGREES = 0.8  # a rank correlation from which on estimates count as right
_LEFT = 0.1  # of what the model does: what a complete circuit may leave
_CHANCE = 0.5  # of a circuit's faithfulness: what random ones may have
_NEEDED = 0.01  # of what the model does: less is no loss
_TOLD = 3


class NeededHead(Record):
    """A head that the circuit needs.

    Args:
        site: canonical name of its z; `name` as edges call it.
        loss: what the circuit loses without it, as a share of what the whole model does.
        direct: the value of its edge to the logits; None if the circuit has none.
        reads: the largest edge into it.
        look: where it looks in the first pair: from the last token, if it writes to the logits, else its largest
            weight on neither the first token nor the one that looks; None where that cannot be read.
        here: its role in the first pair; None likewise. `elsewhere` those that it has on random tokens.
    """

    site: str
    name: str
    loss: float
    direct: float | None
    reads: Wire | None
    look: Look | None
    here: str | None
    elsewhere: tuple[str, ...] | None


class Discovery(Stepwise):
    """The steps, and what comes of them together.

    Args:
        task: its name; None for a pair of one's own.
        estimates: every edge on the first pair, the largest checked by patching.
        circuit: what was found on some pairs, judged on others.
        attention: where all heads look in the first pair; `roles` what they do there and on random tokens.
        heads: those without which the circuit loses most.
        furthest: the edge whose estimate is furthest off.
        doubts: where steps disagree, each with its numbers.
    """

    task: str | None
    estimates: Edges
    circuit: Circuit
    attention: AttentionPatterns | None
    roles: HeadRoles | None
    heads: tuple[NeededHead, ...]
    furthest: EdgeEffect
    doubts: tuple[str, ...]

    def summary(self) -> str:
        found = self.circuit
        needs = ", ".join(f"{head.name} ({share(head.loss)})" for head in self.heads[:_TOLD])
        told = f"; of heads it loses most without {needs}" if needs else ""
        doubt = f"; {counted(len(self.doubts), 'doubt')} below" if self.doubts else ""
        return (
            f"{len(found.edges):,} of {found.total:,} edges ({percent(len(found.edges) / found.total)}) do "
            f"{found.faithfulness.told()} of what the model does {self._where()}{told}{doubt}."
        )

    def views(self) -> list[View]:
        opening, checked, worth, needed, *_, doubts = self.narrative
        graph, bars, sizes, losses, table = self.circuit.views()
        return [
            _told(graph, opening, doubts),
            _told(bars, worth),
            *([self._table()] if self.heads else []),
            _told(losses, needed),
            _told(self.estimates.views()[0], checked),
            sizes,
            table,
        ]

    def network(self) -> Graph:
        """The whole circuit, as .dot and .graphml files hold it."""
        return self.circuit.network()

    def told(self) -> tuple[str, ...]:
        """What was found: what is explained, a sentence for each step, and what disagrees."""
        found = self.circuit
        opening = f"What is explained is the {found.measured()}, {self._where()}; single edges and heads are looked at "
        opening += f"after ‘{found.clean}’, against ‘{found.corrupted}’."
        doubts = "No step disagrees with another here."
        if self.doubts:
            doubts = f"Not all of this agrees. {' '.join(f'{doubt}.' for doubt in self.doubts)}"
        heads = [f"{self._head(head)}." for head in self.heads[:_TOLD]]
        return (opening, self._checked(), found.summary(), self._needed(), *heads, *self.refused, doubts)

    def _where(self) -> str:
        if self.task is None:
            return "on this pair, which it was found on: others were not tried"
        return f"on {counted(self.circuit.judged_on, 'new pair')} of {self.task}"

    def _checked(self) -> str:
        """What the estimates of single edges are worth."""
        off = self.furthest
        return (
            f"{self.estimates.summary()} Furthest off is {_edge(off.sender, off.receiver, self.circuit.group)}: "
            f"{share(off.effect)} estimated, {share(off.exact or 0.0)} exactly."
        )

    def _needed(self) -> str:
        """How few of its nodes the circuit hangs on."""
        ranked = sorted(self.circuit.without, key=lambda each: -each.loss)
        told = ", ".join(f"{wiring.label(each.node)} {share(each.loss)}" for each in ranked[:5])
        idle = sum(abs(each.loss) < _NEEDED for each in ranked)
        return (
            f"Of what the model does, the circuit loses most without {told}; {idle} of its {len(ranked)} nodes can go "
            f"one at a time for less than {share(_NEEDED)}."
        )

    def _head(self, head: NeededHead) -> str:
        """What one head does in the circuit."""
        does: list[str] = []
        if head.direct is not None:
            does.append(f"writes to the logits ({share(head.direct)})")
        if head.reads is not None:
            way = wiring.label(head.reads.receiver, self.circuit.group)
            does.append(f"reads {wiring.label(head.reads.sender)} ({way}, {share(head.reads.value)})")
        if head.look is not None:
            does.append(f"looks from {self._ends(head.look)} with {percent(head.look.weight)} of its attention")
        return f"{head.name}, without which {share(head.loss)} is lost, {'; '.join(does) or 'does nothing by itself'}"

    def _ends(self, look: Look) -> str:
        return f"{self._token(look.query)} at {self._token(look.key)}"

    def _token(self, index: int) -> str:
        return f"{quoted(self.estimates.clean[index])} {index}"

    def _table(self) -> Table:
        names = ("head", "lost without", "to the logits", "reads most", "looks from", "at", "weight", "random tokens")
        return Table(
            title="The heads that the circuit needs most",
            caption=" ".join([
                *self.narrative[4:-1],
                "Lost without: of what the whole model does, if the circuit has none of the edges that the head sends. "
                "To the logits: the value of that edge. Where it looks is read in the first pair, from the last token "
                "for heads that write to the logits, else by the largest weight. On random tokens: its role there. "
                "What a head looks at is no proof of what it moves.",
            ]),
            columns=tuple(Column(name=name) for name in names),
            rows=tuple(Row(cells=self._cells(head), site=head.site) for head in self.heads),
        )  # fmt: skip

    def _cells(self, head: NeededHead) -> tuple[str | float | None, ...]:
        reads = "" if head.reads is None else f"{wiring.label(head.reads.sender)}, {head.reads.receiver[-1]}"
        ends, weight = ("", ""), None
        if head.look is not None:
            ends, weight = (self._token(head.look.query), self._token(head.look.key)), head.look.weight
        roles = "" if head.elsewhere is None else ", ".join(head.elsewhere) or "none"
        return head.name, head.loss, head.direct, reads, *ends, weight, roles


@checked
def discover(
    model: "Model",
    *,
    task: str | None = None,
    clean: AnyPrompt | None = None,
    corrupted: AnyPrompt | None = None,
    answer: AnyToken | None = None,
    foil: AnyToken | None = None,
    pairs: int = 8,
    size: float | None = None,
    metric: MetricName = "logit_diff",
    top_k: int = 20,
    heads: int = 6,
    seed: int = 0,
    resume: OutputFile | None = None,
    budget: int = 1024,
) -> Discovery:
    """Finds the circuit of a task or of a pair of prompts, checks it in several ways, and tells what its heads do.

    Args:
        task: instead of a pair one of agreement, arithmetic, docstring, duplicate_token, facts, gender_pronoun,
            greater_than, induction, ioi and presets.
        clean: the prompt that is answered as it should be, where it is about a single pair.
        corrupted: one of as many tokens that is answered otherwise.
        answer: of a single pair the token that is right, as text or id (#338), or several (" Mary| Anna"); without it
            the model's own prediction.
        foil: likewise what it is held against; without it the model's own prediction after the corrupted prompt.
        pairs: of a task, how many the circuit is found on; as many others are there to judge it.
        size: of the circuit, as a share of all edges below 1 or as a number of edges; without it the smallest of a
            few sizes that does 95 % on the pairs it is found on.
        metric: what is measured at the end of the prompt.
        top_k: how many of the largest estimates are checked by patching.
        heads: how many of the heads that the circuit needs most to describe, at most.
        seed: of the pairs of a task and of the random circuits.
        resume: a folder that keeps each finished step; a run that was stopped goes on from what it holds.
        budget: megabytes that a step may hold beside the model and its runs.

    Raises:
        ArgumentError: neither task nor pair, both, prompts of unequal length or answered alike, or no such size.
        TokenError: answer or foil is not one token or a set of them.
        UnavailableError: what the parts of this model write or read cannot be told apart.
        ArtifactError: the folder holds something else, or the steps of another run.
    """
    if heads < 1:
        raise ArgumentError(f"heads={heads} describes nothing", "Give at least 1.")
    own = {"clean": clean, "corrupted": corrupted, "answer": answer, "foil": foil}
    first = _first(model, task, own, pairs, seed)
    measured: dict[str, Any] = {"metric": metric, "budget": budget}
    asked = {"task": task, **own, "pairs": pairs, "size": size, "seed": seed, **measured}
    recipe = model.recipe(model.tokens([*model.tokens(first["clean"]).rows, *model.tokens(first["corrupted"]).rows]))
    journal = Journal(resume, about(recipe, "discover", top_k=top_k, **asked))
    given = {"estimates": {**first, **measured, "top_k": top_k}, "circuit": {**asked, "leave_out": True}}
    asks = _asks(model, first["clean"], given)
    with telling(lambda _: None):  # without all of its steps it is none
        made = make(journal, asks, "discover", _CAUSES)
    return _result(made, _heads(model, made.found, heads), task, chosen=size is None)


def _result(made: Made, needed: tuple[NeededHead, ...], task: str | None, *, chosen: bool) -> Discovery:
    """What all steps say together."""
    found = made.found
    result = Discovery(
        recipe=found["circuit"].recipe, task=task, **found, heads=needed, refused=made.refused, narrative=(),
        furthest=_furthest(found["estimates"]),
        doubts=tuple(_doubts(found["estimates"], found["circuit"], needed, chosen=chosen)),
    )  # fmt: skip
    return result.model_copy(update={"narrative": result.told()})


def _first(model: "Model", task: str | None, own: dict[str, Any], pairs: int, seed: int) -> dict[str, Any]:
    """The pair of prompts that single edges and heads are looked at in.

    Raises:
        ArgumentError: neither task nor pair, or both.
    """
    if task is None:
        if own["clean"] is None or own["corrupted"] is None:
            raise ArgumentError(
                "a circuit needs a task, or a clean and a corrupted prompt", f"Tasks: {', '.join(tasks.names())}."
            )
        return own
    if any(each is not None for each in own.values()):
        raise ArgumentError("a task has prompts and answers of its own", "Give a task, or a pair of prompts.")
    tasks.check_count(pairs)
    pair = tasks.make(task, model, 2 * pairs, seed).pairs[0]
    return {"clean": pair.clean, "corrupted": pair.corrupted, "answer": pair.answer, "foil": pair.foil}


def _asks(model: "Model", clean: Any, given: dict[str, dict[str, Any]]) -> Asks:
    """The steps, yet to be made."""
    return {
        "estimates": (Edges, partial(edges, model, **given["estimates"])),
        "circuit": (Circuit, partial(circuit, model, **given["circuit"])),
        "attention": (AttentionPatterns, partial(attention_patterns, model, clean)),
        "roles": (HeadRoles, partial(head_roles, model, clean)),
    }


def _furthest(guessed: Edges) -> EdgeEffect:
    """The edge whose estimate is furthest off."""
    return max(guessed.top, key=lambda each: abs(each.effect - (each.exact or 0.0)))


def _heads(model: "Model", found: dict[str, Any], count: int) -> tuple[NeededHead, ...]:
    """The heads without which the circuit loses most."""
    made: Circuit = found["circuit"]
    losses = {each.node: each.loss for each in made.without if each.node.startswith("L") and each.loss > 0}
    roles = {head.name: head for head in found["roles"].heads} if found["roles"] else {}
    looks = {head.label: head for head in found["attention"].heads} if found["attention"] else {}
    direct = {wire.sender: wire.value for wire in made.edges if wire.receiver == "logits"}
    needed: list[NeededHead] = []
    for name in sorted(losses, key=lambda name: -losses[name])[:count]:
        into = [wire for wire in made.edges if name in wiring.readers(wire.receiver, made.group)]
        role, end = roles.get(name), looks.get(name)
        look = role.top[0] if role and role.top else None
        if name in direct and end:
            look = Look(query=found["attention"].position, key=end.key, weight=end.share)
        needed.append(
            NeededHead(
                site=str(model.site(name)), name=name, loss=losses[name], direct=direct.get(name),
                reads=max(into, key=lambda wire: abs(wire.value), default=None), look=look,
                here=role.label if role else None, elsewhere=role.battery if role else None,
            )
        )  # fmt: skip
    return tuple(needed)


def _doubts(guessed: Edges, made: Circuit, heads: tuple[NeededHead, ...], *, chosen: bool) -> Iterator[str]:
    """What does not agree with something else.

    Args:
        chosen: whether the size is the smallest that was faithful enough where it was found.
    """
    if made.metric == "logit_diff" and made.clean_score <= 0:
        yield f"The model itself does not prefer the answers: its mean lead is {number(made.clean_score)} logits"
    yield from _doubts_of_edges(guessed, made)
    worth, left = made.faithfulness.mean, made.rest.mean
    if chosen and made.task and (made.faithfulness.high or worth) < FAITHFUL:
        yield f"The size was chosen to do {share(FAITHFUL)} where it was found, on new pairs it does {share(worth)}"
    if left > _LEFT:
        yield f"The circuit is not complete: without its edges {share(left)} is left"
    chance = max(made.random, default=0.0)
    if chance > _CHANCE * worth:
        yield f"A random circuit of its size does {share(chance)}, the circuit {share(worth)}"
    gaining = [f"{wiring.label(each.node)} ({share(-each.loss)})" for each in made.without if each.loss < -_NEEDED]
    if gaining:
        yield f"The circuit does more without {', '.join(gaining)}"
    other = [
        f"{head.name} ({head.here} here, {' and '.join(head.elsewhere) or 'none'} there)"
        for head in heads
        if head.elsewhere is not None and head.here not in (None, "diffuse", *head.elsewhere)
    ]
    if other:
        names = ", ".join(other)
        yield f"{len(other)} of {len(heads)} heads have a role here that random tokens do not confirm: {names}"


def _doubts_of_edges(guessed: Edges, made: Circuit) -> Iterator[str]:
    """Where estimates disagree with patching, and the first pair with the circuit."""
    if guessed.agreement is not None and guessed.agreement < _AGREES:
        yield (
            f"Over the {len(guessed.top)} largest edges of the first pair, estimates and patching agree at a rank "
            f"correlation of {number(guessed.agreement)} only"
        )
    turned = [each for each in guessed.top if each.effect * (each.exact or 0.0) < 0]
    if turned:
        names = ", ".join(_edge(each.sender, each.receiver, made.group) for each in turned[:_TOLD])
        yield f"{counted(len(turned), 'edge')} of {len(guessed.top)} do the reverse of their estimate: {names}"
    inside = {(wire.sender, wire.receiver) for wire in made.edges}
    outside = [each for each in guessed.top[: len(made.edges)] if (each.sender, each.receiver) not in inside]
    if outside:
        names = ", ".join(
            f"{_edge(each.sender, each.receiver, made.group)} ({share(each.exact or 0.0)})" for each in outside[:_TOLD]
        )
        are = "is" if len(outside) == 1 else "are"
        yield f"Of the largest edges of the first pair {len(outside)} {are} not in the circuit: {names}"


def _edge(sender: str, receiver: str, group: int) -> str:
    return f"{wiring.label(sender)} → {wiring.label(receiver, group)}"


def _told(view: View, *sentences: str) -> View:
    return view.model_copy(update={"caption": " ".join([*sentences, view.caption])})
