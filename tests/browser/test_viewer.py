"""The viewer, driven by mouse and keyboard in a real browser: what it shows and says is what the map holds."""

import io
import re
import threading

import numpy as np
import pytest
import rasterio
from explorer_builder import make_explored
from PIL import Image
from scene_builder import make_scene

from thalweg.explorer.ground import Ground
from thalweg.explorer.held import HeldMap
from thalweg.explorer.serve import Viewer
from thalweg.explorer.tiles import Source

CLASS, PROB = re.compile(r"(?:^|· )class ([a-z ]+?) (?:·|—)"), re.compile(r"probability of [a-z ]+? (\d\.\d{3})")
PLACE = re.compile(r"row (\d+), column (\d+)")


@pytest.fixture
def viewer(open_page, looked):
    opened = open_page(looked.address)
    opened.ready()
    opened.page.locator(".explorer").scroll_into_view_if_needed()
    return opened


def seen(page) -> np.ndarray:
    """The map as it is drawn, once two pictures in a row agree: a browser in want of time paints later than it says."""
    before = _picture(page)
    for _ in range(20):
        after = _picture(page)
        if np.array_equal(before, after):
            break
        before = after
    return after


def _picture(page) -> np.ndarray:
    page.evaluate(
        """async () => { const shown = [...document.querySelectorAll(".explorer .pane:not([hidden]) img")];
        await Promise.all(shown.map((image) => image.decode()));
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))); }"""
    )
    with Image.open(io.BytesIO(page.locator(".stage").screenshot())) as image:
        return np.array(image.convert("RGB")).astype(int)


def layer(page, key: str):
    return page.locator(f'.layer[data-layer="{key}"]')


def test_layers_are_switched(viewer):
    page = viewer.page
    before = seen(page)
    page.get_by_role("checkbox", name="Classes", exact=True).uncheck()
    without = seen(page)
    assert np.abs(before - without).max() > 30
    page.get_by_role("checkbox", name="Classes", exact=True).check()
    viewer.ready()
    apart = np.abs(seen(page) - before).max(-1)
    assert apart.max() <= 1, (
        f"{np.count_nonzero(apart)} pixels differ, by up to {apart.max()}"
    )  # 1: what blending rounds
    for key in ("probability", "doubt-1", "mask", "member-unet", "image-0"):
        layer(page, key).get_by_role("checkbox").set_checked(True)
        viewer.ready()
        assert layer(page, key).get_by_role("checkbox").is_checked()


def test_every_layer_draws_something_of_its_own(viewer):
    page = viewer.page
    drawn = {}
    keys = page.locator(".layer[data-layer]").evaluate_all("(rows) => rows.map((row) => row.dataset.layer)")
    for chosen in keys:
        for key in keys:
            layer(page, key).get_by_role("checkbox").set_checked(key == chosen)
        layer(page, chosen).get_by_role("slider").fill("100")
        viewer.ready()
        drawn[chosen] = seen(page).tobytes()
    assert len(set(drawn.values())) == len(keys) >= 7


def test_opacity_mixes_with_what_is_below(viewer):
    page = viewer.page
    slider = page.get_by_role("slider", name="Opacity of Classes")
    pictures = {}
    for percent in (0, 50, 100):
        slider.fill(str(percent))
        pictures[percent] = seen(page)
    middle = (pictures[0] + pictures[100]) / 2
    inside = np.s_[60:-60, 60:-60]
    assert np.median(np.abs(pictures[50] - middle)[inside]) <= 2
    assert np.abs(pictures[0] - pictures[100]).max() > 60


def test_the_swipe_parts_the_topmost_layer(viewer):
    page = viewer.page
    page.get_by_role("slider", name="Opacity of Classes").fill("100")
    full = seen(page)
    page.get_by_role("checkbox", name="Classes", exact=True).uncheck()
    bare = seen(page)
    page.get_by_role("checkbox", name="Classes", exact=True).check()
    page.get_by_role("checkbox", name="Swipe the topmost layer").check()
    page.get_by_text("Left of the line: Classes").wait_for()
    page.get_by_role("slider", name="Position of the swipe line").fill("25")
    swiped, at = seen(page), full.shape[1] // 4
    assert np.abs(swiped - full)[:, : at - 20].max() <= 1
    assert np.abs(swiped - bare)[60:-60, at + 20 : -60].max() <= 1
    box = page.locator(".swipe-line").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 200)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + full.shape[1] / 2, box["y"] + 200, steps=4)
    page.mouse.up()
    assert page.get_by_role("slider", name="Position of the swipe line").input_value() in ("74", "75", "76")


