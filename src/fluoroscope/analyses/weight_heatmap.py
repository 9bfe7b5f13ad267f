"""A weight matrix as a picture: its map, norms, singular values, rank and largest entries.

Addresses are those of the weights: W_Q.3.0 (layer 3, head 0), W_V.3 (every head of a layer), W_in.1, W_E, W_U, b_out.2;
HexRay's attn.L3.W_Q and mlp.L1.W_in mean the same. What has none of these (norms, routers, experts) is named as Hugging
Face names it, such as model.layers.3.mlp.gate.weight. Values are as the model stores them; no norm is folded in.
"""

from typing import TYPE_CHECKING, Literal

from fluoroscope.arguments import checked
from fluoroscope.errors import ArgumentError
from fluoroscope.methods import weight_maps
from fluoroscope.render.text import number, percent, quoted
from fluoroscope.result import Record, Result
from fluoroscope.views import Bar, Bars, Column, Grid, Heatmap, Mark, Row, Table, View
from fluoroscope.weights import WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor

    from fluoroscope.model import Model

THEME = "States and weights"

_MOST_CELLS = 128
_MOST_PANELS = 4
_NAMES = {
    "d_vocab": "token",
    "n_ctx": "position",
    "d_model": "residual stream",
    "d_head": "head dimension",
    "d_mlp": "neuron",
    "head": "head",
    "kv_head": "kv head",
    "": "one row",
    "row": "row",
    "column": "column",
}


class Entry(Record):
    """One number of a matrix; `token` is the text of its row or column where these are tokens."""

    row: int
    column: int
    value: float
    token: str | None


