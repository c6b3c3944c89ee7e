"""The `thalweg` command: what is not a stage. Errors are one line and exit 1, as in the stages."""

import os
import subprocess
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated

import typer

from thalweg import __version__, jobs, outcome, params, provision, recipes, stage, summary, unattended
from thalweg.commands import assess, profile, repack
from thalweg.commands.bar import busy
from thalweg.commands.bundle import bundle
from thalweg.commands.debug import debug
from thalweg.commands.doctor import doctor
from thalweg.commands.embed import embed, project, similar
from thalweg.commands.evaluate import evaluate
from thalweg.commands.explain import explain
from thalweg.commands.export import export
from thalweg.commands.import_ensemble import import_ensemble
from thalweg.commands.lines import lines
from thalweg.commands.parcels import parcels
from thalweg.commands.polygons import polygons
from thalweg.commands.predict import predict
from thalweg.commands.probe import probe
from thalweg.commands.pseudo_label import pseudo_label
from thalweg.commands.qgis import qgis
from thalweg.commands.submit import submit, submitted
from thalweg.commands.suggest import suggest
from thalweg.commands.view import view
from thalweg.errors import ParamsError, ThalwegError
from thalweg.params.classes import Classes
from thalweg.params.encoders import EncoderParams
from thalweg.params.ensembles import Ensemble
from thalweg.params.fetch import Fetch
from thalweg.params.models import Member
from thalweg.params.origin import find_origin
from thalweg.params.split import Split
from thalweg.params.yardsticks import Yardstick
from thalweg.salvage import read_changed_stages

RUN = "The pipeline"
PRODUCTS = "Products"
ANYWHERE = "A trained model, anywhere"
ANSWERS = "From a map to answers"
ROUNDS = "Labels for the next round"
MOVING = "Moving here"
ENCODERS = "Encoders and features"
HELP = "This project and this machine"

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 done; 1 an error, told in one line, or a run in which something failed; 2 wrong usage; "
    "130 interrupted; 143 ended by SIGTERM. NO_COLOR=1 takes the colours away.",
)


@app.command(rich_help_panel=RUN)
def where() -> None:
    """Says where the maps and the report of the finished run lie, and its headline scores."""
    found = outcome.read_outcome(Path.cwd())
    outcome.clear_stale(Path.cwd())
    for path in found.maps:
        typer.echo(f"map     {path}")
    typer.echo(f"report  {found.report}")
    typer.echo(found.headline)


def _recipe_names(incomplete: str) -> list[str]:
    return [name for name in recipes.recipe_paths(Path()) if name.startswith(incomplete)]


@app.command(rich_help_panel=RUN)
def use(
    recipe: Annotated[
        str, typer.Argument(help="Name of a file in recipes/, without .yaml.", autocompletion=_recipe_names)
    ],
) -> None:
    """Makes recipes/<recipe>.yaml the project's params.yaml."""
    backup = recipes.use_recipe(Path.cwd(), recipe)
    if backup:
        typer.echo(f"the old params.yaml was in no recipe and no commit; it is kept as {backup.name}")
    removed = recipes.remove_leftovers(Path.cwd())
    if removed:
        typer.echo(f"taken away, DVC's cache and the stores keep them: {', '.join(removed)}")
    typer.echo(f"params.yaml is now recipe {recipe}; run `make train`")
    given = params.load(Fetch).input
    if not Path(given).exists():
        said = f"warning: its fetch.input, {given}, does not exist yet; put the products there first"
        typer.secho(said, fg="yellow", err=True)


@app.command(rich_help_panel=RUN)
def check() -> None:
    """Validates params.yaml and every recipe, and builds all their members without weights."""
    failed = False
    for path in (params.PARAMS_FILE, *recipes.recipe_paths(Path()).values()):
        try:
            with busy(f"building the members of {path}"):
                recipe = recipes.build_members(path)
        except ThalwegError as error:
            failed = True
            typer.secho(f"error: {error}", fg="red", err=True)
        else:
            typer.echo(
                f"{path} is sound: members {', '.join(recipe.models)}; maps {', '.join(recipe.ensembles) or 'none'}"
            )
    if failed:
        raise typer.Exit(1)


_File = Annotated[Path, typer.Option("--params", help="Params file or recipe.")]


@app.command(rich_help_panel=PRODUCTS)
def search(
    file: _File = params.PARAMS_FILE,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what is left out, and why.")] = False,
) -> None:
    """Shows what the recipe's search would fetch: names, dates, clouds, bytes. Needs no account."""
    with busy("asking the catalogue"):
        found = provision.find_products(params.load(Fetch, path=file), file)
    _echo_all(provision.iter_found(found, verbose))


