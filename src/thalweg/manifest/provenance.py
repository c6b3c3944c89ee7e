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
