"""Of the account: whether the recipe needs one, whether it is there, and, if asked, whether the service takes it."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from thalweg import bring, params, sources
from thalweg.doctor.finding import Finding
from thalweg.errors import ThalwegError
from thalweg.http.credentials import read_credentials, read_s3_keys
from thalweg.http.policy import Policy
from thalweg.http.token import Token
from thalweg.machine import ENV_FILE
from thalweg.params.fetch import Fetch


class Service(NamedTuple):
    """Where a recipe's account is looked at."""

    identity: str
    """Of the token endpoint."""
    policy: Policy
    s3: bool
    """Files come by S3 keys."""


def service_of(root: Path) -> Service | None:
    """What the recipe's source logs in to; None if it needs no account.

    Raises:
        ParamsError: params.yaml cannot be read.
    """
    file = root / params.PARAMS_FILE
    fetch = params.load(Fetch, path=file)
    if fetch.source not in ("copernicus", "stac"):
        return None
    options = sources.read_options(fetch, file)
    if fetch.source == "copernicus":
        said = options.model_dump()
        policy = {key: value for key, value in said["patience"].items() if key != "connections"}
        return Service(said["hosts"]["identity"], Policy(**policy), said["backend"] == "s3")
    said = options.model_dump(include={"catalogue", "tokens"})
    return Service(str(said["tokens"]), bring.PATIENCE, False) if said["catalogue"] == "cdse" else None


def credentials(root: Path) -> Iterator[Finding]:
    """Whether the account that the recipe needs is told."""
    try:
        service = service_of(root)
        if service is None:
            yield Finding("ok", "the recipe needs none")
        elif service.s3:
            read_s3_keys(root / ENV_FILE)
            yield Finding("ok", "S3 keys are told; the first file shows whether they are taken")
        else:
            read_credentials(root / ENV_FILE)
            yield Finding("ok", "login and password are told; `thalweg doctor --login` tries them")
    except ThalwegError as error:
        yield Finding("fail", str(error))


def login(root: Path) -> Iterator[Finding]:
    """Logs in once, afresh: the token of earlier runs would say nothing about the password."""
    try:
        service = service_of(root)
        if service is None or service.s3:
            return
        with tempfile.TemporaryDirectory(prefix="thalweg.") as scratch:
            said = partial(read_credentials, root / ENV_FILE)
            token = Token(service.identity, Path(scratch), (), service.policy, said)
            token.headers("GET", service.identity)
    except ThalwegError as error:
        yield Finding("fail", str(error))
    else:
        yield Finding("ok", "the service takes login and password")
