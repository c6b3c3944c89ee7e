"""Commands of README.md and docs/: found in fenced blocks and in running text, and parsed by the programs themselves.

A block under `<!-- run -->` is executed by the long suite (test_manual_run.py). What a program cannot parse without
doing it is in `ONLY_READ`, with the reason.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.main import get_command

from thalweg.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "masks/README.md"]
ONLY_READ = {
    "docker": "no engine runs here; the files that it builds are linted and their steps run in test_containers.py",
    "srun": "SLURM's; tests/thalweg/submit/test_slurm.py runs it", "torchrun": "would train; tests/thalweg/train/test_several.py runs it",
    "dask": "would wait for workers; tests/thalweg/executor/test_faults.py runs it",
    "pip": "pip's; `make setup` and the tests of containers run it",
    "nohup": "would start the night", "cp": "the shell's own", "head": "the shell's own",
}  # fmt: skip
_FENCE = re.compile(r"^(<!-- run -->\n)?```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SHELL = ("sh", "bash", "console", "shell")
_INLINE = re.compile(r"(?<!`)`((?:thalweg|make|dvc) [^`]+)`(?!`)")
_ACTS = ("--install-completion", "--show-completion")
"""Options that write to the user's shell, or to the terminal, while they are parsed."""
_MAKE_VARIABLE = re.compile(r"^[A-Z]+=")


_USAGE = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""What Typer's parser raises; it has no public name there."""


class Command(NamedTuple):
    """One command as it stands on a page."""

    page: Path
    words: tuple[str, ...]
    whole: bool
    """Stands in a block, so that nothing may be missing; in running text arguments may."""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {' '.join(self.words)}"


def blocks(page: Path, run: bool = False) -> list[str]:
    """Shell blocks of a page, or those of them that are executed."""
    found = _FENCE.findall(page.read_text("utf-8"))
    return [text for mark, kind, text in found if (kind in _SHELL or _is_shell(kind, text)) and (mark or not run)]


def commands() -> list[Command]:
    """All commands of all pages, each once per page."""
    found: dict[Command, None] = {}
    for page in PAGES:
        for text in blocks(page):
            found |= dict.fromkeys(Command(page, tuple(words), True) for words in split(text))
        prose = _FENCE.sub("", page.read_text("utf-8"))
        for text in _INLINE.findall(prose):
            line = " ".join(text.split())
            if not re.search(r"[…<@]|\[-", line.replace("maps/<name>", "")):
                found |= dict.fromkeys(Command(page, tuple(words), False) for words in split(line))
    return list(found)


def split(text: str) -> Iterator[list[str]]:
    """Commands of a block as words: comments, variables before a command and redirections are left out."""
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in joined.splitlines():
        plain = re.sub(r"\d?>&\d|>\s*[\w./]+", "", line)  # without redirections
        lexer = shlex.shlex(plain, posix=True, punctuation_chars="&|;")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("&|;"):
                if clean := _clean(words):
                    yield clean
                words = []
            else:
                words.append(word)


def _clean(words: list[str]) -> list[str]:
    while words and (words[0] == "$" or re.fullmatch(r"[A-Z_]+=.*", words[0])):
        words = words[1:]
    return words


def _is_shell(kind: str, text: str) -> bool:
    return not kind and bool(re.match(r"(thalweg|make|dvc) ", text))


def fault(command: Command) -> str | None:
    """What the program that is called says against a command; None if it would take it."""
    program, *arguments = command.words
    if program in ONLY_READ:
        return None
    known = {"thalweg": _thalweg, "make": _make, "dvc": _dvc, "git": _git, "python": _python, "mkdocs": None,
             "tensorboard": None, "pytest": None, "ruff": None}  # fmt: skip
    if program not in known:
        return f"'{program}' is no program that the manual knows"
    check = known[program]
    return check(arguments, command.whole) if check else None


def _thalweg(arguments: list[str], whole: bool) -> str | None:
    """By the command's own parser, which is stopped before the command runs; what acts while it is parsed is named."""
    group: Any = get_command(app)
    if arguments and arguments[0] in _ACTS:
        return None if any(arguments[0] in option.opts for option in group.params) else f"there is no {arguments[0]}"
    try:
        context = group.make_context("thalweg", list(arguments))
        rest = [*context._protected_args, *context.args]
        while hasattr(group, "commands"):
            if not rest:
                return "names no command" if whole else None
            name, group, rest = group.resolve_command(context, rest)
            context = group.make_context(name, rest, parent=context)
            rest = [*context._protected_args, *context.args] if hasattr(group, "commands") else []
    except SystemExit:
        return None
    except typer.Exit:
        return None
    except _USAGE as error:
        said = error.format_message()
        return (
            None if not whole and (said.startswith("Missing ") or type(error).__name__ == "NoArgsIsHelpError") else said
        )
    return None


def _make(arguments: list[str], _whole: bool) -> str | None:
    known = set(re.findall(r"^([A-Z]+) \?=", _makefile(), re.MULTILINE)) | set(
        re.findall(r"^export (.*?)  #", _makefile(), re.MULTILINE)[0].split()
    )
    given = {word.partition("=")[0] for word in arguments if _MAKE_VARIABLE.match(word)}
    if strange := given - known:
        return f"the Makefile has no variable {', '.join(strange)}"
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stderr.strip() if done.returncode else None


@cache
def _makefile() -> str:
    return (ROOT / "Makefile").read_text("utf-8")


def _dvc(arguments: list[str], whole: bool) -> str | None:
    from dvc.cli import DvcParserError, parse_args

    try:
        parse_args(list(arguments))
    except (DvcParserError, SystemExit) as error:
        return f"dvc takes it not ({error!r})" if whole or arguments[0].startswith("-") else None
    return None


def _git(arguments: list[str], _whole: bool) -> str | None:
    return None if arguments and arguments[0] in _git_commands() else f"git has no {arguments[:1]}"


@cache
def _git_commands() -> frozenset[str]:
    listed = subprocess.run(["git", "--list-cmds=main"], capture_output=True, text=True, check=True)
    return frozenset(listed.stdout.split())


def _python(arguments: list[str], _whole: bool) -> str | None:
    if arguments[:1] == ["-m"]:
        return None if find_spec(arguments[1]) else f"there is no module {arguments[1]}"
    return None if (ROOT / arguments[0]).is_file() else f"there is no file {arguments[0]}"
