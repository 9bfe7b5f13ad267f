"""What patching did over the pairs of a task, as plain records: every pair, and every part at every place."""

from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

from fluoroscope.methods import confidence
from fluoroscope.render.text import brief
from fluoroscope.render.text import share as share_text
from fluoroscope.result import Record
from fluoroscope.result import number as finite
from fluoroscope.sites import Site

if TYPE_CHECKING:
    from fluoroscope.methods.task_sweeps import Place, Swept
    from fluoroscope.tasks import Dataset


class TaskPair(Record):
    """One pair of the task.

    Args:
        prefers: whether the model finds the answer likelier than the foil after the clean prompt.
        donor: index of the pair whose values are put in for the level; None without one.
    """

    clean: str
    corrupted: str
    answer: str
    foil: str
    clean_score: float
    corrupted_score: float
    prefers: bool
    donor: int | None

    def cells(self) -> tuple[str | float, ...]:
        """A row of a table."""
        answers = brief(self.answer), brief(self.foil), self.clean_score, self.corrupted_score
        return self.clean, self.corrupted, *answers, "yes" if self.prefers else "no"


class TaskEffect(Record):
    """What one part does at one place, over all pairs.

    Args:
        site: canonical name.
        place: one of the places of the result.
        share: mean change of the metric over the mean way from one prompt's score to the other's: 0 nothing, 1 all.
        share_low, share_high: the ends of its 95 % interval over pairs (a ratio of means, Cochran 1977); None for one
            pair.
        score: mean of the metric itself; `score_low` and `score_high` likewise, by Student's t.
        foreign: the share with values of other pairs; None where it was not measured.
        noise: that less the share with values of the other pairs' prompts of the kind that is patched; likewise.
    """

    site: str
    place: str
    share: float
    share_low: float | None
    share_high: float | None
    score: float
    score_low: float | None
    score_high: float | None
    foreign: float | None
    noise: float | None

    @property
    def label(self) -> str:
        """L4H2."""
        return head(self.site)

    def nearest(self) -> float:
        """The size of the end of the interval that is nearest to nothing; below 0 where it holds nothing."""
        if self.share_low is None or self.share_high is None:
            return abs(self.share)
        return self.share_low if self.share > 0 else -self.share_high

    def interval(self, form: str = "{}") -> str:
        """The interval in words, `33.8 to 39.0 %`, as a form holds it; nothing for one pair."""
        if self.share_low is None or self.share_high is None:
            return ""
        return form.format(f"{share_text(self.share_low).removesuffix(' %')} to {share_text(self.share_high)}")

    def remark(self) -> str:
        """What stands beside its bar."""
        foreign = "" if self.foreign is None else f"foreign {share_text(self.foreign)}"
        return "; ".join(filter(None, (self.interval(), foreign)))


def pairs(
    dataset: "Dataset", found: "Swept", prefers: Sequence[bool], donors: Sequence[int | None] | None
) -> tuple[TaskPair, ...]:
    """Every pair with its scores."""
    ends = found.effects.clean.tolist(), found.effects.corrupted.tolist()
    each = zip(dataset, *ends, prefers, donors or [None] * len(dataset), strict=True)
    return tuple(
        TaskPair(
            clean=pair.clean, corrupted=pair.corrupted, answer=pair.answer, foil=pair.foil, clean_score=clean,
            corrupted_score=corrupted, prefers=likelier, donor=donor,
        )
        for pair, clean, corrupted, likelier, donor in each
    )  # fmt: skip


def effects(sites: Sequence[Site], where: "Sequence[Place]", found: "Swept") -> tuple[TaskEffect, ...]:
    """Of every part at every place that was measured in all pairs."""
    scores, foreign = found.effects.scores.mT, found.foreign_shares()
    numbers = [*found.shares(), scores.mean(0), *confidence.interval(scores)]
    columns = [column.tolist() for column in (*numbers, *(foreign or ()))]
    told: list[TaskEffect] = []
    for index, (site, place) in enumerate(product(sites, where)):
        share, low, high, score, least, most, *other = (column[index] for column in columns)
        if finite(share) is not None:
            told.append(
                TaskEffect(
                    site=str(site), place=place.label, share=share, share_low=finite(low), share_high=finite(high),
                    score=score, score_low=finite(least), score_high=finite(most),
                    foreign=finite(other[0]) if other else None, noise=finite(other[1]) if other else None,
                )
            )  # fmt: skip
    return tuple(told)


def head(site: str) -> str:
    """Of a head, whichever of its values it is: L4H2; of all else the site itself."""
    parsed = Site.parse(site)
    return site if parsed.unit is None else Site("z", parsed.layer, parsed.unit).label
