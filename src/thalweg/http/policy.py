"""How patient the transport is."""

import random
from dataclasses import dataclass

RETRY_AFTER_MAX_S = 3600.0
"""Longest wait that a server may ask for; beyond it a run ends rather than sleeps."""
STALL_FLOOR_BYTES_S = 1000.0
"""A transfer that is slower than this over a whole stall budget counts as stalled; used-up quotas still give 1 MB/s."""
_FIRST_DOUBLINGS = 16


@dataclass(frozen=True)
class Policy:
    """Timeouts and retries, all in seconds but `attempts`."""

    connect_s: float
    """To open a connection."""
    read_s: float
    """Without a single byte."""
    stall_s: float
    """Window over which a transfer must not be slower than `STALL_FLOOR_BYTES_S`."""
    attempts: int
    """Times in a row that a request may fail, the first included; a resumed transfer that has moved on starts anew."""
    backoff_s: float
    """Wait after the first failure; doubles with each further one."""
    backoff_max_s: float
    """Longest wait of our own choosing."""

    def wait_s(self, failures: int) -> float:
        """Wait after so many failures in a row, with jitter so that workers do not return together."""
        grown = self.backoff_s * 2.0 ** min(failures - 1, _FIRST_DOUBLINGS)
        return min(self.backoff_max_s, grown) * random.uniform(0.5, 1.0)