def test_the_legend_has_the_classes_of_the_map(viewer, looked):
    with rasterio.open(looked.map / "classes.tif") as dataset:
        tags, colors = dataset.tags(), dataset.colormap(1)
    wanted = [(tags[f"CLASS_{k}"].replace("_", " "), f"rgb({', '.join(map(str, colors[k][:3]))})") for k in range(2)]
    rows = viewer.page.get_by_role("list", name="Classes").get_by_role("listitem")
    found = rows.evaluate_all(
        "(rows) => rows.map((row) => [row.textContent, getComputedStyle(row.querySelector('.swatch')).backgroundColor])"
    )
    assert [tuple(row) for row in found] == wanted
    viewer.page.locator('.layer[data-layer="probability"] input[type=checkbox]').check()
    assert re.search(
        r"Probability of [a-z ]+: 0 .*1",
        viewer.page.get_by_role("group", name="Legend").inner_text().replace("\n", " "),
    )


def test_the_read_out_is_the_raster_at_ten_random_points(viewer, looked):
    page = viewer.page
    with rasterio.open(looked.map / "classes.tif") as dataset:
        labels, names = dataset.read(1), [dataset.tags()[f"CLASS_{k}"].replace("_", " ") for k in range(2)]
    with rasterio.open(looked.map / "probs.tif") as dataset:
        probs = dataset.read(2) * dataset.scales[1]
    rng = np.random.default_rng(7)
    stage = page.locator(".stage").bounding_box()
    checked = 0
    while checked < 10:
        row, col = (int(rng.integers(edge)) for edge in labels.shape)
        x, y = page.evaluate(
            """([row, col]) => { const e = document.querySelector(".explorer").explorer, s = e.stage;
            return [(col + 0.5 - e.view.x) * e.view.scale + s.clientWidth / 2, (row + 0.5 - e.view.y) * e.view.scale + s.clientHeight / 2]; }""",
            [row, col],
        )
        page.mouse.move(stage["x"] + 1 + x, stage["y"] + 1 + y)
        page.wait_for_function(
            "(place) => document.querySelector('.readout').textContent.includes(place)", arg=f"row {row}, column {col} "
        )
        text = page.locator(".readout").first.inner_text()
        if labels[row, col] == 255:
            assert "class" not in text
            continue
        assert CLASS.search(text)[1] == names[labels[row, col]], text
        assert PROB.search(text)[1] == f"{probs[row, col]:.3f}", text
        checked += 1


def test_the_keyboard_moves_zooms_and_reads_aloud(viewer):
    page = viewer.page
    stage = page.get_by_role("application", name=re.compile("^Map main"))
    stage.focus()
    view = "(() => { const v = document.querySelector('.explorer').explorer.view; return [v.x, v.y, v.scale]; })()"
    x, y, scale = page.evaluate(view)
    for key, change in (("ArrowRight", (1, 0)), ("ArrowDown", (0, 1)), ("ArrowLeft", (-1, 0)), ("ArrowUp", (0, -1))):
        before = page.evaluate(view)
        page.keyboard.press(f"Shift+{key}")
        after = page.evaluate(view)
        assert (after[0] - before[0], after[1] - before[1]) == pytest.approx(change)
    page.keyboard.press("+")
    assert page.evaluate(view)[2] == pytest.approx(scale * 1.5)
    page.keyboard.press("ArrowRight")
    assert page.evaluate(view)[0] > x
    page.keyboard.press("0")
    assert page.evaluate(view) == pytest.approx([x, y, scale])
    assert page.locator(".readout").first.get_attribute("aria-live") == "polite"
    for _ in range(50):  # a server answers when it can; the last place that was asked for stays
        found = PLACE.search(page.locator(".readout").first.inner_text())
        if found and tuple(map(int, found.groups())) == (int(y), int(x)):
            break
        page.wait_for_timeout(200)
    else:
        pytest.fail(f"the middle is row {int(y)}, column {int(x)}, but is read out as {found}")


