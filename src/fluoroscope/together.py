"""A base run, and copies of it in which one prompt borrows values of another's, in one pass of Hugging Face's own.

A pass over few tokens mostly waits for weights, so the copies share every matrix product with the run itself: before a
block the tokens become rows, behind which the copies that begin there are added. What is borrowed is of the same pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from fluoroscope.attention import causal_mask, explicit
from fluoroscope.products import NARROWEST
from fluoroscope.rows import Layout, Span, attend, gathered
from fluoroscope.run import IN_ATTENTION, Call, Run
from fluoroscope.sites import SITES, Site
from fluoroscope.tokens import Tokens

if TYPE_CHECKING:
    from fluoroscope.model import Model

LENT = ("z", "attn_out", "mlp_out", "neurons")
"""Sites that can be borrowed: those which a block makes of each row alone."""

MOST = 256
"""Rows of one pass: of more, the weights are no longer what it waits for."""


@dataclass(frozen=True)
class Loan:
    """A copy of one prompt's run with values of another's.

    Args:
        prompt: row of the base run; `lender` of the other one.
        sites: what is borrowed, whole or a unit.
        slots: at which, in both; none for a copy that is the run itself.
    """

    prompt: int
    lender: int
    sites: tuple[Site, ...]
    slots: tuple[int, ...]


@dataclass(eq=False)
class _Borrowed:
    """The borrowing at one whole site: rows that become others' in a unit, or wholly.

    Args:
        rows, lenders, own: as many row numbers each; `own` are those that `rows` are copies of.
        units: likewise, or None.
    """

    site: Site
    rows: Int64[Tensor, "loan"]
    lenders: Int64[Tensor, "loan"]
    own: Int64[Tensor, "loan"]
    units: Int64[Tensor, "loan"] | None
    differs: Bool[Tensor, "loan"] | None = None

    def apply(self, value: Tensor, start: int) -> Tensor:
        """The value with what is borrowed; where that is the prompt's own, the copy is none."""
        edited = value.clone()
        by_row = edited.squeeze(self.site.kind.position_axis)
        rows, lenders, own = (
            by_row[index] if self.units is None else by_row[index, self.units]
            for index in (self.rows, self.lenders, self.own)
        )
        self.differs = (lenders != own).reshape(len(rows), -1).any(1)
        by_row[self.rows if self.units is None else (self.rows, self.units)] = lenders
        return edited


