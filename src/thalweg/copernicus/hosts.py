"""Where the Copernicus Data Space lives, and how it is asked: parts of the options of source `copernicus`."""

from pydantic import BaseModel, ConfigDict, Field

from thalweg.http.auth import origin_of
from thalweg.http.policy import Policy

_ADDRESS = r"^(https://|http://(localhost|127\.\d+\.\d+\.\d+)[:/])[^\s?#@]*[^/\s?#@]$"
"""HTTPS, since a password goes there; plain HTTP to this machine alone."""
_DATA_SPACE = "dataspace.copernicus.eu"


class Hosts(BaseModel):
    """Base addresses, without a slash at the end."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    catalogue: str = Field(pattern=_ADDRESS)
    """OData, up to and with its version: `https://catalogue.dataspace.copernicus.eu/odata/v1`."""
    download: str = Field(pattern=_ADDRESS)
    """The same on the host that sends files: `https://download.dataspace.copernicus.eu/odata/v1`."""
    identity: str = Field(pattern=_ADDRESS)
    """Where tokens are had:
    `https://identity.dataspace.copernicus.eu/auth/realms/CDSE/protocol/openid-connect/token`."""
    s3: str = Field(pattern=_ADDRESS)
    """S3 endpoint of the bucket `eodata`: `https://eodata.dataspace.copernicus.eu`; asked with `backend: s3` only."""

    def trusted(self) -> tuple[str, ...]:
        """Origins that may see the token: the download host, and with it the Data Space's other hosts over HTTPS."""
        own = origin_of(self.download)
        return (own, f"https://*.{_DATA_SPACE}") if own.endswith(f".{_DATA_SPACE}") else (own,)


class Patience(BaseModel):
    """How many transfers at a time, and how patient."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    connections: int = Field(ge=1, le=4)
    """Transfers at a time, counted over all processes of the account; the service allows 4."""
    connect_s: float = Field(gt=0)
    """Seconds to open a connection."""
    read_s: float = Field(gt=0)
    """Seconds without a single byte after which a transfer is taken up again."""
    stall_s: float = Field(gt=0)
    """Seconds over which a transfer must not be slower than 1 kB/s."""
    attempts: int = Field(ge=1)
    """Failures in a row, without a byte of progress, after which a file is given up."""
    backoff_s: float = Field(ge=0)
    """Wait after the first failure; doubles with each further one."""
    backoff_max_s: float = Field(ge=0)
    """Longest wait of our own choosing; a server may ask for longer."""

    def to_policy(self) -> Policy:
        """As the transport takes it."""
        return Policy(**self.model_dump(exclude={"connections"}))
