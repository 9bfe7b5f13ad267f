"""Which heads and MLPs move the answer through what some later head, MLP or the end reads.

Every sender has the other prompt's value while all other heads keep theirs; only what the receivers read of that is
let through. Wang et al. 2022, "Interpretability in the Wild"; Goldowsky-Dill et al. 2023, "Localizing Model Behavior
with Path Patching".
"""

from math import isfinite
from typing import TYPE_CHECKING, Literal

from fluoroscope import metrics, patched
from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import contrast, paths, sweeps
from fluoroscope.patched import Patched
from fluoroscope.result import Record
from fluoroscope.signature import AnyMetric, AnyPrompt, AnyToken, Direction, Precision
from fluoroscope.sites import Site, by_layer
from fluoroscope.views import Bar, Bars, HeadGrid, View

if TYPE_CHECKING:
    from fluoroscope.model import Model

THEME = "Causes"

_READ = {"q": "queries", "k": "keys", "v": "values"}
_NAMED = 12


class Sender(Record):
    """A head, an MLP or the token embedding.

    Args:
        effect: share of the way from its own prompt's score to the other's, through the receivers alone.
        score: the metric then.
    """

    site: str
    effect: float
    score: float

    @property
    def label(self) -> str:
        """L2H3, MLP 2 or token embedding."""
        return patched.part(Site.parse(self.site))


class PathPatching(Patched):
    """The effect of every sender on the answer, through the receivers.

    Args:
        receivers: canonical sites of what reads: q.4.2 are the queries of L4H2, logits the end of the stream; keys and
            values are those of kv heads.
        readers: for each receiver the heads that read it, by their labels; none for MLPs and logits.
        hold_mlps: whether MLPs between sender and receivers kept their values.
        positions: indices of the tokens at which senders are patched; None for all.
        senders: the token embedding, and all heads and MLPs below the last receiver, in the order of computation.
    """

    receivers: tuple[str, ...]
    readers: tuple[tuple[str, ...], ...]
    hold_mlps: bool
    positions: tuple[int, ...] | None
    senders: tuple[Sender, ...]

    def top(self) -> list[Sender]:
        """The senders, the largest effect first."""
        return sorted(self.senders, key=lambda sender: -abs(sender.effect))

    def summary(self) -> str:
        first = patched.most([(sender.label, sender.effect) for sender in self.top()])
        does = self.verb().removesuffix("s")
        through = f"Through {self._through()}, single parts {does} of the {self.asked()} ({self.gap()}): {first}."
        return self.partial() + through + self.doubts()

    def _through(self) -> str:
        if self.receivers == ("logits",):
            return "the direct path to the logits"
        named: dict[str, list[str]] = {}
        for site, heads in zip(map(Site.parse, self.receivers), self.readers, strict=True):
            named.setdefault(_READ.get(site.name, "MLP"), []).append(patched.reading(heads) or str(site.layer))
        of = {kind: "MLP " if kind == "MLP" else f"the {kind} of " for kind in named}
        return " and ".join(of[kind] + ", ".join(units) for kind, units in named.items())

    def views(self) -> list[View]:
        heads = {sender.site: sender.effect for sender in self.senders if Site.parse(sender.site).name == "z"}
        way = "by the direct path alone" if self.hold_mlps else "by the stream, and by MLPs on the way"
        bars = Bars(
            title=f"Through {self._through()}",
            caption=f"How much each part {self.verb()} of the {self.asked()}. Its difference reaches what is read "
            f"{way}; all other heads keep their values. "
            f"Share of the way between the two scores ({self.gap()}).",
            unit="share",
            signed=True,
            items=tuple(Bar(label=each.label, value=each.effect, site=each.site) for each in self.top()[:_NAMED]),
        )
        caption = "A row is a block, a column a head in it."
        return [bars, HeadGrid(title="Every head", caption=caption, unit="share", values=by_layer(heads))]


@checked
def path_patching(
    model: "Model",
    clean: AnyPrompt,
    corrupted: AnyPrompt,
    *,
    receivers: list[str],
    reads: Literal["q", "k", "v"] = "q",
    answer: AnyToken | None = None,
    foil: AnyToken | None = None,
    positions: list[int] | None = None,
    hold_mlps: bool = False,
    metric: AnyMetric = "logit_diff",
    direction: Direction = "noise",
    precision: Precision = "float32",
    budget: int = 1024,
) -> PathPatching:
    """Patches every head, MLP and the embedding into what some receivers read, and nothing else.

    Args:
        clean: the prompt that is answered as it should be.
        corrupted: one of as many tokens that is answered otherwise.
        receivers: heads (L4H2), MLPs (mlp_out.3), several of them together, or logits alone for the direct path.
        reads: what of receiving heads: queries, keys or values.
        answer: the token that is right, as text or id (#338), or several (" Mary| Anna"); without it the model's own
            prediction after the clean prompt.
        foil: the token it is held against; without it the model's own prediction after the corrupted prompt.
        positions: indices of the tokens at which senders are patched; negative counts from the end; without them all.
        hold_mlps: keeps MLPs between sender and receivers as well, so that only the direct path is left.
        metric: what is measured at the end of the prompt.
        direction: noise puts corrupted values into the clean prompt, as the paper does; denoise the reverse.
        precision: bfloat16 sweeps faster on most processors, with an error of about 1e-2 of the logits.
        budget: megabytes that the sweep may hold beside the model and the two runs.

    Raises:
        ArgumentError: prompts of unequal length or the same tokens, both scored alike, or no such receiver.
        TokenError, SiteError, UnavailableError: no such token, position or receiver.
    """
    reading = list(dict.fromkeys(paths.receiver(model, name, reads) for name in receivers))
    if not reading:
        raise ArgumentError("no receiver was named", "Name heads (L4H2), MLPs (mlp_out.3) or logits.")
    paths.check(model, hold_mlps=hold_mlps)
    sweep = sweeps.Sweep(model, [(clean, corrupted)], paths.needed(reading), direction, budget << 20, precision)
    asked = contrast.asked(model, answer, foil)
    measured, told, against = sweeps.measure(model, sweep, metric, asked.target, asked.foil)
    places = sweep.positions(positions)
    sending = paths.senders(model, reading)
    parts = [sweeps.Part((site,), places) for site in sending]

    def result(found: sweeps.Effects) -> PathPatching:
        return PathPatching(
            **patched.fields(model, sweep, found, told, against),
            metric=metrics.resolve(metric),
            receivers=tuple(map(str, reading)),
            readers=tuple(tuple(head.label for head in paths.readers(model, site)) for site in reading),
            hold_mlps=hold_mlps,
            positions=places,
            senders=_measured(sending, found),
        )

    return sweeps.told(lambda: paths.effects(sweep, parts, reading, measured, hold_mlps=hold_mlps), result)


def _measured(sending: list[Site], found: sweeps.Effects) -> tuple[Sender, ...]:
    values = zip(sending, found.shares[:, 0].tolist(), found.scores[:, 0].tolist(), strict=True)
    return tuple(
        Sender(site=str(site), effect=effect, score=score) for site, effect, score in values if isfinite(score)
    )
