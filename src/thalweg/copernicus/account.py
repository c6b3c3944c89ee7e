"""Sessions with the Copernicus Data Space: one that asks freely, one that carries the account's right to files."""

from functools import partial
from pathlib import Path
from typing import Literal

from thalweg.copernicus import nodes
from thalweg.copernicus.catalogue import Catalogue
from thalweg.copernicus.hosts import Hosts, Patience
from thalweg.copernicus.store import Way
from thalweg.http.auth import origin_of
from thalweg.http.connections import Connections
from thalweg.http.credentials import account_folder, read_credentials, read_s3_keys
from thalweg.http.s3 import S3Keys
from thalweg.http.session import Session
from thalweg.http.token import Token

Backend = Literal["https", "s3"]
_S3_REGION = "default"


class Account:
    """The services behind one set of hosts. Credentials are read when the first file is fetched, not before.

    Args:
        hosts: Where they are.
        patience: How they are asked.
        backend: `https` through Nodes with a token, or `s3` with keys, which resumes by Range.
        store: Holds the locks of sessions without account.
    """

    def __init__(self, hosts: Hosts, patience: Patience, backend: Backend, store: Path) -> None:
        self._hosts, self._patience, self._backend = hosts, patience, backend
        self._free = Session(patience.to_policy(), Connections(store / ".connections", patience.connections))
        self._files: Session | None = None

    @property
    def catalogue(self) -> Catalogue:
        """Needs no account."""
        return Catalogue(self._free, self._hosts.catalogue)

    @property
    def way(self) -> Way:
        """How files are had."""
        url = (
            partial(nodes.object_url, self._hosts.s3)
            if self._backend == "s3"
            else partial(nodes.file_url, self._hosts.download)
        )
        return Way(self._free, self._session, self._hosts.download, url)

    def _session(self) -> Session:
        if self._files is None:
            self._files = self._open_s3() if self._backend == "s3" else self._open_https()
        return self._files

    def _open_https(self) -> Session:
        folder, policy = account_folder(read_credentials().login), self._patience.to_policy()
        token = Token(self._hosts.identity, folder, self._hosts.trusted(), policy)
        return Session(policy, Connections(folder, self._patience.connections), token)

    def _open_s3(self) -> Session:
        key, secret = read_s3_keys()
        keys = S3Keys(key, secret, (origin_of(self._hosts.s3),), _S3_REGION)
        return Session(self._patience.to_policy(), Connections(account_folder(key), self._patience.connections), keys)
