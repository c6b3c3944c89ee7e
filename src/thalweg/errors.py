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


class TrainingError(ThalwegError, RuntimeError):
    """Training cannot start, or has stopped for a reason that the user can mend."""


class EnsembleError(ThalwegError, ValueError):
    """Members cannot be combined as the params ask."""


class StageError(ThalwegError, RuntimeError):
    """A stage cannot hand over its outs."""


class DegradedDataWarning(UserWarning):
    """Data is usable but poorer than expected; counted, and shown in the report."""
