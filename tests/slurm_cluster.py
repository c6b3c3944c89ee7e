"""A SLURM cluster of one node on the loopback, from Debian's packages, for tests that hand jobs to a real scheduler."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin:/opt/slurm/bin"
COMMANDS = ("sbatch", "srun", "slurmctld", "slurmd", "munged", "mungekey")

CONF = """
ClusterName=thalweg
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=5
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:8
"""


def missing() -> list[str]:
    """What is not installed, or why it cannot run."""
    return [name for name in COMMANDS if shutil.which(name, path=PATH) is None] + (
        [] if os.geteuid() == 0 else ["root"]
    )


@contextmanager
def cluster(home: Path) -> Iterator[dict[str, str]]:
    """Runs until the block ends; the environment that its commands want."""
    for folder in ("state", "spool"):
        (home / folder).mkdir(parents=True)
    ports = [_free_port(), _free_port()]
    (home / "slurm.conf").write_text(CONF.format(home=home, ports=ports, cpus=max((os.cpu_count() or 1), 2)))
    env = {**os.environ, "PATH": PATH, "SLURM_CONF": str(home / "slurm.conf")}
    home.chmod(0o755)
    subprocess.run(["mungekey", "--create", f"--keyfile={home}/munge.key"], env=env, check=True)
    munged = ["munged", "--foreground", "--force", f"--socket={home}/munge.socket", f"--key-file={home}/munge.key",
              f"--pid-file={home}/munged.pid", f"--seed-file={home}/munged.seed", f"--log-file={home}/munged.log"]  # fmt: skip
    with ExitStack() as stack:
        for words in (munged, ["slurmctld", "-D", "-f", f"{home}/slurm.conf"], ["slurmd", "-D", "-N", "localhost", "-f", f"{home}/slurm.conf"]):  # fmt: skip
            log = stack.enter_context((home / f"{words[0]}.out").open("w"))
            process = subprocess.Popen(words, env=env, stdout=log, stderr=log, start_new_session=True)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            time.sleep(1)
        _wait(lambda: "idle" in _said(["sinfo", "--noheader", "--format=%T"], env), 120)
        yield env


def wait_for(number: str, env: dict[str, str], seconds: float) -> None:
    """Waits until a job is in the queue no more."""
    _wait(lambda: not _said(["squeue", "--noheader", f"--jobs={number}"], env).strip(), seconds)


def _said(words: list[str], env: dict[str, str]) -> str:
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False).stdout


def _wait(there, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until, "it did not come to pass in time"
        time.sleep(0.5)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
