"""One map as jobs: specs against golden files, words that travel unchanged, and maps by stubs that run what they get."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_builder import World, call, make_raster
from ruamel.yaml import YAML
from scheduler_stub import AWS, ENDINGS, FOLDER, OPTIONS, RUNS, resources, stub
from typer.main import get_command

from thalweg.cli import app
from thalweg.commands.scheduled import words_of
from thalweg.errors import ImageError, ParamsError, StageError
from thalweg.predict.shares import Share, taking
from thalweg.submit import jobs, run, shares

GOLDEN = Path(__file__).parent / "golden" / "predict"
WORDS = ("--bands=B02=1,B03=2", "--offset=-1000.0", "--out=maps of May/it's", "--splits=8", "--", "models/unet", "a b.tif", "$HOME/*.SAFE", "$(HOSTNAME)$$")  # fmt: skip


@pytest.fixture
def elsewhere(monkeypatch):
    """As on a cluster whose shared disk holds the environment."""
    monkeypatch.setattr(sys, "executable", "/shared/rivers/.venv/bin/python")


def specs(name: str, numbers: list[int]) -> dict[str, str]:
    asked = resources(options=OPTIONS[name], processes=1, gpus=1, hours=2)
    planned = shares.plan(FOLDER, numbers, WORDS)
    jobs.check(name, planned, asked)
    return {job.name: jobs.render(name, job, asked, Path("/shared/rivers"), FOLDER) for job in planned}


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("name", ENDINGS)
def test_specs_are_the_golden_files(name):
    made = specs(name, [1, 2, 3, 7])
    folder = GOLDEN / name
    if os.environ.get("THALWEG_WRITE_GOLDEN"):
        folder.mkdir(parents=True, exist_ok=True)
        for job, text in made.items():
            (folder / f"{job}.{ENDINGS[name]}").write_text(text, "utf-8")
        pytest.skip("written, not compared")
    assert made == {path.stem: path.read_text("utf-8") for path in folder.iterdir()}


@pytest.mark.usefixtures("elsewhere")
def test_words_are_the_same_behind_every_schedulers_quotes():
    """The last line of bash; what `sh -c` gets; a list of a pod, where $$ is $ and $(NAME) a variable."""
    of_bash = shlex.split(specs("slurm", [1, 2])["share"].splitlines()[-1])
    of_sh = shlex.split(json.loads(specs("aws_batch", [1, 2])["share"])["containerOverrides"]["command"][2])
    of_pod = YAML(typ="safe").load(specs("run_ai", [1, 2])["share"])["spec"]["template"]["spec"]["containers"][0]["command"]  # fmt: skip
    assert not re.search(r"(?<!\$)(\$\$)*\$\(", " ".join(of_pod)), "no variable that Kubernetes would put in"
    of_pod = [word.replace("$$", "$") for word in of_pod]
    for words in (of_bash, of_sh, of_pod):
        assert tuple(words[-len(WORDS) :]) == WORDS
        assert words[-len(WORDS) - 1] == "--", "what is said of the job itself stands before"
    assert "--forgive" in of_sh, "Batch would not start the map after a task that failed"


@pytest.mark.usefixtures("elsewhere")
def test_the_map_waits_for_all_shares():
    planned = shares.plan(FOLDER, [2, 5], WORDS)
    assert [(job.name, job.tasks, job.after, job.whatever) for job in planned] == [
        ("share", 2, None, False), ("merge", 0, "share", False)
    ]  # fmt: skip
    assert "--dependency=afterok:7" in jobs.load("slurm").command(Path("m"), "7", planned[1].whatever)
    assert " --wait-for" not in specs("slurm", [2, 5])["merge"]
    assert '"--wait-for", "0", "--hours", "4", "--",' in specs("run_ai", [2, 5])["merge"]
    assert [job.name for job in shares.plan(FOLDER, [], WORDS)] == ["merge"]
    assert shares.plan(FOLDER, [], WORDS)[0].after is None


@pytest.mark.usefixtures("elsewhere")
def test_one_share_alone_is_no_array_for_batch_and_one_of_a_single_task_for_slurm():
    assert "arrayProperties" not in json.loads(specs("aws_batch", [4])["share"])
    assert "#SBATCH --array=0-0%2" in specs("slurm", [4])["share"].splitlines()


def test_ranges_by_hand():
    assert shares.to_ranges([1, 2, 3, 7, 9, 10]) == "1-3,7,9-10"
    assert shares.from_ranges("1-3,7,9-10") == [1, 2, 3, 7, 9, 10]
    with pytest.raises(StageError, match=r"'1,,2' should say shares as 1-3,7 does; run `thalweg predict --submit`"):
        shares.from_ranges("1,,2")


@given(st.lists(st.integers(1, 500), unique=True).map(sorted))
def test_ranges_say_what_they_were_made_of(numbers):
    assert shares.from_ranges(shares.to_ranges(numbers)) == numbers


@pytest.mark.parametrize(
    "said",
    [
        ["m", "a b.tif", "c.tif"],
        ["m", "a.tif", "--tta", "--each", "--offset", "-1000", "--scale", "1e-4", "--resample", "--aoi", "./x/y.gpkg"],
        ["--elevation", "a b", "--elevation=--c", "--out", "", "--splits", "3", "--", "-m", "--tta", "--"],
        ["m", "a.tif", "--date", "2025-10-03", "--bands", "B02=1,B03='2'", "--memory-gib", "0.1", "--overlap", "0.30000000000000004"],
    ],
)  # fmt: skip
def test_a_commands_words_said_again_mean_the_same(said):
    command = get_command(app).commands["predict"]
    once = command.make_context("predict", [*said])
    again = words_of(once, ())
    assert command.make_context("predict", [*again]).params == once.params
    assert not any(word.startswith("--splits") for word in words_of(once, ("splits",)))


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    """An image of five bands of rows, under a name that a shell would take apart, and a model for it."""
    world = World(tmp_path_factory.mktemp("world"))
    planes = np.random.default_rng(5).integers(500, 4000, (4, 1100, 70)).astype("int16")
    make_raster(world.root / "tall & thin's.tif", planes, crs=world.scene.record.crs, pixel=60.0)
    return world


def words(world: World, *more: object) -> tuple[object, ...]:
    return ("predict", world.model, world.root / "tall & thin's.tif", "--bands", "B02=1,B03=2,B04=3,B8A=4",
            "--scale", "0.0001", "--device", "cpu", "--out", "map of it", *more)  # fmt: skip


def test_a_dry_run_prints_specs_and_calls_and_does_nothing(tall, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = call(*words(tall, "--splits", 3, "--submit", "slurm", "--set", "partition=gpu", "--hours", 2, "--dry-run"))
    assert "#SBATCH --array=0-2" in said
    assert "#SBATCH --time=2:00:00" in said
    assert "#SBATCH --partition=gpu" in said
    assert re.search(r"\$ sbatch --parsable '--dependency=afterok:<share>' --kill-on-invalid-dep=yes runs/submit/\S+/merge.sh", said)  # fmt: skip
    assert "'--out=map of it'" in said
    for dropped in ("--submit", "--set", "--hours", "--dry-run"):
        assert dropped not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("each", [(), ("--each",)])
def test_only_shares_that_are_not_finished_are_handed_over(tall, tmp_path, monkeypatch, each):
    monkeypatch.chdir(tmp_path)
    again = words(tall, "--splits", 3, "--submit", "slurm", "--dry-run", *each)
    call(*words(tall, "--splits", 3, "--split", 2, *each))
    said = call(*again)
    assert "#SBATCH --array=0-1\n" in said
    assert re.search(r"submitted share runs/submit/\S+ 1,3 -- ", said)
    for number in (1, 3):
        call(*words(tall, "--splits", 3, "--split", number, *each))
    said = call(*again)
    assert [line.rpartition("/")[2] for line in said.splitlines() if line.startswith("$ ")] == ["merge.sh"]
    assert "--dependency" not in said


@pytest.mark.parametrize(
    ("more", "kind", "said"),
    [
        (("--submit", "slurm"), ImageError, r"--submit slurm is asked for, but no --splits says of how many; give --splits N$"),
        (("--merge",), ImageError, r"--merge is asked for, but no --splits says of how many; give --splits N$"),
        (("--splits", 3, "--submit", "slurm", "--split", 2), ImageError, r"--submit hands over all shares, .* leave --split 2 out"),
        (("--splits", 3, "--submit", "slurm", "--merge"), ImageError, r"--submit hands over all shares, .* leave --merge out"),
        (("--splits", 3, "--split", 2, "--merge"), ImageError, r"--split 2 predicts a share, --merge makes the map of all"),
        (("--splits", 3, "--submit", "pbs"), StageError, r"there is no scheduler 'pbs'; give one of aws_batch, run_ai, slurm"),
        (("--splits", 3, "--submit", "aws_batch"), StageError, r"aws_batch needs queue, definition; give --set queue=…"),
        (("--splits", 3, "--hours", 2), ParamsError, r"--hours is for jobs, but no --submit says which scheduler takes them"),
        (("--set", "a=b"), ParamsError, r"--set is for jobs, but no --submit says which scheduler takes them; add --submit"),
        (("--splits", 3, "--submit", "slurm", "--set", "a"), ParamsError, r"--set a names no value; give --set NAME=VALUE"),
        (("--splits", 10_001, "--submit", "aws_batch", "--set", "queue=q", "--set", "definition=d"), StageError, r"10000 tasks in an array; choose some by --only, or give fewer --splits"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_says_so(tall, tmp_path, monkeypatch, more, kind, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=said):
        call(*words(tall, *more))


def test_a_map_that_is_there_is_not_handed_over(tall, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "map of it").mkdir()
    with pytest.raises(ImageError, match=r"map of it is there already; remove it, or give another --out"):
        call(*words(tall, "--splits", 3, "--submit", "slurm"))


@contextmanager
def held(work: Path, share: Share, until: Path) -> Iterator[None]:
    """Another process holds a share until there is some file."""
    code = ("import pathlib, sys, time; from thalweg.predict.shares import Share, taking\n"
            "with taking(pathlib.Path(sys.argv[1]), Share(*map(int, sys.argv[2:4]))):\n"
            "    print('held', flush=True)\n"
            "    while not pathlib.Path(sys.argv[4]).exists(): time.sleep(0.1)")  # fmt: skip
    words = [sys.executable, "-c", code, work, str(share.number), str(share.of), until]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        try:
            yield
        finally:
            process.terminate()


@pytest.mark.slow
def test_an_array_and_the_map_after_it_and_what_failed_alone_again(tall, tmp_path, monkeypatch):
    """Share 2 fails, since somebody holds it: Batch starts the map's job all the same, which says what is missing."""
    bin_folder, home = tmp_path / "bin", tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    stub(bin_folder, "aws", AWS.format(python=sys.executable))
    stub(bin_folder, "sbatch", RUNS.format(python=sys.executable))
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")

    with held(home / ".map of it.unfinished", Share(2, 3), until=bin_folder / "id-0.1.log"):
        said = call(*words(tall, "--splits", 3, "--submit", "aws_batch", "--set", "queue=q", "--set", "definition=d"))
    assert "shares 1-3 of 3" in said
    assert list(json.loads((bin_folder / "ended").read_text()).values()) == [0, 1]
    failed, merged = ((bin_folder / name).read_text() for name in ("id-0.1.log", "id-1.0.log"))
    assert "predicts share 2 of 3 of map of it already; wait for it" in " ".join(failed.split())
    assert "share 2 is not finished (exit code 1)" in failed
    assert "share 2 of 3 (rows 256 to 768 of tall & thin's) did not come to an end" in " ".join(merged.split())
    assert not (home / "map of it").exists()
    [folder] = (home / "runs/submit").iterdir()
    ended = {path.name: path.read_text() for path in (folder / "ended").iterdir()}
    assert ended == {"share-1": "0", "share-2": "1", "share-3": "0"}, "what Run:AI's last job waits for"
    run.wait(folder, map(shares.name_of, (1, 2, 3)), None)

    (bin_folder / "ended").unlink()
    said = call(*words(tall, "--splits", 3, "--submit", "slurm"))
    assert "shares 2 of 3" in said
    assert list(json.loads((bin_folder / "ended").read_text()).values()) == [0, 0], "an array of one, and the map"
    assert not list(home.glob(".map*"))
    shutil.move(home / "map of it", home / "by jobs")
    call(*words(tall))
    for name in ("classes.tif", "probs.tif", "uncertainty.tif"):
        assert (home / "by jobs" / name).read_bytes() == (home / "map of it" / name).read_bytes(), name


@pytest.mark.slow
def test_slurm_makes_no_map_of_shares_that_failed(tall, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stub(tmp_path / "bin", "sbatch", RUNS.format(python=sys.executable))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with taking(tmp_path / ".map of it.unfinished", Share(1, 1)):
        call(*words(tall, "--splits", 1, "--submit", "slurm"))
    assert list(json.loads((tmp_path / "bin" / "ended").read_text()).values()) == [1, 1]
    assert not (tmp_path / "bin" / "102.0.log").exists(), "afterok"
