"""Which code made a file."""

import subprocess


def git_commit() -> str | None:
    """The checked-out commit, 40 hex digits; None outside a git repository or before its first commit."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "--verify", "HEAD"], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def git_dirty() -> bool | None:
    """Whether files that git tracks differ from that commit; None outside a git repository."""
    try:
        answer = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return bool(answer.stdout.strip()) if answer.returncode == 0 else None
