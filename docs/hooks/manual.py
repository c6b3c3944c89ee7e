"""What the manual makes of the project when it is built: reference, recipes, cookbook, and links to files beside docs/.

MkDocs calls the functions by their names (https://www.mkdocs.org/user-guide/configuration/#hooks).
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click
from typer.main import get_command

from thalweg import recipes
from thalweg.cli import app
from thalweg.params.recipe import Recipe
from thalweg.reference.pages import names_page, params_page

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")
_SHIM = "https://unpkg.com/iframe-worker/shim"
_COMMENT = re.compile(r"^# ?(.*)$")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made of something else."""
    pages = {
        "reference/params.md": params_page(),
        "reference/names.md": names_page(),
        "reference/commands.md": commands_page(),
        "recipes.md": "\n".join(iter_recipes()),
        "cookbook.md": "\n".join(iter_notebook(ROOT / "docs" / "cookbook.ipynb")),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs's
    """Links that leave docs/ become the names of files, which must be there."""
    here = (ROOT / "docs" / page.file.src_uri).parent

    def shown(link: re.Match[str]) -> str:
        target = (here / link[3]).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return link[0]
        if not target.exists():
            raise PluginError(f"{page.file.src_uri} links to {link[3]}, which is not there")
        return f"`{target.relative_to(ROOT)}`"

    return _LINK.sub(shown, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG001 - MkDocs's
    """The one script that the theme would load from elsewhere, so that search works without a network."""
    return output.replace(_SHIM, f"{'../' * page.url.count('/')}javascripts/iframe-worker-shim.js")


def commands_page() -> str:
    """Every command with its options, by Typer's own writer."""
    command = get_command(app)
    context = typer.Context(command, info_name="thalweg")
    return get_docs_for_click(obj=command, ctx=context, name="thalweg", title="All options")


def iter_recipes() -> Iterator[str]:
    """Each recipe: the head of its file, and what it has."""
    yield "# Recipes\n"
    yield (
        "A recipe is a complete params file: `make use RECIPE=<name>` makes it the project's. What each is for, the "
        "score and the time to expect stand at its top, and are repeated here.\n"
    )
    for name, path in recipes.recipe_paths(ROOT).items():
        recipe = Recipe(path)
        yield f"## {name}\n"
        yield from _head(path)
        yield ""
        yield (
            f"| source | grids | members | yardsticks | maps |\n|---|---|---|---|---|\n| {recipe.fetch.source} | "
            + " | ".join(
                ", ".join(f"`{each}`" for each in items) or "–"
                for items in (recipe.grids, recipe.models, recipe.yardsticks, recipe.ensembles)
            )
            + " |\n"
        )


def _head(path: Path) -> Iterator[str]:
    """The comment at the top, as text; indented lines are commands."""
    before = ""
    for line in path.read_text("utf-8").splitlines():
        comment = _COMMENT.match(line)
        if comment is None:
            return
        text = comment[1]
        kind = "item" if text.startswith("- ") or (text.startswith("  ") and before == "item") else "text"
        kind = "code" if text.startswith("  ") and kind == "text" else kind
        if kind != before:
            yield ""
        yield f"    {text}" if kind == "code" else _plain(text)
        before = kind


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*")


def iter_notebook(path: Path) -> Iterator[str]:
    """A notebook as Markdown, with what its cells said when it was last executed."""
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield f"{text}\n"
        else:
            yield f"```python\n{text}\n```\n"
            for output in cell["outputs"]:
                yield from _output(output)


def _output(output: dict[str, object]) -> Iterator[str]:
    data = output.get("data", {})
    if isinstance(data, dict) and "image/png" in data:
        png = "".join(data["image/png"]).replace("\n", "")
        yield f'<img alt="What the cell above draws" src="data:image/png;base64,{png}">\n'
        return
    text = output.get("text") or (data.get("text/plain") if isinstance(data, dict) else "") or ""
    said = "".join(text) if isinstance(text, list) else str(text)
    if said:
        yield f"```text\n{said.rstrip()}\n```\n"
