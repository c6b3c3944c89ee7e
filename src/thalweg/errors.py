"""Every error that Thalweg raises on purpose: one sentence that says what, where, got against expected, and what next.

Each class also inherits the builtin that it refines, so that callers may catch either.
The stage boundary prints these as one line and exits 1; anything else is a bug and keeps its traceback.
"""


class ThalwegError(Exception):
    """Base of all errors raised on purpose."""


class ParamsError(ThalwegError, ValueError):
    """params.yaml or a recipe says something that no stage can act on."""


class ParamsChangedError(ThalwegError, RuntimeError):
    """params.yaml changed while a stage was running, so dvc.lock would record the wrong values."""


class ProductError(ThalwegError, ValueError):
    """A delivered product is incomplete, inconsistent or not what the params promise."""


class CatalogueError(ThalwegError, ValueError):
    """A catalogue answers something that is no answer, or finds nothing that fits."""


class LockError(ThalwegError, ValueError):
    """A products lock is missing, broken or answers another question than the params ask."""


class DiskSpaceError(ThalwegError, OSError):
    """There is not enough room on the disk for what is to be fetched."""


class FetchError(ThalwegError, OSError):
    """Some products could not be fetched; the others were, and stay."""


class HttpError(ThalwegError, OSError):
    """A server's answer is not what was asked for."""


class NotFoundError(HttpError, FileNotFoundError):
    """The server says that there is no such thing (404)."""


class RefusedError(HttpError, PermissionError):
    """The server refuses for good, or leads to where a request must not go; asking again would not help."""


class UnreachableError(HttpError, ConnectionError):
    """The server was asked as often as the policy allows and never answered in full."""


class DamagedError(HttpError, ValueError):
    """What arrived is not what was promised: size, checksum or kind of file."""


class CredentialsError(ThalwegError, PermissionError):
    """An account's credentials are missing, or the server does not take them."""


class RasterError(ThalwegError, OSError):
    """A raster cannot be opened, decoded or written as required."""


class MaskError(ThalwegError, ValueError):
    """A mask does not fit its scene or holds a value that no class has."""


class SceneError(ThalwegError, ValueError):
    """An analysis-ready scene is missing or unusable."""


class SplitError(ThalwegError, ValueError):
    """The spatial split cannot be made as the params ask."""


class LeakError(SplitError):
    """Ground of two parts lies closer together than the buffer."""


class CardError(ThalwegError, ValueError):
    """A model directory's card or weights are missing or do not fit together."""


class ContractError(ThalwegError, ValueError):
    """A scene is not what a model was trained to read."""


class WeightsError(ThalwegError, ValueError):
    """Pre-trained weights are missing, damaged, or do not fit the encoder, its bands or its units."""


class TrainingError(ThalwegError, RuntimeError):
    """Training cannot start, or has stopped for a reason that the user can mend."""


class DeviceMemoryError(TrainingError, MemoryError):
    """The device's memory does not hold a batch."""


class BudgetError(ThalwegError, MemoryError):
    """A prediction does not fit the memory that it may take."""


class EnsembleError(ThalwegError, ValueError):
    """Members cannot be combined as the params ask."""


class StageError(ThalwegError, RuntimeError):
    """A stage cannot hand over its outs."""


class DegradedDataWarning(UserWarning):
    """Data is usable but poorer than expected; counted, and shown in the report."""


class ArchiveError(ThalwegError, ValueError):
    """An archive is damaged, or would write what it must not."""


class VectorError(ThalwegError, OSError):
    """A vector file cannot be written or read as required."""


class MapError(ThalwegError, ValueError):
    """A finished map is not what is to be measured, or does not hold what is asked for."""


class AssessError(ThalwegError, ValueError):
    """A sample of a map cannot be drawn or evaluated as asked."""


class RoundError(ThalwegError, ValueError):
    """Labels for a next round cannot be made as asked, or do not fit this round."""


class SuggestError(ThalwegError, ValueError):
    """Where to draw next cannot be said as asked."""


class ImageError(ThalwegError, ValueError):
    """An image is not what a model is to be shown, or does not say what is needed to show it."""


class ExportError(ThalwegError, RuntimeError):
    """A model cannot be written as asked, or what was written does not say what the model says."""


class ParcelError(ThalwegError, ValueError):
    """Parcels or regions cannot be read, or do not fit the map."""


class ViewError(ThalwegError, ValueError):
    """What is to be looked at is no map or scene, or has no such layer, tile or pixel."""


class FeatureError(ThalwegError, ValueError):
    """Features cannot be had of an encoder, or cannot be probed, stored or searched as asked."""


class RepackError(ThalwegError, ValueError):
    """What is to be repacked is not what it should be, or would destroy what is there."""


class SettingsError(ThalwegError, ValueError):
    """A machine's own setting or a debug preset says something that cannot be."""


class ExecutorError(ThalwegError, RuntimeError):
    """Units of a stage cannot run where the machine's settings send them."""


class ShareError(ThalwegError, RuntimeError):
    """A map that several calls predict lacks a share, or one of them is still at work on it."""
