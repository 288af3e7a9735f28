"""The report: one page with all results in it, that a browser shows without asking for anything."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from bench.__main__ import main
from bench.report import browser, charts, figures, page, paper_tables, readme
from tests.bench import made_up

PHONE = {"width": 360, "height": 740}


def made_up_results() -> dict[str, Any]:
    results = made_up.paper_results()
    for strategy, colour in zip(
        results["strategies"].values(), ("#000000", "#009E73", "#D55E00"), strict=True
    ):
        strategy |= {"colour": colour, "line": "-"}
    return results | {"target": 0.7}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a comparison, with a picture of its picks."""
    directory = tmp_path_factory.mktemp("comparison") / "made-up"
    directory.mkdir()
    results = made_up_results()
    (directory / "results.json").write_text(json.dumps(results))
    (directory / "table.md").write_text(paper_tables.markdown(results))
    (directory / "picks.png").write_bytes((page.RESULTS / "two-circles.png").read_bytes())
    return directory


@pytest.fixture(scope="module")
def file(comparison: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(page.page([comparison]), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1,234.5 µs", 1234.5e-6),
        ("2.0 ms", 2e-3),
        ("98.25% ± 0.1", 98.25),
        ("-0.5 s", -0.5),
        ("0.83 (0.7 to 0.9)", 0.83),
        ("not reached", None),
        ("-", None),
        ("kf18", None),
    ],
)
def test_cells_are_sorted_by_their_numbers(text: str, number: float | None) -> None:
    assert page.number_in(text) == (number if number is None else pytest.approx(number))


def test_columns_of_words_are_sorted_as_words() -> None:
    html = page.html_of("| a | b |\n|---|---|\n| 1 x | 2 ms |\n| y | 1 s |\n| z | - |\n")
    assert '<div class="scroll">' in html
    assert re.findall(r'data-order="(.*?)"', html) == ["0.002", "1.0", "1e+300"]


def test_pictures_of_a_part_are_in_its_html() -> None:
    html = page.html_of("![circles](../bench/results/two-circles.png)\n")
    assert re.fullmatch(r'<p><img alt="circles" src="data:image/png;base64,[\w+/=]+" /></p>', html)


def test_commands_are_blocks_of_code() -> None:
    html = page.html_of("A table.\n\n```bash\npython -m bench \\\n    compare mnist\n```\n")
    code = "python -m bench \\\n    compare mnist\n"
    assert f'<pre><code class="language-bash">{code}</code></pre>' in html


def test_a_curve_is_the_mean_and_the_range_of_the_seeds() -> None:
    rows = [line.split(",") for line in charts.points(made_up_results(), "accuracy").splitlines()]
    assert rows[0] == ["strategy", "against", "x", "mean", "low", "high"]
    assert len(rows) == 1 + 3 * 2 * charts.MOMENTS
    first = rows[1]
    assert first[:2] == ["uniform", "seconds"]
    # Both have begun after 3 s, when the faster one has made three evaluations.
    assert [float(value) for value in first[2:]] == pytest.approx([3, 0.49, 0.48, 0.5])


def test_the_axis_of_the_accuracy_has_the_end_of_a_curve_that_falls() -> None:
    results = made_up_results()
    curve = results["runs"][0]["curve"]
    curve["accuracy"] = [0.2] * (len(curve["accuracy"]) - 3) + [0.1] * 3
    assert figures.accuracy_limits(results)[0] == pytest.approx(0.1)


