"""A `dvc repro` that has nothing to do, against `dvc status`: median of interleaved runs in the current project.

Limit: no more than twice the status. Run after `make train`.
"""

import statistics
import subprocess
import sys
import time

RUNS = 5
LIMIT = 2.0


def seconds(*command: str) -> float:
    """Wall time of one dvc command.

    Raises:
        SystemExit: The command failed, or the pipeline was not up to date.
    """
    start = time.perf_counter()
    done = subprocess.run(["dvc", *command], capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - start
    if done.returncode or "Running stage" in done.stdout:
        sys.exit(f"`dvc {' '.join(command)}` was not a no-op; run `make train` first\n{done.stdout}{done.stderr}")
    return elapsed


def main() -> None:
    """Measures and judges."""
    status, repro = [], []
    for _ in range(RUNS):
        status.append(seconds("status"))
        repro.append(seconds("repro"))
    base, ours = statistics.median(status), statistics.median(repro)
    print(f"{'command':<14}{'median s':>10}{'min':>8}{'max':>8}")
    for name, times in (("dvc status", status), ("dvc repro", repro)):
        print(f"{name:<14}{statistics.median(times):>10.2f}{min(times):>8.2f}{max(times):>8.2f}")
    print(f"ratio {ours / base:.2f}, limit {LIMIT}")
    sys.exit(ours / base > LIMIT)


if __name__ == "__main__":
    main()
