"""Objects in S3-compatible stores, named `s3://bucket/key`: found, fetched whole, and put.

Keys, profile, region and address of the store are found where all tools for S3 look: AWS_ACCESS_KEY_ID, AWS_PROFILE,
~/.aws, AWS_ENDPOINT_URL and so on. None of it passes through Thalweg, so none of it can reach a log, a card or a tag.
"""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from thalweg.errors import CredentialsError, DamagedError, NotFoundError, SettingsError, UnreachableError

SCHEME, VSI = "s3://", "/vsis3/"
ANONYMOUS = "AWS_NO_SIGN_REQUEST"
"""YES for public buckets without an account: GDAL's name for it."""
_AMAZON = ".amazonaws.com"


def is_url(name: str) -> bool:
    """Whether a name is an object's, or GDAL's name for it."""
    return name.startswith((SCHEME, VSI))


def to_url(name: str) -> str:
    """`s3://bucket/key` of either name, without a slash at the end."""
    return SCHEME + name.removeprefix(SCHEME).removeprefix(VSI).strip("/")


def to_vsi(name: str) -> Path:
    """What GDAL opens. It looks for keys as other tools do; where the store is, `tell_gdal` says."""
    return Path(VSI + to_url(name).removeprefix(SCHEME))


def tell_gdal() -> None:
    """Says to GDAL in this process where the store is, which it would look for under other names.

    Raises:
        CredentialsError, SettingsError: As for `find`.
    """
    with _translated(SCHEME):
        client = _store()._s3
    where = urlsplit(client.meta.endpoint_url)
    if where.hostname and not where.hostname.endswith(_AMAZON):
        os.environ["AWS_S3_ENDPOINT"] = where.netloc
        os.environ["AWS_HTTPS"] = "YES" if where.scheme == "https" else "NO"
        os.environ["AWS_VIRTUAL_HOSTING"] = "FALSE"
    os.environ.setdefault("AWS_REGION", client.meta.region_name or "us-east-1")


def find(name: str) -> list[str]:
    """The objects and folders of objects that a name or pattern stands for, sorted; none where there is nothing.

    Raises:
        CredentialsError: There are no keys, or the store does not take them.
        NotFoundError: There is no such bucket.
        UnreachableError: The store does not answer.
        SettingsError: What reads S3 is not installed.
    """
    url = to_url(name)
    with _translated(url):
        store = _store()
        found = sorted(store.glob(url)) if any(letter in url for letter in "*?[") else [url] * store.exists(url)
        if not found:
            store.ls(_bucket(url))  # one that is not there holds nothing, without a word
    return [to_url(each) for each in found]


def fetch(url: str, folder: Path) -> Path:
    """An object as a file, or all objects below a folder's name, whole; what was brought before is not moved again.

    Args:
        url: One that `find` gave.
        folder: Where it goes, below a name of its own for each version: an object that was replaced is another.

    Raises:
        DamagedError: Less or more arrived than the store said.
        CredentialsError, NotFoundError, UnreachableError, SettingsError: As for `find`.
    """
    with _translated(url):
        store = _store()
        found = _objects(store, url)
        target = folder / _version(found) / PurePosixPath(url).name
        if target.exists():
            return target
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")  # others may be at it on other machines
        name = url.removeprefix(SCHEME)
        for key, each in found.items():
            place = partial if key == name else partial / key.removeprefix(f"{name}/")
            place.parent.mkdir(parents=True, exist_ok=True)
            store.get_file(key, str(place))
            if place.stat().st_size != each["size"]:
                raise DamagedError(
                    f"{SCHEME}{key} should have {each['size']} bytes, but {place.stat().st_size} arrived; try again"
                )
    when = _modified(found)
    os.utime(partial, (when, when))  # the same wherever and whenever it is brought
    if target.is_dir():
        shutil.rmtree(partial)
    else:
        partial.replace(target)
    return target