@app.command(rich_help_panel=PRODUCTS)
def lock(file: _File = params.PARAMS_FILE) -> None:
    """Searches, and freezes what it finds into the products lock that `fetch.input` names. Commit it to git."""
    with busy("asking the catalogue"):
        path, found = provision.freeze(params.load(Fetch, path=file), file)
    _echo_all(provision.iter_found(found, verbose=False))
    typer.echo(f"wrote {path}; commit it, then `dvc repro`")


@app.command(rich_help_panel=PRODUCTS)
def fetch(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would move, and the disk it needs.")] = False,
    file: _File = params.PARAMS_FILE,
) -> None:
    """Fetches what the recipe's source names, as `dvc repro fetch` does."""
    if dry_run:
        with busy("asking what each product weighs"):
            needs = provision.plan_fetch(params.load(Fetch, path=file), file)
        _echo_all(provision.iter_plan(needs))
    elif file != params.PARAMS_FILE:
        raise ParamsError(f"only params.yaml is fetched; run `make use RECIPE={file.stem}` first, or give --dry-run")
    else:
        raise typer.Exit(subprocess.run([sys.executable, "-m", "dvc", "repro", "fetch"], check=False).returncode)


def import_jobs(
    file: Annotated[Path, typer.Argument(help="torchbearer's configs/jobs.yaml.")],
    base: Annotated[Path, typer.Option(help="Recipe that gives what jobs do not say.")] = Path("recipes/chaco.yaml"),
    out: Annotated[Path, typer.Option(help="The recipe to write.")] = Path("recipes/jobs.yaml"),
) -> None:
    """Turns torchbearer's jobs into the members of a new recipe, and says what it could not map."""
    if out.exists():
        raise ParamsError(f"{out} is there already; remove it, or give another name by --out")
    if not out.parent.is_dir():
        raise ParamsError(f"{out.parent}, where {out.name} should go, is no folder; make it, or give another by --out")
    imported = jobs.import_jobs(file, base)
    out.write_text(imported.recipe, "utf-8")
    for note in imported.notes:
        typer.secho(f"not mapped: {note}", fg="yellow", err=True)
    typer.echo(f"wrote {out} with {', '.join(imported.members)}; look it over, then `make use RECIPE={out.stem}`")


@app.command(rich_help_panel=RUN)
def train(
    only: Annotated[str | None, typer.Option(help="Patterns of members, e.g. '*resnet18*'; the others rest.")] = None,
    at_once: Annotated[int, typer.Option("--jobs", min=1, help="Members that train at once.")] = 1,
) -> None:
    """Runs the pipeline, whatever fails on the way; ends with a table of all members, and 1 if one of them failed.

    With --only, what the chosen members stand on and they themselves run; their map and report go into salvage/, and
    the project's own maps wait for the next whole run.
    """
    root = Path.cwd()
    with unattended.alone(root):
        stages = unattended.select(root, only)
        finished, log = unattended.run(root, stages, only is None, at_once)
        chosen = None if only is None else stages
        changed = set[str]() if finished and only is None else _changed(root)
        try:
            if finished and only is None:
                where()
            else:
                _salvage(root, chosen, changed)
        finally:  # whatever becomes of the maps, there is a table in the morning
            _summarise(root, changed, chosen, summary.Night(log, unattended.read_failures(log)))
    raise typer.Exit(0 if finished else 1)


@app.command(rich_help_panel=RUN)
def salvage() -> None:
    """After a failed run: maps and a report of the members that did finish, into salvage/. Always exits 1."""
    root = Path.cwd()
    changed = _changed(root)
    try:
        _salvage(root, None, changed)
    finally:
        _summarise(root, changed, None, None)
    raise typer.Exit(1)


