"""What the command line shows of itself: groups, completion, progress, colours, exit codes."""

import ast
import inspect
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import rich
import typer
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from thalweg import cli, stage, unattended
from thalweg.commands.bar import bar
from thalweg.http.progress import watch

ROOT = Path(__file__).parents[3]
QUICK = {
    "where": "reads some JSON files",
    "submit": "hands files to a scheduler",
    "submitted task": "run by a scheduler, of whose logs it is",
    "submitted finish": "the same",
    "submitted share": "the same",
    "submitted merge": "the same",
    "use": "copies one file",
    "explain": "reads source files",
    "import-jobs": "reads two YAML files",
    "import-ensemble": "reads some YAML files",
    "train": "DVC's lines are shown as they come",
    "profile data": "measures times, of which a turning mark would take its share",
    "profile model": "the same",
    "debug": "trains, and its lines are shown as they come",
    "view": "says where it serves, and stays",
}
"""Commands without a sign of progress of their own → why they need none."""


def _commands(group: TyperGroup, before: str = "") -> dict[str, object]:
    found = {}
    for name, command in group.commands.items():
        below = _commands(command, f"{before}{name} ") if isinstance(command, TyperGroup) else {}
        found |= below or {f"{before}{name}": command}
    return found


COMMANDS = _commands(get_command(cli.app))


def _thalweg(*words: str, terminal: bool = False, **env: str) -> subprocess.CompletedProcess[str]:
    """The command as a process; on a terminal of its own if wanted (both streams as one then)."""
    command = [sys.executable, "-m", "thalweg.cli", *words]
    if terminal:
        script = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
        command = [sys.executable, "-c", script, *command]
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", stage.QUIET)}
    return subprocess.run(command, cwd=ROOT, env={**clean, "TERM": "xterm-256color", **env}, capture_output=True, text=True,
                          check=False, stdin=subprocess.DEVNULL)  # fmt: skip


@pytest.mark.parametrize("name", get_command(cli.app).commands)
def test_every_command_stands_in_a_group(name):
    panel = getattr(get_command(cli.app).commands[name], "rich_help_panel", None)
    assert panel in {
        cli.RUN,
        cli.PRODUCTS,
        cli.ANYWHERE,
        cli.ANSWERS,
        cli.ROUNDS,
        cli.MOVING,
        cli.ENCODERS,
        cli.HELP,
    }, name


def test_help_shows_the_groups_in_order_and_the_exit_codes():
    shown = CliRunner().invoke(cli.app, ["--help"]).output
    places = [shown.index(panel) for panel in (cli.RUN, cli.PRODUCTS, cli.ANYWHERE, cli.ANSWERS, cli.ROUNDS)]
    assert places == sorted(places)
    assert "Exit codes: 0 done; 1 an error" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_what_takes_its_time_shows_that_it_is_alive(name):
    calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(inspect.getsource(sys.modules[COMMANDS[name].callback.__module__])))
             if isinstance(node, ast.Call)}  # fmt: skip
    assert name in QUICK or calls & {"busy", "bar", "track"}


def test_recipes_complete_in_a_shell():
    answer = subprocess.run(
        [sys.executable, "-c", "from thalweg.cli import app; app(prog_name='thalweg')"], cwd=ROOT, text=True,
        capture_output=True, check=False, env={**os.environ, "_THALWEG_COMPLETE": "complete_bash",
                                               "COMP_WORDS": "thalweg use sa", "COMP_CWORD": "2"},
    )  # fmt: skip
    assert answer.stdout.split() == ["sample"]


def test_wrong_usage_exits_2_and_our_errors_1():
    assert _thalweg("use").returncode == 2
    told = _thalweg("use", "nowhere")
    assert told.returncode == 1
    assert told.stderr.startswith("error: there is no recipe 'nowhere'")


def test_errors_are_red_on_a_terminal_and_plain_with_no_color():
    red = _thalweg("use", "nowhere", terminal=True)
    assert "\x1b[31merror: there is no recipe" in red.stdout
    plain = _thalweg("use", "nowhere", terminal=True, NO_COLOR="1")
    assert "error: there is no recipe" in plain.stdout
    assert "\x1b[" not in plain.stdout


def _sleeper(tmp_path: Path) -> subprocess.Popen[bytes]:
    code = (
        "import time, typer\nfrom thalweg import stage\napp = typer.Typer()\n"
        "@app.command()\ndef main():\n    print('ready', flush=True)\n    time.sleep(60)\nstage.run_app(app)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_being_ended_has_its_own_exit_codes(tmp_path, sent, code):
    process = _sleeper(tmp_path)
    process.send_signal(sent)
    _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert b"Traceback" not in said


@pytest.fixture
def loud(monkeypatch):
    """Quiet is a state of the process: taken back after the test."""
    monkeypatch.setenv(stage.QUIET, "")
    yield
    rich.reconfigure(quiet=False)


@pytest.mark.usefixtures("loud")
def test_quiet_takes_progress_away_and_leaves_results(capsys):
    with bar("working"):
        pass
    assert "working" in capsys.readouterr().err
    stage.be_quiet()
    assert os.environ[stage.QUIET] == "1", "the stages that a command starts are quiet, too"
    with bar("working"):
        typer.echo("result")
    said = capsys.readouterr()
    assert said.err.strip() == ""
    assert said.out == "result\n"


@pytest.mark.usefixtures("loud")
def test_quiet_is_an_option_before_the_command():
    result = CliRunner().invoke(cli.app, ["--quiet", "explain", "split.buffer_m"])
    assert result.exit_code == 0, result.output
    assert rich.get_console().quiet
    assert result.output.startswith("split.buffer_m [m]: number ≥ 0")


def test_a_turning_mark_is_seen_on_a_terminal_alone():
    code = "import time\nfrom thalweg.commands.bar import busy\nwith busy('reading the map'):\n    time.sleep(0.3)\nprint('done')"
    piped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (piped.stdout, piped.stderr) == ("done\n", "")
    script = "import pty, sys; pty.spawn(sys.argv[1:])"
    shown = subprocess.run([sys.executable, "-c", script, sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           env={**os.environ, "TERM": "xterm-256color"}, stdin=subprocess.DEVNULL)  # fmt: skip
    assert "reading the map" in shown.stdout


def test_the_version_is_told():
    result = CliRunner().invoke(cli.app, ["--version"])
    assert result.output == "thalweg 0.1.0\n"


@pytest.mark.usefixtures("loud")
def test_a_quiet_night_keeps_what_was_said_in_its_log_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(unattended, "_DVC", (sys.executable, "-c", "print('epoch 1')"))
    for quiet in (False, True):
        if quiet:
            stage.be_quiet()
        finished, log = unattended.run(tmp_path, (), True, 1)
        assert finished
        assert log.read_text() == "epoch 1\n"
        assert capsys.readouterr().out == ("" if quiet else "epoch 1\n")


def test_a_fetch_is_quiet_too(monkeypatch, capsys):
    monkeypatch.setattr(rich, "_console", None)
    rich.reconfigure(quiet=True)
    with watch(1, 10) as progress:
        progress.begin(Path("a.jp2"), 10, 0)
        progress.finish(Path("a.jp2"), 10, moved=True)
    assert capsys.readouterr().err == ""
