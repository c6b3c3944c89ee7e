"""The report in a browser without a network: no complaint, tables that sort, and nothing that needs another file."""

import re

import rasterio


def test_the_report_is_one_file_that_complains_of_nothing(open_page, report, tmp_path):
    alone = tmp_path / "alone.html"
    alone.write_bytes((report / "report/index.html").read_bytes())
    opened = open_page(alone.as_uri())
    opened.ready()
    broken = opened.page.locator("img").evaluate_all(
        "(images) => images.filter((image) => !image.complete || !image.naturalWidth).map((image) => image.alt)"
    )
    assert broken == []
    links = opened.page.locator("nav a").evaluate_all(
        "(links) => links.map((link) => document.querySelector(link.getAttribute('href')) !== null)"
    )
    assert links
    assert all(links)


def test_a_columns_head_sorts_numbers_and_names(open_page, report):
    page = open_page((report / "report/index.html").as_uri()).page
    table = page.locator("table.sortable").first
    column = "(table) => [...table.tBodies[0].rows].map((row) => row.cells[1].textContent.trim().slice(0, 5))"
    values = sorted(map(float, table.evaluate(column)))
    head = table.locator("thead th").nth(1)
    head.get_by_role("button").click()
    assert [float(value) for value in table.evaluate(column)] == values[::-1]
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert [float(value) for value in table.evaluate(column)] == values
    table.locator("thead th").nth(0).get_by_role("button").click()
    names = table.evaluate("(table) => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent.trim())")
    assert names == sorted(names, key=str.casefold)
    assert head.get_attribute("aria-sort") is None


def test_it_is_read_at_400_pixels(open_page, report):
    opened = open_page((report / "report/index.html").as_uri(), width=400, height=800)
    opened.ready()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 400


def test_no_table_of_scores_is_cut_off_at_1280_pixels(open_page, report):
    page = open_page((report / "report/index.html").as_uri(), width=1280).page
    frames = page.locator(".scroll:has(> table.scores)")
    assert frames.count() >= 2
    assert frames.evaluate_all("(all) => all.every((each) => each.scrollWidth <= each.clientWidth)")


def test_at_400_pixels_names_and_captions_stay_in_view_while_a_table_is_scrolled(open_page, report):
    page = open_page((report / "report/index.html").as_uri(), width=400, height=800).page
    seen = page.locator(".scroll:has(> table.scores)").first.evaluate(
        """(frame) => { frame.scrollLeft = 10000;
        const edges = (each) => { const box = each.getBoundingClientRect(); return [box.left, box.right]; };
        return [frame.scrollLeft, edges(frame), ...["caption", "tbody th"].map((at) => edges(frame.querySelector(at)))]; }"""
    )
    scrolled, frame, *stay = seen
    assert scrolled > 50
    assert all(left >= frame[0] - 1 and right <= frame[1] + 1 for left, right in stay)


def test_the_viewers_map_is_as_large_as_the_raster(open_page, report):
    page = open_page((report / "report/index.html").as_uri()).page
    with rasterio.open(report / "maps/main/classes.tif") as dataset:
        shape = [dataset.height, dataset.width]
    assert page.evaluate("document.querySelector('.explorer').explorer.config.shape") == shape
    said = page.locator("#maps").inner_text().replace("\u2009", "")
    assert re.search(rf"{shape[1]} × {shape[0]} pixels", said)
