import pytest

from fluoroscope.compat.pictures import saved
from fluoroscope.errors import ArgumentError, ArtifactError
from fluoroscope.views import Heatmap, Mark

VIEW = Heatmap(title="a", unit="x", rows=(Mark(label="r"),), columns=(Mark(label="c"),), values=((1.0,),))


def test_a_figure_has_its_size_and_is_saved_where_asked(tmp_path):
    path = tmp_path / "a.png"
    figure = saved("t", "s", [VIEW, VIEW], (7, 3), path, abreast=2)
    assert tuple(figure.get_size_inches()) == (7, 3)
    assert path.read_bytes().startswith(b"\x89PNG")
    left, right = (axes.get_position() for axes in figure.axes)
    assert left.x1 < right.x0
    one, other = (axes.get_position() for axes in saved("t", "s", [VIEW, VIEW], None, None).axes)
    assert one.y0 > other.y1


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"\.png, \.svg"):
        saved("t", "s", [VIEW], None, tmp_path / "a.gif")
    with pytest.raises(ArtifactError, match="folder"):
        saved("t", "s", [VIEW], None, tmp_path / "none" / "a.svg")
