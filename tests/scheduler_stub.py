"""Specs' options and resources, and commands that stand in for schedulers': what they are given runs at once, task by task."""

from pathlib import Path

from thalweg.submit import jobs

FOLDER = Path("runs/submit/2026-01-01T000000")
OPTIONS = {
    "slurm": {"partition": "gpu", "account": "lab"},
    "aws_batch": {"queue": "gpu-queue", "definition": "thalweg:3"},
    "run_ai": {"project": "rivers", "image": "registry.example.org/thalweg:1", "claim": "shared"},
}
ENDINGS = {"slurm": "sh", "aws_batch": "json", "run_ai": "yaml"}


def resources(**changes) -> jobs.Resources:
    values = {"nodes": 1, "processes": 2, "gpus": 2, "cpus": 16, "memory_gib": 64, "hours": 24, "at_once": 2,
              "options": OPTIONS["slurm"]}  # fmt: skip
    return jobs.Resources(**(values | changes))


def stub(home: Path, name: str, text: str) -> None:
    home.mkdir(exist_ok=True)
    (home / name).write_text(text)
    (home / name).chmod(0o755)


RUNS = """#!{python}
# sbatch that runs jobs one after the other, tasks of arrays too, and lets dependencies fail as SLURM does
import json, os, pathlib, re, subprocess, sys
home = pathlib.Path(__file__).parent
ended = json.loads((home / "ended").read_text()) if (home / "ended").exists() else {{}}
number = str(101 + len(ended))
script = pathlib.Path(sys.argv[-1]).read_text()
wanted = re.search(r"--dependency=(\\w+):(\\d+)", " ".join(sys.argv))
codes = [1]
if wanted is None or wanted[1] == "afterany" or ended[wanted[2]] == 0:
    array = re.search(r"--array=0-(\\d+)", script)
    codes = []
    for task in range(int(array[1]) + 1 if array else 1):
        more = {{"SLURM_ARRAY_TASK_ID": str(task)}} if array else {{}}
        done = subprocess.run(["bash"], input=script, text=True, env=os.environ | more, capture_output=True)
        (home / f"{{number}}.{{task}}.log").write_text(done.stdout + done.stderr)
        codes.append(done.returncode)
ended[number] = max(codes)
(home / "ended").write_text(json.dumps(ended))
print(number)
"""


AWS = """#!{python}
# aws batch submit-job that runs jobs one after the other, and what depends on one only if all of it ended with 0
import json, os, pathlib, subprocess, sys
home = pathlib.Path(__file__).parent
ended = json.loads((home / "ended").read_text()) if (home / "ended").exists() else {{}}
number = f"id-{{len(ended)}}"
spec = json.loads(pathlib.Path(sys.argv[sys.argv.index("--cli-input-json") + 1].removeprefix("file://")).read_text())
wanted = sys.argv[-1].removeprefix("jobId=") if "--depends-on" in sys.argv else None
codes = [1]
if wanted is None or ended[wanted] == 0:
    codes = []
    size = spec.get("arrayProperties", {{}}).get("size")
    for task in range(size or 1):
        more = {{"AWS_BATCH_JOB_ARRAY_INDEX": str(task)}} if size else {{}}
        done = subprocess.run(spec["containerOverrides"]["command"], text=True, env=os.environ | more, capture_output=True)
        (home / f"{{number}}.{{task}}.log").write_text(done.stdout + done.stderr)
        codes.append(done.returncode)
ended[number] = max(codes)
(home / "ended").write_text(json.dumps(ended))
print(json.dumps({{"jobId": number}}))
"""