class Panel(Record):
    """One matrix: a weight, or one head of it.

    Args:
        address: where it is.
        shape: rows and columns; a bias is one row.
        frobenius: root of the sum of all squares.
        spectral: the largest singular value.
        rms: root mean square of the entries.
        effective_rank: exponential of the entropy of the singular values as shares; None for a matrix of zeros.
        singular_values: the largest ones, as many as asked for.
        rows, columns: first index of each block of the map.
        means: mean of the signed entries of each block.
        extremes: the entry of each block that is largest in size.
        largest: the entries that are largest in size.
    """

    address: str
    shape: tuple[int, int]
    frobenius: float
    spectral: float
    rms: float
    effective_rank: float | None
    singular_values: tuple[float, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    means: Grid
    extremes: Grid
    largest: tuple[Entry, ...]


class TokenNorm(Record):
    """The length of one token's row of W_E or column of W_U."""

    id: int
    token: str
    norm: float


class WeightHeatmap(Result):
    """A weight of the model.

    Args:
        weight: its address.
        meaning: what it does.
        axes: what its rows and its columns are; x @ W, so rows are inputs. Of a parameter that is shown as it is
            stored: row and column.
        panels: one per head, expert or other first index where it has several matrices, else one.
        longest, shortest: tokens by the norm of their row or column, where it has any.
    """

    weight: str
    meaning: str
    axes: tuple[str, str]
    panels: tuple[Panel, ...]
    longest: tuple[TokenNorm, ...]
    shortest: tuple[TokenNorm, ...]

    def summary(self) -> str:
        first = max(self.panels, key=lambda panel: panel.spectral)
        size = f"{first.shape[0]} x {first.shape[1]}"
        rank = "no rank, all zero" if first.effective_rank is None else f"effective rank {number(first.effective_rank)}"
        peak = first.largest[0]
        where = f"row {peak.row}, column {peak.column}" + ("" if peak.token is None else f" ({quoted(peak.token)})")
        lead = (
            f"{self.weight} has {len(self.panels)} {self._parts()[1]}; the strongest, " if len(self.panels) > 1 else ""
        )
        return (
            f"{lead}{first.address} ({size}; {self.meaning}) has Frobenius norm {number(first.frobenius)}, spectral "
            f"norm {number(first.spectral)} and {rank} of {min(first.shape)}; its largest entry is "
            f"{number(peak.value, signed=True)} at {where}."
        )

    def views(self) -> list[View]:
        tokens = [self._tokens()] if self.longest else []
        panel, *others = self.panels
        if others:
            strongest = sorted(self.panels, key=lambda panel: -panel.spectral)[:_MOST_PANELS]
            return [self._heads(), *(self._map(panel, "means") for panel in strongest)]
        panel = self.panels[0]
        return [
            self._map(panel, "means"),
            _spectrum(panel),
            self._map(panel, "extremes"),
            self._entries(panel),
            *tokens,
        ]

    def _map(self, panel: Panel, what: Literal["means", "extremes"]) -> Heatmap:
        whole = (len(panel.rows), len(panel.columns)) == panel.shape
        block = f"{_span(panel.rows, panel.shape[0])} x {_span(panel.columns, panel.shape[1])} entries"
        each = {
            "means": f"the signed mean of a block of {block}: what cancels inside it is not seen",
            "extremes": f"the one entry of a block of {block} that is largest in size, with its sign",
        }[what]
        rule = "Every cell is one entry" if whole else f"Every cell is {each}"
        grid: Grid = panel.means if what == "means" else panel.extremes
        size = panel.rms or 1.0
        return Heatmap(
            title=f"{panel.address}, {'entries' if whole else 'block means' if what == 'means' else 'block extremes'}",
            caption=f"Down: {self._axis(0)}. Across: {self._axis(1)}. {rule}, divided by the root mean square of all "
            f"entries, {number(panel.rms)}; labels are the first index of each block.",
            unit="times the RMS entry", signed=True,
            values=tuple(tuple((value or 0.0) / size for value in row) for row in grid),
            rows=tuple(Mark(label=str(row)) for row in panel.rows),
            columns=tuple(Mark(label=str(column)) for column in panel.columns),
        )  # fmt: skip

    def _axis(self, place: Literal[0, 1]) -> str:
        name = self.axes[place]
        if name in ("row", "column") or self.weight.startswith("b_") or self.weight == "W_pos":
            return _NAMES[name]
        return f"{_NAMES[name]} ({name}), {('the input', 'the output')[place]}"

    def _heads(self) -> Table:
        names = (self._parts()[0], "Frobenius norm", "spectral norm", "effective rank", "largest entry")
        return Table(
            title=f"The {self._parts()[1]} of {self.weight}",
            caption="Frobenius: root of the sum of all squares. Spectral: the most that a unit input can become. "
            f"Effective rank: how many directions it uses, of {min(self.panels[0].shape)}. Below are the maps of the "
            f"{min(_MOST_PANELS, len(self.panels))} with the largest spectral norm; the JSON has all.",
            columns=tuple(Column(name=name) for name in names),
            rows=tuple(
                Row(
                    cells=(p.address, p.frobenius, p.spectral, p.effective_rank, p.largest[0].value), site=self._site(n)
                )
                for n, p in enumerate(self.panels)
            ),
        )

    def _site(self, head: int) -> str | None:
        """Where that head is in a forward pass; several heads may share one of keys and values."""
        kind, _, layer = self.weight.partition(".")
        return f"z.{layer}.{head}" if kind in WEIGHTS and WEIGHTS[kind].unit == "head" else None

    def _parts(self) -> tuple[str, str]:
        """What its panels are called, one and many."""
        return ("head", "heads") if self.weight.partition(".")[0] in WEIGHTS else ("matrix", "matrices")

    def _entries(self, panel: Panel) -> Table:
        named = [Column(name="token", token=True)] if self.longest else []
        rows = [
            Row(cells=(entry.row, entry.column, *([entry.token or ""] if named else []), entry.value))
            for entry in panel.largest
        ]
        return Table(
            title=f"The largest entries of {panel.address}",
            caption=f"Row: {self._axis(0)}. Column: {self._axis(1)}.",
            columns=(Column(name="row"), Column(name="column"), *named, Column(name="entry")),
            rows=tuple(rows),
        )

    def _tokens(self) -> Table:
        rows = [(*_told(long), *_told(short)) for long, short in zip(self.longest, self.shortest, strict=True)]
        return Table(
            title="Tokens by the norm of their vector",
            caption="Very short ones are often tokens that training never saw.",
            columns=(
                Column(name="longest", token=True), Column(name="id"), Column(name="norm"),
                Column(name="shortest", token=True), Column(name="its id"), Column(name="its norm"),
            ),
            rows=tuple(Row(cells=row) for row in rows),
        )  # fmt: skip


def _told(found: TokenNorm) -> tuple[str, int, float]:
    return found.token, found.id, found.norm


def _span(starts: tuple[int, ...], size: int) -> str:
    """How many entries a block has along one axis: '16' or '6 to 7'."""
    sizes = sorted({end - start for start, end in zip(starts, (*starts[1:], size), strict=True)})
    return " to ".join(map(str, sizes))


def _spectrum(panel: Panel) -> Bars:
    rank = "of no rank" if panel.effective_rank is None else f"of effective rank {number(panel.effective_rank)}"
    energy = panel.frobenius**2 or 1.0
    bars = [
        Bar(label=f"σ{index}", value=value, remark=percent(min(1.0, value**2 / energy)))
        for index, value in enumerate(panel.singular_values)
    ]
    return Bars(
        title=f"The largest singular values of {panel.address}",
        caption=f"What unit inputs along its main directions become; percent: share of the sum of all squares. It is "
        f"{rank} of {min(panel.shape)}, the exponential of the entropy of the singular values (Roy & Vetterli 2007).",
        unit="",
        items=tuple(bars),
    )


@checked
def weight_heatmap(model: "Model", weight: str, *, cells: int = 12, top_k: int = 10) -> WeightHeatmap:
    """Shows any weight of the model, one head or expert at a time where it has several.

    Args:
        weight: its address, such as W_Q.3.0, W_V.3 (all its heads), W_in.1, W_E or b_out.2, or a parameter's own name.
        cells: rows and columns of the map, at most.
        top_k: how many singular values, entries and tokens to list.

    Raises:
        ArgumentError: no such weight, more than 64 matrices at once, `top_k` below 1, or `cells` outside of 1 to 128.
        UnavailableError: this model does not hold it as one exact matrix, or has no such bias.
    """
    if top_k < 1:
        raise ArgumentError(f"top_k={top_k} lists nothing", "Give at least 1.")
    if not 1 <= cells <= _MOST_CELLS:
        raise ArgumentError(f"cells={cells} makes no map", f"Give 1 to {_MOST_CELLS}.")
    found = weight_maps.addressed(model, weight)
    token_axis = found.axes.index("d_vocab") if "d_vocab" in found.axes else None
    norms: list[TokenNorm] = []
    if token_axis is not None:
        norms = _norms(model, next(iter(found.matrices.values())), 1 - token_axis)
    return WeightHeatmap(
        recipe=model.recipe(),
        weight=found.address,
        meaning=found.meaning,
        axes=found.axes,
        panels=tuple(_panel(model, name, each, token_axis, cells, top_k) for name, each in found.matrices.items()),
        longest=tuple(norms[:top_k]),
        shortest=tuple(norms[: -top_k - 1 : -1]),
    )


def _norms(model: "Model", matrix: "Tensor", along: int) -> list[TokenNorm]:
    """Every token's, longest first."""
    found = matrix.double().norm(dim=along)
    return [
        TokenNorm(id=token, token=model.token_label(token), norm=float(found[token]))
        for token in found.argsort(descending=True).tolist()
    ]


def _panel(model: "Model", address: str, matrix: "Tensor", token_axis: int | None, cells: int, top_k: int) -> Panel:
    found = weight_maps.described(matrix, cells, top_k)
    entries = [
        Entry(row=r, column=c, value=v, token=None if token_axis is None else model.token_label((r, c)[token_axis]))
        for r, c, v in found.largest
    ]
    return Panel(
        address=address, shape=found.shape, frobenius=found.frobenius, spectral=float(found.values[0]), rms=found.rms,
        effective_rank=weight_maps.effective_rank(found.values), singular_values=tuple(found.values[:top_k].tolist()),
        rows=tuple(found.map.rows), columns=tuple(found.map.columns), means=tuple(map(tuple, found.map.means.tolist())),
        extremes=tuple(map(tuple, found.map.extremes.tolist())), largest=tuple(entries),
    )  # fmt: skip