def test_zoom_buttons_and_wheel_keep_the_place_below_the_mouse(viewer):
    page = viewer.page
    where = "(() => { const v = document.querySelector('.explorer').explorer.view; return [v.x, v.y, v.scale]; })()"
    x, y, scale = page.evaluate(where)
    page.get_by_role("button", name="Zoom in").click()
    assert page.evaluate(where) == pytest.approx([x, y, scale * 1.5])
    page.locator(".stage").focus()
    box = page.locator(".stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6)
    place = "document.querySelector('.explorer').explorer.place({clientX: %f, clientY: %f})"
    at = place % (box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6)
    before = page.evaluate(at)
    page.mouse.wheel(0, -100)
    page.wait_for_function(f"document.querySelector('.explorer').explorer.view.scale > {scale * 2}")
    after = page.evaluate(at)
    assert (after["x"], after["y"]) == pytest.approx(
        (before["x"], before["y"]), abs=0.05
    )  # the mouse stands on whole pixels
    page.get_by_role("button", name="Show all of the map").click()
    assert page.evaluate(where) == pytest.approx([x, y, scale])


def test_everything_that_is_used_has_a_name(viewer):
    page = viewer.page
    unnamed = page.locator(".explorer button, .explorer input, .explorer [tabindex]").evaluate_all(
        """(nodes) => nodes.filter((node) => !(node.getAttribute("aria-label") || (node.labels && [...node.labels].some((label) => label.textContent.trim())))).map((node) => node.outerHTML)"""
    )
    assert unnamed == []
    names = page.get_by_role("slider").evaluate_all("(nodes) => nodes.map((node) => node.getAttribute('aria-label'))")
    assert len(names) == len(set(names)) >= 8


def test_at_400_pixels_nothing_is_cut_off(open_page, looked):
    opened = open_page(looked.address, width=400, height=800)
    opened.ready()
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    stage, panel = page.locator(".stage").bounding_box(), page.locator(".panel").bounding_box()
    assert stage["width"] >= 340
    assert panel["y"] >= stage["y"] + stage["height"]  # below the map, not beside it
    for node in page.locator(".panel input, .buttons button").all():
        box = node.bounding_box()
        assert 0 <= box["x"] <= box["x"] + box["width"] <= 400


def test_a_map_in_parts_opens_on_the_largest_and_goes_from_one_to_the_next(open_page, tmp_path):
    files = make_explored(tmp_path, (80, 2000), classes=2)
    ends = [make_scene(tmp_path / "build/scenes/g10", name, origin=files.grid.transform @ (col, 0), pixel=10.0,
                       shape=(80, wide), channels=("B02", "B03", "B04")) for name, col, wide in (("A", 0, 80), ("B", 1900, 100))]  # fmt: skip
    where = "(() => { const v = document.querySelector('.explorer').explorer.view; return [v.x, v.y]; })()"
    with Viewer({"main": Source("main", Ground(ends, files.grid), HeldMap("main", files))}) as viewer:
        threading.Thread(target=viewer.run, daemon=True).start()
        opened = open_page(viewer.address)
        opened.ready()
        onward = opened.page.get_by_role("button", name="Go to the next of the map’s 2 parts")
        places = [opened.page.evaluate(where)]
        for _ in range(2):
            onward.click()
            places.append(opened.page.evaluate(where))
        opened.page.get_by_role("button", name="Show all of the map").click()
        places.append(opened.page.evaluate(where))
        opened.page.goto("about:blank")  # else tiles that are on their way would be missed
        viewer.shutdown()
    assert places == [[1950, 40], [40, 40], [1950, 40], [1000, 40]]


def test_a_map_of_one_part_has_no_button_for_more(viewer):
    assert viewer.page.get_by_role("button", name=re.compile("next of the map")).count() == 0
