"""One view of every kind, each with hostile text wherever text can be."""

from typing import get_args

from fluoroscope import views
from fluoroscope.views import (
    Arc,
    Arcs,
    Bar,
    Bars,
    Column,
    Edge,
    Graph,
    HeadGrid,
    Heatmap,
    Lines,
    Mark,
    Node,
    Point,
    Row,
    Scatter,
    Series,
    Table,
    TokenMark,
    Tokens,
    View,
)

HOSTILE = '\x1b[31mred\x07\n\t [bold]x[/bold] <script>alert(1)</script> `|` *a* $x^2$ \u202eabc\u2028 \\| & "q" \''
KINDS = get_args(get_args(views.View)[0])


def every_view(text: str = HOSTILE) -> list[View]:
    mark = Mark(label=text, token=True, site="z.1.2")
    plain = Mark(label=text)
    return [
        Bars(
            title=text,
            caption=text,
            unit=text,
            signed=True,
            items=(
                Bar(label=text, token=True, value=1.5, remark=text, site="mlp_out.0"),
                Bar(label=text, value=-0.5),
                Bar(label="missing", value=None),
            ),
        ),
        Heatmap(
            title=text,
            caption=text,
            unit=text,
            rows=(mark, plain),
            columns=(mark, plain, mark),
            values=((0.25, None, 0.5), (0.0, 1.0, 0.125)),
            tokens=((text,) * 3,) * 2,
        ),
        HeadGrid(title=text, caption=text, unit=text, values=((0.5, -1.25, None), (0.0, 2.5, -0.5))),
        Tokens(
            title=text,
            caption=text,
            unit=text,
            signed=True,
            items=(TokenMark(text=text, id=3, value=-1.0), TokenMark(text=text, id=4), TokenMark(text="", value=0.5)),
            marked=1,
        ),
        Lines(
            title=text,
            caption=text,
            unit=text,
            x=(mark, plain, mark),
            series=(Series(label=text, token=True, values=(0.5, None, -1.0)), Series(label="b", values=(1, 2, 3))),
            marked=2,
        ),
        Arcs(
            title=text,
            caption=text,
            unit=text,
            signed=True,
            items=(TokenMark(text=text, value=0.5), TokenMark(text=text), TokenMark(text="c")),
            arcs=(
                Arc(source=0, target=2, value=-1.0),
                Arc(source=1, target=1, value=0.5),
                Arc(source=2, target=0, value=None),
            ),
            marked=2,
        ),
        Graph(
            title=text,
            caption=text,
            unit=text,
            signed=True,
            nodes=(
                Node(id=text, rank=-2, label=text, token=True, group=text),
                Node(id="b", rank=3, label="b", value=-0.25, site="z.1.2"),
                Node(id="c", rank=5, label=text, group=text, value=1.5),
            ),
            edges=(
                Edge(source=text, target="b", value=-0.5),
                Edge(source=text, target="b", value=0.25, label="q"),
                Edge(source=text, target="c", value=2.0),
                Edge(source="b", target="c", value=None),
            ),
        ),
        Scatter(
            title=text,
            caption=text,
            axes=(text, "up"),
            points=(
                Point(label=text, token=True, site="resid_post.1", x=-1.0, y=0.5, group=text),
                Point(label="b", x=2.0, y=0.5, group="other"),
                Point(label=text, x=-1.0, y=0.5),
            ),
        ),
        Scatter(
            title=text,
            axes=("a", "b", text),
            limits=((-1, 1), (-2, 2), (-3, 3)),
            points=(Point(label="low", x=-1, y=-2, z=-3), Point(label="high", x=1, y=2, z=3)),
        ),
        Table(
            title=text,
            caption=text,
            columns=(Column(name=text), Column(name="token", token=True), Column(name="n"), Column(name="x")),
            rows=(Row(cells=(text, text, 7, 0.25), site="resid_post.1"), Row(cells=("b", "c", None, None))),
        ),
    ]


def thick_graph() -> Graph:
    """Twelve edges into one node and long labels: more numbers than there is room for."""
    nodes = tuple(Node(id=f"n{n}", rank=n % 3, label=f"mlp_out.{n} @ token", value=n / 7) for n in range(12))
    edges = tuple(Edge(source=node.id, target="end", value=(-1) ** n * 10.0**-n) for n, node in enumerate(nodes))
    return Graph(title="t", unit="u", signed=True, nodes=(*nodes, Node(id="end", rank=9, label="end")), edges=edges)


def square(side: int) -> Heatmap:
    """As many rows as columns, with the largest number in the last corner and none in the first."""
    marks = tuple(Mark(label=f"token {n}", token=True) for n in range(side))
    values = [[-(row + column) / side for column in range(side)] for row in range(side)]
    grid = [
        tuple(None if row == column == 0 else value for column, value in enumerate(line))
        for row, line in enumerate(values)
    ]
    return Heatmap(title="t", unit="u", signed=True, rows=marks, columns=marks, values=tuple(grid))
