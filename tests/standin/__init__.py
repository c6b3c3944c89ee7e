"""A stand-in of the Copernicus Data Space: identity, catalogue and download over real HTTP, with faults by script."""

from standin.faults import Fault
from standin.server import LOGIN, PASSWORD, Record, Standin

__all__ = ["LOGIN", "PASSWORD", "Fault", "Record", "Standin"]