def version(url: str) -> str:
    """What tells objects from others that have or had the same names.

    Raises:
        CredentialsError, NotFoundError, UnreachableError, SettingsError: As for `find`.
    """
    with _translated(url):
        return _version(_objects(_store(), url))


def modified(url: str) -> float:
    """When objects were last changed, in seconds since 1970.

    Raises:
        CredentialsError, NotFoundError, UnreachableError, SettingsError: As for `find`.
    """
    with _translated(url):
        return _modified(_objects(_store(), url))


def put(folder: Path, url: str, last: str) -> None:
    """Puts all files of a folder below a name; `last` comes last, so that what has it is whole.

    Raises:
        CredentialsError, NotFoundError, UnreachableError, SettingsError: As for `find`.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with _translated(url):
        store = _store()
        for path in sorted(files, key=lambda path: path.name == last):
            store.put_file(str(path), f"{to_url(url)}/{path.relative_to(folder).as_posix()}")


def _objects(store: Any, url: str) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = store.find(url, detail=True)
    return found


def _version(found: Mapping[str, Mapping[str, Any]]) -> str:
    said = repr([(key, each["ETag"], each["size"]) for key, each in found.items()])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _modified(found: Mapping[str, Mapping[str, Any]]) -> float:
    when: float = max(each["LastModified"].timestamp() for each in found.values())
    return when


def _bucket(url: str) -> str:
    return url.removeprefix(SCHEME).partition("/")[0]


def _store() -> Any:
    return _opened(tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))


@lru_cache(maxsize=1)
def _opened(_settings: tuple[tuple[str, str], ...]) -> Any:
    """Takes a second, so it is done once for what the environment says."""
    import s3fs  # noqa: PLC0415 - an extra, and slow to import

    anonymous = os.environ.get(ANONYMOUS, "").upper() in ("YES", "TRUE", "ON", "1")
    store = s3fs.S3FileSystem(anon=anonymous, skip_instance_cache=True, use_listings_cache=False,
                              config_kwargs={"connect_timeout": 10, "retries": {"max_attempts": 3}})  # fmt: skip
    try:
        store.connect()
    except ValueError as error:
        raise SettingsError(
            "the store's address is no address; correct AWS_ENDPOINT_URL, or endpoint_url in ~/.aws/config, to one "
            "such as https://s3.example.org"
        ) from error
    return store


def _bare(error: BaseException) -> str:
    """What it says, without the password that an address may hold: `https://name:password@host`."""
    return re.sub(r"(?<=://)[^/\s\"']*@", "", str(error))


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Failures of the store inside as our errors."""
    try:
        from botocore import exceptions as aws  # noqa: PLC0415 - of the extra

        try:
            yield
        except (aws.NoCredentialsError, aws.PartialCredentialsError, aws.ProfileNotFound) as error:
            raise CredentialsError(
                f"{url}: there are no keys for S3 ({error}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                f"AWS_PROFILE to one of ~/.aws/credentials, or {ANONYMOUS}=YES for a public bucket"
            ) from error
        except (aws.HTTPClientError, aws.ConnectionError, ConnectionError, TimeoutError) as error:
            raise UnreachableError(
                f"{url}: the store does not answer ({_bare(error)}); check AWS_ENDPOINT_URL, which names a store "
                "that is not Amazon's, and the network"
            ) from error
        except PermissionError as error:
            raise CredentialsError(
                f"{url}: the store does not take these keys for it ({error}); check AWS_ACCESS_KEY_ID or AWS_PROFILE, "
                "and what they may do in the bucket"
            ) from error
        except FileNotFoundError as error:
            raise NotFoundError(
                f"{url}: there is no such bucket or object ({error}); check the name, and AWS_ENDPOINT_URL"
            ) from error
    except ModuleNotFoundError as error:
        raise SettingsError(f"{url} needs {error.name}, which is not installed; `pip install thalweg[s3]`") from error