def test_a_directory_that_is_no_comparison_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"has no table\.md: run `python -m bench compare`"):
        main(["report", str(tmp_path / "report.html"), str(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_a_directory_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is a directory: name the page's file in it"):
        main(["report", str(tmp_path)])


def test_a_file_that_browsers_would_not_show_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"report does not end in \.html"):
        main(["report", str(tmp_path / "report")])
    assert not list(tmp_path.iterdir())


def test_titles_are_those_of_parts() -> None:
    assert set(page.TITLES) <= {name for parts in readme.PARTS.values() for name in parts}


def test_nothing_is_fetched(file: Path) -> None:
    html = re.sub(r"<script.*?</script>", "", file.read_text("utf-8"), flags=re.DOTALL)
    assert re.findall(r"<(?:img|link) [^>]*(?:src|href)=", html)
    assert not re.findall(r"<(?:img|link) [^>]*(?:src|href)=\"(?!data:)", html)
    assert not re.findall(r"<a [^>]*href=\"(?!#)", html)
    assert file.stat().st_size < 20e6


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if browser.find() is None and not os.environ.get("IMPSAMP_REQUIRE_BROWSER"):
        pytest.skip("no Chromium is installed")
    with browser.launched() as chromium:
        yield chromium


@pytest.fixture(scope="module", params=["light", "dark"])
def opened(
    chromium: Browser, file: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Page, list[str]]]:
    """The page, and what it has asked for or complained of."""
    with chromium.new_context(color_scheme=request.param, offline=True) as context:
        tab = context.new_page()
        tab.set_default_timeout(browser.PATIENCE)
        expect.set_options(timeout=browser.PATIENCE)
        wrong: list[str] = []
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on(
            "request",
            lambda asked: asked.url.startswith(("file:", "data:")) or wrong.append(asked.url),
        )
        tab.goto(file.as_uri())
        yield tab, wrong


@pytest.fixture
def tab(opened: tuple[Page, list[str]]) -> Iterator[Page]:
    tab, wrong = opened
    tab.set_viewport_size(browser.SIZE)
    yield tab
    assert not wrong


def test_it_is_light_or_dark_as_the_reader_likes(tab: Page) -> None:
    shades = tab.evaluate(
        "['backgroundColor', 'color'].map(name => getComputedStyle(document.body)[name])"
    )
    page_shade, text_shade = (sum(map(int, re.findall(r"\d+", shade)[:3])) for shade in shades)
    dark = tab.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    assert (page_shade < text_shade) == dark
    assert abs(page_shade - text_shade) > 500  # of 765
    section = tab.locator("#made-up")
    section.scroll_into_view_if_needed()
    label = section.locator("svg .role-axis-label text").first
    label.wait_for()
    assert label.evaluate("label => getComputedStyle(label).fill") == shades[1]


def test_a_heading_sorts_its_table(tab: Page) -> None:
    table = tab.locator("#made-up").locator("table").first
    first_cells = table.locator("tbody td:first-child")
    expect(first_cells).to_have_text(["uniform", "good", "bad"])
    heading = table.get_by_role("columnheader", name="strategy")
    heading.click()
    expect(first_cells).to_have_text(["bad", "good", "uniform"])
    heading.click()
    expect(first_cells).to_have_text(["uniform", "good", "bad"])
    table.get_by_role("columnheader", name="time to target").click()  # 4, 9, 16 s
    expect(first_cells).to_have_text(["bad", "good", "uniform"])


def test_a_curve_tells_its_numbers_to_the_pointer(tab: Page) -> None:
    chart = tab.locator("#made-up").locator(".chart").first
    chart.scroll_into_view_if_needed()
    plot = chart.locator("svg .background").first
    plot.wait_for()
    box = plot.bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tooltip = tab.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    words = set(re.findall(r"[a-z]+", tooltip.inner_text()))
    assert {"strategy", "against", "x", "mean", "low", "high"} <= words
    assert words & {"uniform", "good", "bad"}


def test_curves_are_shown_against_steps_too(tab: Page) -> None:
    chart = tab.locator("#made-up").locator(".chart").first
    chart.scroll_into_view_if_needed()
    label = chart.locator("svg .role-axis-label text").filter(has_text=re.compile("^80$"))
    expect(label).to_have_count(0)  # the slowest takes 24 s
    chart.get_by_label("steps").click()
    expect(label).to_have_count(1)


def test_a_phone_scrolls_tables_but_not_the_page(tab: Page) -> None:
    tab.set_viewport_size(PHONE)
    last = tab.locator("#made-up")
    last.locator(".chart").last.scroll_into_view_if_needed()
    last.locator(".chart svg").last.wait_for()
    width = tab.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    widths = tab.evaluate(
        "[...document.querySelectorAll('.scroll')].map(s => [s.clientWidth, s.scrollWidth])"
    )
    assert all(client <= PHONE["width"] for client, _ in widths)
    assert any(scroll > client for client, scroll in widths)


def test_machines_are_told(tab: Page) -> None:
    results = tab.locator("#machines tbody td:first-child")
    assert {"mnist", "ratios", "two-circles"} <= set(results.all_inner_texts())


@pytest.mark.parametrize("opened", ["light"], indirect=True)
def test_every_chart_is_drawn(tab: Page) -> None:
    for chart in tab.locator(".chart").all():
        chart.scroll_into_view_if_needed()
        chart.locator("svg .mark-line path").first.wait_for(state="attached")


def test_pictures_are_in_the_page(tab: Page) -> None:
    widths = tab.evaluate("[...document.images].map(picture => picture.naturalWidth)")
    assert len(widths) > len(list(page.RESULTS.glob("plot-*.png")))
    assert min(widths) > 100
    picture = tab.locator("#made-up").locator("img")
    assert picture.evaluate("picture => picture.naturalWidth") > 100


def test_a_screenshot_is_small(chromium: Browser, file: Path, tmp_path: Path) -> None:
    picture = tmp_path / "report.png"
    browser.screenshot(chromium, file, picture)
    assert 10_000 < picture.stat().st_size < 250_000
