"""An item's files into the store: signed or with a token where the catalogue asks for it, several at a time."""

import datetime
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from thalweg import bring
from thalweg.errors import FetchError, HttpError, ParamsError, ProductError
from thalweg.http.connections import Connections
from thalweg.http.credentials import account_folder, read_credentials
from thalweg.http.disk import check_space
from thalweg.http.expected import JP2, Expected
from thalweg.http.progress import Progress, watch
from thalweg.http.session import Session
from thalweg.http.token import Token
from thalweg.manifest.items import ItemFacts, LockedAsset
from thalweg.products.safe_xml import parse_product
from thalweg.stac.planetary_computer import METADATA_FILE
from thalweg.stac.signing import Signer

_WORKERS = 4
_TRUSTED = ("https://*.dataspace.copernicus.eu",)
_HEADS = {".jp2": JP2, ".tif": bring.TIFF}
_TOKENS = {
    "planetary_computer": "https://planetarycomputer.microsoft.com/api/sas/v1/token",
    "cdse": "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token",
}
Carrier = Callable[[LockedAsset, Path, Progress], Path]
"""Brings one asset to its place in the store."""


def carrier(catalogue: str, collection: str, tokens: str | None, store: Path) -> Carrier:
    """How a catalogue's files are had.

    Args:
        catalogue: Its name in params.yaml.
        collection: Whose signature is asked for.
        tokens: Where signatures or tokens are had.
        store: Folder that outlives runs.

    Raises:
        ParamsError: The catalogue needs tokens, and params.yaml does not say where.
    """
    if catalogue != "earth_search" and tokens is None:
        raise ParamsError(
            f"fetch.options.tokens is null, but catalogue {catalogue} gives nothing without; set it to "
            f"{_TOKENS[catalogue]}"
        )
    if catalogue == "cdse":
        account = _with_account(str(tokens))
        return lambda asset, target, progress: bring.bring(asset.url, target, _expected(asset), account, progress)
    session = Session(bring.PATIENCE, bring.connections(store))
    if catalogue == "earth_search":
        return lambda asset, target, progress: bring.bring(asset.url, target, _expected(asset), session, progress)
    signer = Signer(f"{tokens}/{collection}", lambda url: session.json("GET", url), _now)
    return lambda asset, target, progress: _signed(asset, target, signer, session, progress)


def fetch_assets(wanted: Mapping[Path, tuple[LockedAsset, ...]], carry: Carrier) -> None:
    """Brings every asset to its place below its product's folder.

    A file of stated size and checksum is verified each time; one without was verified by the server's length when it
    came, and stays.

    Raises:
        FetchError: Some could not be had; all others were.
        CredentialsError: The catalogue does not take the account.
    """
    todo = missing(wanted)
    sizes = sum(asset.size or 0 for asset, _ in todo)
    if todo:
        check_space(next(iter(wanted)), sizes)
    with watch(len(todo), sizes) as progress, ThreadPoolExecutor(_WORKERS) as pool:
        faults = [fault for fault in pool.map(lambda one: _fault(carry, one[0], one[1], progress), todo) if fault]
    if faults:
        raise FetchError(
            f"{len(faults)} of {len(todo)} files could not be fetched, the others are kept; the first: {faults[0]}; "
            "run `dvc repro` again"
        )


def missing(wanted: Mapping[Path, tuple[LockedAsset, ...]]) -> list[tuple[LockedAsset, Path]]:
    """Assets that do not lie in the store as expected, with their places."""
    places = [(asset, folder / asset.path) for folder, assets in wanted.items() for asset in assets]
    return [(asset, target) for asset, target in places if not bring.is_there(target, _expected(asset))]


def check_offset(folder: Path, name: str, facts: ItemFacts) -> None:
    """Compares a product's own XML, where it came with the bands, with the offset of the lock.

    Raises:
        ProductError: They differ, or the XML cannot be read.
    """
    path = folder / METADATA_FILE
    if facts.offset is None or METADATA_FILE not in {asset.path for asset in facts.assets}:
        return
    said = parse_product(path.read_bytes(), name)
    for band in sorted(asset.band for asset in facts.assets if asset.band and asset.band != "SCL"):
        if said.offset(band) != facts.offset:
            raise ProductError(
                f"{name}: {METADATA_FILE} states the offset {said.offset(band):g} for {band}, but the lock "
                f"{facts.offset:g} ({facts.offset_from}); run `thalweg lock`, or leave the product out"
            )


def _fault(carry: Carrier, asset: LockedAsset, target: Path, progress: Progress) -> str | None:
    try:
        carry(asset, target, progress)
    except HttpError as error:
        return str(error)
    return None


def _signed(asset: LockedAsset, target: Path, signer: Signer, session: Session, progress: Progress) -> Path:
    expected = _expected(asset)
    if bring.is_there(target, expected):  # then nobody is asked for a signature
        return target
    return bring.bring(signer.sign(asset.url), target, expected, session, progress)


def _expected(asset: LockedAsset) -> Expected:
    checksum = bring.to_checksum(asset.checksum) if asset.checksum else None
    return Expected(asset.size, checksum, _HEADS.get(Path(asset.path).suffix))


def _with_account(identity: str) -> Session:
    """As the source copernicus asks: four connections per account, one token for all."""
    folder = account_folder(read_credentials().login)
    token = Token(identity, folder, _TRUSTED, bring.PATIENCE)
    return Session(bring.PATIENCE, Connections(folder, _WORKERS), token)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
