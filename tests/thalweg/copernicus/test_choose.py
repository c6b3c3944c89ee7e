"""Which products a search takes, worked out by hand."""

import pytest
from catalogue_builder import product_name, row, search
from shapely import box
from shapely.geometry import shape

from thalweg.copernicus import odata
from thalweg.copernicus.choose import choose, cover, lock_entry
from thalweg.errors import ParamsError


def taken(rows, **asked):
    chosen = choose([odata.read_entry(one, "u") for one in rows], search(**asked), None)
    return [one.entry.name for one in chosen.taken], dict(chosen.left_out)


def test_t14_newest_baseline_of_one_acquisition():
    old, new = product_name(baseline="0400"), product_name(baseline="0510", made="20250101T000000")
    for rows in ([row(old), row(new)], [row(new), row(old)]):
        assert taken(rows) == ([new], {old: f"{new} is the newest processing"})
    assert taken([row(old), row(new)], baseline_rule="oldest")[0] == [old]
    assert taken([row(old), row(new)], baseline_rule="all")[0] == [old, new]


def test_t14_of_two_halves_at_one_baseline_the_fuller():
    fuller, newer = product_name(made="20251003T000001"), product_name(made="20251003T000002")
    assert taken([row(fuller, share=0.8), row(newer, share=0.2)])[0] == [fuller]


def test_t14_least_baseline():
    old, new = product_name("20251001", "0209"), product_name("20251002", "0400")
    assert taken([row(old), row(new)], baseline_min="04.00") == ([new], {old: "baseline 02.09, wanted at least 04.00"})


def test_t16_offline_is_left_out_and_said():
    name = product_name()
    assert taken([row(Online=False)]) == ([], {name: "offline, to be ordered in the Data Workspace first"})


def test_an_empty_swath_edge_does_not_win():
    edge, full = product_name("20251001"), product_name("20251004")
    rows = [row(edge, cloud=0.0, share=0.03), row(full, cloud=7.0, share=0.99)]
    assert taken(rows, best="month", coverage_min=0.5) == ([full], {edge: "covers 3 %, wanted at least 50 %"})
    assert taken(rows, best="month")[0] == [edge]  # what the rule is for


def test_best_of_tile_and_month():
    names = [
        product_name("20251001"),
        product_name("20251004"),
        product_name("20251101"),
        product_name("20251001", tile="T20KNB"),
    ]
    rows = [row(name, cloud=cloud) for name, cloud in zip(names, (3.0, 2.0, 90.0, 50.0), strict=True)]
    assert taken(rows, best="month")[0] == sorted(names[1:])
    assert taken(rows[::-1], best="month")[0] == sorted(names[1:])


def test_same_clouds_more_ground():
    less, more = product_name("20251001"), product_name("20251004")
    assert taken([row(less, share=0.6), row(more, share=0.9)], best="month")[0] == [more]


def test_unknown_clouds_rank_last_and_fail_a_limit():
    unknown, cloudy = product_name("20251001"), product_name("20251004")
    rows = [row(unknown, cloud=None), row(cloudy, cloud=100.0)]
    assert taken(rows, best="month")[0] == [cloudy]
    assert taken(rows, cloud_cover_max=50.0) == (
        [], {unknown: "clouds None %, wanted at most 50.0 %", cloudy: "clouds 100.0 %, wanted at most 50.0 %"}
    )  # fmt: skip


def test_products_named_twice_or_foreign():
    assert taken([row(), row()])[0] == [product_name()]
    foreign = row(Name="S2A_OPER_AUX.SAFE")
    assert taken([foreign])[1] == {"S2A_OPER_AUX": "its name is not that of a Sentinel-2 product"}


def test_coverage_is_of_the_tile_in_metres():
    for tile in ("T20KNA", "T01WCP", "T33TVM"):
        assert odata_cover(tile, 1.0) == pytest.approx(1.0, abs=2e-3)
        assert odata_cover(tile, 0.25) == pytest.approx(0.25, abs=2e-3)


def odata_cover(tile, share):
    return cover(shape(row(product_name(tile=tile), share=share)["GeoFootprint"]), tile, None)


def test_coverage_within_an_area():
    footprint = shape(row(share=0.5)["GeoFootprint"])
    west, south, east, north = footprint.bounds
    inside = box(west + 0.1, south + 0.2, west + 0.2, north - 0.2)
    assert cover(footprint, "T20KNA", inside) == 1.0
    assert cover(footprint, "T20KNA", box(east + 0.1, south + 0.2, east + 0.2, north - 0.2)) == 0.0
    assert cover(footprint, "T20KNA", box(0, 0, 1, 1)) == 0.0


def test_what_the_lock_keeps():
    kept = lock_entry(odata.read_entry(row(), "u"))
    assert (kept.tile, kept.level, kept.baseline, kept.sensing_time) == (
        "T20KNA",
        "L2A",
        "05.11",
        "2025-10-03T14:10:51Z",
    )
    assert (kept.size, kept.cloud_cover, kept.coverage) == (1_000_000_000, 5.0, pytest.approx(1.0, abs=2e-3))
    with pytest.raises(ParamsError, match="is no Sentinel-2 product name"):
        lock_entry(odata.read_entry(row(Name="x.SAFE"), "u"))