def _salvage(root: Path, only: Collection[str] | None, changed: Collection[str]) -> None:
    """Maps and reports what did finish."""
    from thalweg.maps.collection import find_items, write_collection  # noqa: PLC0415
    from thalweg.plots import build_plots  # noqa: PLC0415 - these draw and map; the other commands need not wait
    from thalweg.report import Files, Plan, build_report  # noqa: PLC0415
    from thalweg.salvage import FOLDER, build  # noqa: PLC0415

    with busy("mapping what did finish"):
        saved = build(root, only, changed)
    outcome.mark_stale(root, saved.stale, saved.unfinished)
    for name, reason in saved.skipped.items():
        typer.secho(f"no map {name}: {reason}", fg="yellow", err=True)
    for folder in saved.stale:
        typer.secho(f"stale: {folder} is the map of an earlier run (see {outcome.STALE})", fg="yellow", err=True)
    typer.secho(f"not finished: {', '.join(saved.unfinished) or 'nothing'}", fg="red", err=True)
    if not (saved.finished or saved.yardsticks):
        typer.secho("nothing to salvage: no member has finished; read the first error above", fg="red", err=True)
        return
    classes, members = params.load(Classes), params.load_items(Member)
    yardsticks = {name: one for name, one in params.load_items(Yardstick).items() if name in saved.yardsticks}
    build_plots(root / "build/history", root / "build/heldout", saved.finished, classes, root / FOLDER / "plots",
                tuple(yardsticks))  # fmt: skip
    ensembles = params.load_items(Ensemble)
    plan = Plan(
        fetch=params.load(Fetch), classes=classes, split=params.load(Split),
        members={name: members[name] for name in saved.finished}, yardsticks=yardsticks,
        ensembles={name: ensembles[name].model_copy(update={"members": used}) for name, used in saved.maps.items()},
        encoders=tuple(params.load_items(EncoderParams)),
        origin=find_origin(root / params.PARAMS_FILE, root / recipes.FOLDER),
    )  # fmt: skip
    page = root / FOLDER / "report" / "index.html"
    files = Files.below(root, root / FOLDER)
    build_report(files, plan, page, failed=saved.failed)
    write_collection(find_items(files.maps, saved.maps), page.with_name("collection.json"))
    for name, used in saved.maps.items():
        typer.echo(f"salvaged map     {root / FOLDER / 'maps' / name / 'classes.tif'} of {', '.join(used)}")
    typer.echo(f"salvaged report  {page}")


def _changed(root: Path) -> set[str]:
    with busy("asking DVC what did not finish"):
        return read_changed_stages(root)


def _summarise(
    root: Path, unfinished: Collection[str], only: Collection[str] | None, night: summary.Night | None
) -> None:
    key, rows = summary.build(root, unfinished, only, night)
    summary.write(root, key, rows)
    _echo_all(("", *summary.lines(key, rows)))


def _echo_all(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"thalweg {__version__}")
        raise typer.Exit


@app.callback()
def shared(
    context: typer.Context,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress: results, warnings and errors alone.")
    ] = False,
    version: Annotated[  # noqa: ARG001 - its callback tells it
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Say the version, and exit.")
    ] = False,
) -> None:
    """Thalweg: from satellite products to maps that can be trusted.

    `make train` runs the whole pipeline, `dvc repro` what changed of it; these commands do the rest.
    """
    if os.environ.get("NO_COLOR"):
        context.color = False
    if quiet:
        stage.be_quiet()


app.command(rich_help_panel=RUN)(submit)
app.add_typer(submitted, name="submitted", rich_help_panel=RUN)
app.command(rich_help_panel=ANYWHERE)(predict)
app.command(rich_help_panel=ANYWHERE)(evaluate)
app.command(rich_help_panel=ANYWHERE)(bundle)
app.command(rich_help_panel=ANYWHERE)(export)
app.add_typer(assess.app, name="assess", rich_help_panel=ANSWERS)
app.command(rich_help_panel=ANSWERS)(view)
app.command(rich_help_panel=ANSWERS)(polygons)
app.command(rich_help_panel=ANSWERS)(lines)
app.command(rich_help_panel=ANSWERS)(parcels)
app.command(rich_help_panel=ANSWERS)(qgis)
app.command(rich_help_panel=ENCODERS)(probe)
app.command(rich_help_panel=ENCODERS)(embed)
app.command(rich_help_panel=ENCODERS)(similar)
app.command(rich_help_panel=ENCODERS)(project)
app.command("pseudo-label", rich_help_panel=ROUNDS)(pseudo_label)
app.command(rich_help_panel=ROUNDS)(suggest)
app.command("import-jobs", rich_help_panel=MOVING)(import_jobs)
app.command("import-ensemble", rich_help_panel=MOVING)(import_ensemble)
app.add_typer(repack.app, name="repack", rich_help_panel=MOVING)
app.add_typer(profile.app, name="profile", rich_help_panel=HELP)
app.command(rich_help_panel=HELP)(debug)
app.command(rich_help_panel=HELP)(doctor)
app.command(rich_help_panel=HELP)(explain)


def main() -> None:
    """Entry point."""
    stage.run_app(app)


if __name__ == "__main__":
    main()
