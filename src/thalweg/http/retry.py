"""Doing something again, as patiently as the policy says."""

import time
from collections.abc import Callable
from typing import TypeVar

from thalweg.errors import UnreachableError
from thalweg.http.answers import LaterError
from thalweg.http.policy import RETRY_AFTER_MAX_S, Policy

ResultT = TypeVar("ResultT")


class Patience:
    """Failures in a row, and the wait after each."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._failures = 0

    def restore(self) -> None:
        """Forgets the failures: something has moved on."""
        self._failures = 0

    def wait(self, error: LaterError) -> None:
        """Waits as the server asks, or as the policy says.

        Raises:
            UnreachableError: It has failed too often, or the server asks for too long a wait.
        """
        self._failures += 1
        if self._failures >= self._policy.attempts:
            raise UnreachableError(
                f"{error}; gave up after {self._failures} attempts, run it again later (what is complete stays)"
            ) from error
        if error.wait_s is not None and error.wait_s > RETRY_AFTER_MAX_S:
            raise UnreachableError(
                f"{error} and asks to wait {error.wait_s:.0f} s; run it again after that (what is complete stays)"
            ) from error
        own_s = self._policy.wait_s(self._failures)
        time.sleep(own_s if error.wait_s is None else error.wait_s + own_s * 0.1)


def retried(policy: Policy, act: Callable[[], ResultT]) -> ResultT:
    """What `act` returns, as soon as it does not ask to come back later.

    Raises:
        UnreachableError: It asks so too often.
    """
    patience = Patience(policy)
    while True:
        try:
            return act()
        except LaterError as error:
            patience.wait(error)
