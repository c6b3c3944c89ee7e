"""Planetary Computer's signatures: one short-lived token per collection, kept in memory, never in a lock or message.

Source: https://planetarycomputer.microsoft.com/docs/concepts/sas/.
"""

import datetime
import threading
from collections.abc import Callable
from typing import Any

from thalweg.errors import CatalogueError

SIGNER = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
_SPARE = datetime.timedelta(minutes=5)


class Signer:
    """Appends the collection's token to addresses, and renews it five minutes before it ends."""

    def __init__(self, url: str, get_json: Callable[[str], Any], now: Callable[[], datetime.datetime]) -> None:
        """Takes where tokens are had (up to the collection), how JSON is got, and the clock in UTC."""
        self._url, self._get_json, self._now = url, get_json, now
        self._guard = threading.Lock()
        self._token = ""
        self._ends = datetime.datetime.min.replace(tzinfo=datetime.UTC)

    def __repr__(self) -> str:
        return f"Signer({self._url})"

    def sign(self, url: str) -> str:
        """The address with the token as its query.

        Raises:
            CatalogueError: The signer answers something else than a token.
        """
        with self._guard:
            if self._now() + _SPARE >= self._ends:
                self._renew()
            return f"{url}?{self._token}"

    def _renew(self) -> None:
        answer = self._get_json(self._url)
        try:
            self._token = str(answer["token"])
            self._ends = datetime.datetime.fromisoformat(str(answer["msft:expiry"]).replace("Z", "+00:00"))
        except (KeyError, TypeError, ValueError) as error:
            raise CatalogueError(
                f"{self._url} answers without a token and its end ({type(error).__name__}); try again later"
            ) from error