class Together:
    """Loans on their way through the pass of their base run; for one run.

    Args:
        tokens: of the base run, at least two slots.
        loans: at sites of `LENT`, in any order.
        last: of each prompt the last slot that is read.

    Attributes:
        spans: of the copies that have anything to compute again, in the order in which they join.
        order: which of `loans` each of them is.
    """

    def __init__(self, model: "Model", tokens: Tokens, loans: Sequence[Loan], last: Sequence[int]) -> None:
        self.model, self.loans = model, loans
        self.shape = (tokens.ids.shape[0], tokens.ids.shape[1])
        spans = {
            index: Span(loan.prompt, min(site.layer or 0 for site in loan.sites), min(loan.slots), last[loan.prompt])
            for index, loan in enumerate(loans)
            if loan.slots and min(loan.slots) <= last[loan.prompt]
        }
        self.order = sorted(spans, key=lambda index: spans[index].layer)
        self.spans = [spans[index] for index in self.order]
        whole = [Span(prompt, 0, 0, self.shape[1] - 1) for prompt in range(self.shape[0])]
        self.whole = Layout([*whole, *self.spans], model.device)
        self.layout = Layout([], model.device)
        self._edits = self._borrowed()
        self._inner = Run(model)

    def __len__(self) -> int:
        return len(self.whole)

    def run(self, wanted: frozenset[Site], calls: dict[int, Call]) -> Run:
        """The pass, to be made current around the model's own forward; `kept` and `ends` read it."""
        run = Run(self.model, wanted, self._edits, brief=True, calls=calls)

        def join(layer: int, hidden: Tensor, call: Call) -> tuple[Tensor, Call]:
            return self._join(run, layer, hidden, call)

        run.join = join
        run.attend = lambda layer, qkv, mask, given: self._attend(run, layer, qkv, mask, given)
        return run

    def kept(self, run: Run) -> dict[Site, Tensor]:
        """Whole sites of the base run, as `Model.trace` keeps them."""
        return {site: self._natural(site, value) for site, value in run.values.items()}

    def ends(self, run: Run) -> Float[Tensor, "row d_model"]:
        """The last residual of the copies' rows, which are in the order of `spans`."""
        value = run.values[Site("resid_post", self.model.n_layers - 1)]
        return value[self._base :, 0]

    def changed(self) -> list[int]:
        """Indices of the loans that differ from the base run, in the order of their rows."""
        of_row = dict[int, bool]()
        for edit in self._edits:
            assert edit.differs is not None
            for row, differs in zip(edit.rows.tolist(), edit.differs.tolist(), strict=True):
                of_row[row] = of_row.get(row, False) or differs
        starts = self.whole.starts[self.shape[0] :]
        return [
            index
            for index, start, span in zip(self.order, starts, self.spans, strict=True)
            if any(of_row.get(row, False) for row in range(start, start + len(span)))
        ]

    # ── on the way ───────────────────────────────────────────────────────────────────────────────────

    @property
    def _base(self) -> int:
        return self.shape[0] * self.shape[1]

    def _join(self, run: Run, layer: int, hidden: Tensor, call: Call) -> tuple[Float[Tensor, "row 1 d_model"], Call]:
        """What enters a block, with the copies that begin there, and the block's other arguments for all rows."""
        rows = hidden.reshape(self._base, 1, -1) if layer == 0 else hidden
        count = sum(span.layer <= layer for span in self.spans)
        new = self.spans[len(self.layout.spans) : count]
        if new:
            length = self.shape[1]
            own = [span.prompt * length + slot for span in new for slot in range(span.first, span.last + 1)]
            rows = torch.cat([rows, rows[own]])
            self.layout = Layout(self.spans[:count], self.model.device)
        run.shape = (len(rows), 1)
        return rows, gathered(call, (self.whole.prompt[: len(rows)], self.whole.slot[: len(rows)]), self.shape)

    def _attend(
        self, run: Run, layer: int, qkv: Sequence[Tensor], mask: Tensor | None, given: dict[str, Any]
    ) -> Float[Tensor, "row 1 head d_v"]:
        """The base run's attention, as it is for whole prompts, and that of the copies on its keys and values."""
        rows, run.shape = run.shape, self.shape
        query, key, value = (
            run.visit(name, layer, part[: self._base, :, 0].unflatten(0, self.shape).transpose(1, 2))
            for name, part in zip("qkv", qkv, strict=True)
        )
        seen = causal_mask(query, key) if mask is None else mask
        mixed = explicit(run, layer, (query, key, value), seen, given)[0].flatten(0, 1)[:, None]
        run.shape = rows
        if not len(self.layout):
            return mixed
        self._inner.shape = (len(self.layout), 1)
        own = [part[self._base :] for part in qkv]
        return torch.cat([mixed, attend(self._inner, self.layout, run.values, layer, own, mask, given)])

    def _natural(self, site: Site, value: Tensor) -> Tensor:
        if site.layer is None or site.name in IN_ATTENTION or site == Site("resid_pre", 0):
            return value
        axis = SITES[site.name].position_axis
        return value[: self._base].squeeze(axis).unflatten(0, self.shape).movedim(1, axis)

    def _borrowed(self) -> list[_Borrowed]:
        """For each whole site the rows that borrow there."""
        found: dict[tuple[Site, bool], list[tuple[int, int, int, int]]] = {}
        length, starts = self.shape[1], self.whole.starts[self.shape[0] :]
        for index, start, span in zip(self.order, starts, self.spans, strict=True):
            loan = self.loans[index]
            for site in loan.sites:
                found.setdefault((site.whole, site.unit is None), []).extend(
                    (
                        start + slot - span.first,
                        loan.lender * length + slot,
                        loan.prompt * length + slot,
                        site.unit or 0,
                    )
                    for slot in loan.slots
                    if slot <= span.last
                )
        edits: list[_Borrowed] = []
        for (site, whole), each in found.items():
            rows, lenders, own, units = torch.tensor(each, device=self.model.device).unbind(1)
            edits.append(_Borrowed(site, rows, lenders, own, None if whole else units))
        return edits


def quicker(model: "Model", tokens: Tokens, loans: Sequence[Loan]) -> bool:
    """Whether one pass saves anything, and can be: few copies of a wide model, at sites that are lent."""
    few = 0 < len(loans) <= MOST and tokens.ids.shape[1] > 1 and model.d_model >= NARROWEST
    return few and all(site.name in LENT for loan in loans for site in loan.sites)
