"""The manual is true: its commands are taken by their programs, its links and files are there, its examples are read."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from manual_commands import ONLY_READ, PAGES, ROOT, Command, blocks, commands, fault, split
from PIL import Image
from report_builder import make_map
from ruamel.yaml import YAML
from scene_builder import make_scene

from thalweg import params
from thalweg.params.masks import Masks
from thalweg.recipes import recipe_paths

COMMANDS = commands()
FAQ = (ROOT / "docs/faq.md").read_text("utf-8")
HEADLINES = re.findall(r"^\*\*(.+?)\*\*( \((?:PyTorch's|git's|DVC's) words\))?", FAQ, re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_every_command_is_taken_by_its_program(command):
    assert fault(command) is None


def test_the_collector_finds_what_is_there():
    words = {command.words[:2] for command in COMMANDS}
    assert {("make", "train"), ("thalweg", "predict"), ("dvc", "exp"), ("docker", "build"), ("git", "add")} <= words
    assert len(COMMANDS) > 100


@pytest.mark.parametrize(("text", "found"), [
    ("make use RECIPE=sparse && make train   # round 1", [["make", "use", "RECIPE=sparse"], ["make", "train"]]),
    ("A=1 thalweg where | head -1", [["thalweg", "where"], ["head", "-1"]]),
    ("dvc exp run -S a=1 \\\n  -S 'b=[1, 2]'", [["dvc", "exp", "run", "-S", "a=1", "-S", "b=[1, 2]"]]),
    ("nohup make train > night.log 2>&1 &", [["nohup", "make", "train"]]),
])  # fmt: skip
def test_lines_are_read_as_a_shell_reads_them(text, found):
    assert list(split(text)) == found


@pytest.mark.parametrize("line", [
    "thalweg predct models/unet a.tif", "thalweg predict models/unet a.tif --out m --tile 3", "thalweg predict",
    "make trian", "make train COLOUR=1", "dvc rerpo", "dvc exp run --quueue", "git comit", "python -m thalweg.nothing", "foo bar",
])  # fmt: skip
def test_a_wrong_command_would_be_found(line):
    [words] = split(line)
    assert fault(Command(ROOT / "README.md", tuple(words), True))


def test_what_is_only_read_is_needed():
    used = {command.words[0] for command in COMMANDS}
    assert set(ONLY_READ) <= used


def test_the_tutorial_counts_the_stages():
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    numbers = ("eight", "nine", "ten", "eleven", "twelve")
    assert f"`dvc.yaml`: {numbers[len(stages) - 8]} stages" in (ROOT / "docs/tutorial.md").read_text("utf-8")


def test_some_blocks_are_executed():
    assert sum(len(blocks(page, run=True)) for page in PAGES) >= 5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        made = {"recipes.md", "cookbook.md", "reference/params.md", "reference/names.md", "reference/commands.md"}
        if "://" not in target and target not in made:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [page for page in PAGES if "adr" not in page.parts], ids=lambda page: page.name)
def test_files_that_are_named_are_there(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    named = re.findall(r"`((?:src|tests|recipes|stages|benchmarks|masks)/[\w./-]+\.(?:py|yaml|json|svg))`", text)
    made_by_the_reader = {"recipes/mine.yaml", "recipes/map.yaml", "recipes/chaco.products.json"}
    missing = [name for name in named if not (ROOT / name).exists() and name not in made_by_the_reader]
    assert not missing


@pytest.mark.parametrize(("headline", "others"), HEADLINES, ids=lambda value: str(value)[:40])
def test_errors_of_the_faq_are_those_that_are_raised(headline, others):
    """What is quoted stands so in the source, but for `…`; what others say, and what is no quotation, is marked."""
    quoted = re.findall(r"`([^`]+)`", headline)
    if others or not headline.startswith("`"):
        return
    source = "".join(path.read_text("utf-8") for path in [*(ROOT / "src").rglob("*.py"), ROOT / "Makefile"])
    joined = re.sub(r"\"\s*\n\s*f?\"", "", source)  # one message over several lines
    for text in quoted:
        parts = [part.strip() for part in re.split(r"…|'[^']*'|\(did you mean.*", text)]
        assert all(part in joined for part in parts), text


def test_masks_of_the_qgis_page_are_read():
    [text] = re.findall(r"```yaml\n(masks:.*?)```", (ROOT / "docs/qgis.md").read_text("utf-8"), re.DOTALL)
    params.parse(Masks, YAML(typ="safe").load(text)["masks"], "masks", ROOT / "docs/qgis.md")


@pytest.mark.parametrize("recipe", recipe_paths(ROOT).values(), ids=lambda path: path.stem)
def test_every_recipe_says_what_it_reaches_and_takes(recipe):
    head = re.match(r"(?:#.*\n)+", recipe.read_text("utf-8"))
    assert head
    assert re.search(r"\b(reach|beat|score)", head[0], re.IGNORECASE), "no score at the top"
    assert re.search(r"\b(minutes?|hours?|night|not measured)\b", head[0]), "no time at the top"


def test_the_pipeline_is_drawn_as_it_is():
    drawn = subprocess.run([sys.executable, "-c", "import sys; sys.path.insert(0, 'docs/hooks'); import pipeline; print(pipeline.draw(), end='')"],
                           cwd=ROOT, capture_output=True, text=True, check=True)  # fmt: skip
    assert drawn.stdout == (ROOT / "docs/images/pipeline.svg").read_text("utf-8"), "run python docs/hooks/pipeline.py"
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
    assert all(f">{name}" in drawn.stdout for name in stages)


def _build(folder: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)], cwd=folder,
                          capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})  # fmt: skip


def test_the_manual_builds_without_a_warning_and_asks_nothing_of_the_network(tmp_path):
    done = _build(ROOT, tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = [page for page in (tmp_path / "site").rglob("*.html") if page.name != "404.html"]
    assert len(pages) > 30
    for page in pages:
        loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?://[^\">\s]+)", page.read_text("utf-8"))
        assert not [url for url in loaded if "canonical" not in url], page
    assert (tmp_path / "site/javascripts/iframe-worker-shim.js").is_file()


@pytest.mark.parametrize(
    "text", ["[gone](gone.md)", "[there](tutorial.md#no-such-heading)", "[outside](../no-such-file)"]
)
def test_a_broken_link_would_fail_the_build(tmp_path, text):
    for name in ("docs", "mkdocs.yml", "src", "recipes", "masks", "dvc.yaml", "README.md", "LICENSE"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs").unlink()
    subprocess.run(["cp", "-r", str(ROOT / "docs"), str(tmp_path / "docs")], check=True)
    page = tmp_path / "docs/nights.md"
    page.write_text(f"{page.read_text('utf-8')}\n{text}\n")
    assert _build(tmp_path, tmp_path / "site").returncode == 1


@pytest.mark.parametrize("picture", sorted((ROOT / "docs/images").glob("*.png")), ids=lambda path: path.stem)
def test_no_picture_of_the_manual_has_a_blank_band(picture):
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    for rows in (pixels, pixels[::-1], pixels.swapaxes(0, 1), pixels.swapaxes(0, 1)[::-1]):
        drawn = [bool((row != row[0]).any()) for row in rows]
        assert drawn.index(True) <= 18


def test_a_scene_of_a_map_is_drawn_to_the_edge(tmp_path):
    make_map(tmp_path)
    make_scene(tmp_path / "build/scenes/s2_60m", "S2A", shape=(40, 60), channels=("B04", "B8A"))
    target = tmp_path / "drawn.png"
    asked = [sys.executable, "docs/hooks/pictures.py", str(tmp_path), "main", "S2A", str(target)]
    subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    pixels = np.asarray(Image.open(target).convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    assert width == pytest.approx(5 * 272.8, abs=1)  # image, mask, classes, probability, doubt, 2.48 inches each
    column = pixels[:, int(2.5 * width / 5)]  # down through the classes: rows 15 to 19 of 40 are palaeochannel
    blue, ground = ((column == color).all(1).sum() for color in ((0x1F, 0x6F, 0xB4), (0xE6, 0xE0, 0xD4)))
    assert blue == pytest.approx((blue + ground) * 5 / 40, abs=2)
    assert blue + ground == pytest.approx(272.8 * 40 / 60, abs=8)  # to the edge of the picture
    assert height < blue + ground + 40  # a title and margins
