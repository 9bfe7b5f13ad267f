"""One address for every value: round trips, order, and errors that name the nearest match."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope.errors import SiteError
from fluoroscope.sites import SITES, Site, by_layer

LAYERED = [name for name, kind in SITES.items() if kind.layered]
WITH_UNITS = [name for name in LAYERED if SITES[name].unit]


@st.composite
def sites(draw: st.DrawFn) -> Site:
    name = draw(st.sampled_from(list(SITES)))
    layer = draw(st.integers(0, 200)) if SITES[name].layered else None
    unit = draw(st.none() | st.integers(0, 100_000)) if SITES[name].unit else None
    return Site(name, layer, unit)


@given(sites())
def test_canonical_string_round_trips(site: Site) -> None:
    assert Site.parse(str(site)) == site
    assert hash(Site.parse(str(site))) == hash(site)


@given(st.lists(sites(), min_size=2, max_size=8))
def test_order_is_total_and_follows_the_computation(found: list[Site]) -> None:
    ordered = sorted(found)
    assert [site.layer or -1 for site in ordered if site.layer] == sorted(s.layer or -1 for s in found if s.layer)
    for earlier, later in pairwise(ordered):
        assert not later < earlier


@given(sites())
def test_whole_drops_only_the_unit(site: Site) -> None:
    assert site.whole == Site(site.name, site.layer)


def test_labels_for_people() -> None:
    assert Site("z", 9, 6).label == "L9H6"
    assert Site("neurons", 5, 123).label == "L5N123"
    assert Site("z", 9).label == "z.9"
    assert Site("pattern", 9, 6).label == "pattern.9.6"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("resid_pots.3", "resid_post"),
        ("logitz", "logits"),
        ("resid_post", "needs a layer"),
        ("logits.3", "no layers"),
        ("resid_post.3.1", "no units"),
        ("z.-1", "is no site"),
        ("", "is no site"),
        ("z.1.2.3", "is no site"),
    ],
)
def test_wrong_addresses_say_why_and_what_instead(text: str, says: str) -> None:
    with pytest.raises(SiteError, match=says):
        Site.parse(text)


@pytest.mark.parametrize("name", SITES)
def test_every_kind_names_its_axes(name: str) -> None:
    kind = SITES[name]
    assert kind.axes[0] == "batch"
    assert kind.axes[kind.position_axis] in ("pos", "query")
    assert kind.unit is None or kind.axes[kind.unit_axis or 0] == kind.unit
    assert kind.writable or kind.why_not


def test_values_of_units_become_rows_of_layers() -> None:
    values = {"z.2.1": 21.0, "z.0.0": 0.0, "z.0.2": None, "z.2.0": 20.0}
    assert by_layer(values) == ((0.0, None, None), (None, None, None), (20.0, 21.0, None))
    assert by_layer({"z.0.0": 1}) == ((1,),)
    assert by_layer({}) == ()
