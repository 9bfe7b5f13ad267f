"""The parts of pictures: marked places, bars, tokens, nodes, edges, points and rows, as plain data.

A number is finite or None, which means missing; it is never drawn as zero. Labels hold raw text: the renderers make
control characters and markup visible. A place may carry the address of a site, so that a selection links all panels.
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt

from fluoroscope.sites import Site

Value = float | None
"""A finite number, or None where there is none."""

Address = Annotated[str, AfterValidator(lambda text: str(Site.parse(text)))]
"""The canonical form of a site."""


class Drawn(BaseModel):
    """Data of a picture: frozen, without unknown fields, NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Mark(Drawn):
    """A labelled place in a picture.

    Args:
        label: the raw text.
        token: whether the label is the text of a token, whose white space has to be seen.
        site: the address that a selection of this place stands for.
    """

    label: str
    token: bool = False
    site: Address | None = None


class Bar(Mark):
    """One bar, with an optional remark beside its number."""

    value: Value
    remark: str = ""


class TokenMark(Drawn):
    """One token of a text, coloured by its value."""

    text: str
    id: int | None = None
    value: Value = None


class Series(Mark):
    """One line: a value for every mark of the x axis."""

    values: tuple[Value, ...]


class Column(Drawn):
    """A column of a table; `token` says that its strings are texts of tokens."""

    name: str
    token: bool = False


class Node(Mark):
    """A node of a graph.

    Args:
        id: what edges call it; unique in its graph.
        rank: its layer in the drawing; edges lead to higher ranks.
        group: what kind of thing it is, such as head.
    """

    id: str
    rank: int
    group: str = ""
    value: Value = None


class Edge(Drawn):
    """A directed edge between two nodes, by their ids; `label` says by which way, in one short word such as q."""

    source: str
    target: str
    value: Value
    label: str = Field(default="", pattern="^[A-Za-z]{0,8}$")


class Arc(Drawn):
    """A tie between two tokens of a text, by their indices: from `source` to `target`."""

    source: int = Field(ge=0)
    target: int = Field(ge=0)
    value: Value


class Row(Drawn):
    """A row of a table."""

    cells: tuple[str | StrictInt | float | None, ...]
    site: Address | None = None


class Point(Mark):
    """A labelled point; points of one group share colour and shape."""

    x: float
    y: float
    z: float | None = None
    group: str | None = None

    @property
    def place(self) -> tuple[float, ...]:
        """Its two or three coordinates."""
        return (self.x, self.y) if self.z is None else (self.x, self.y, self.z)


class Selection(Drawn):
    """What linked pictures have chosen together: a head, and a token or a pair of tokens that is looked from and at."""

    layer: int | None = Field(default=None, ge=0)
    head: int | None = Field(default=None, ge=0)
    query: int | None = Field(default=None, ge=0)
    key: int | None = Field(default=None, ge=0)
