"""What predicts: a model directory, an ensemble's directory with its models, a bundle of either, or an ONNX file."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from thalweg.bundle import open_bundle
from thalweg.errors import CardError
from thalweg.infer.predictor import Predictor, Predicts, to_device
from thalweg.manifest.card import CARD, WEIGHTS, ModelCard, read_card, write_card
from thalweg.manifest.ensembles import read_ensemble_card
from thalweg.onnx_runner import OnnxPredictor, read_onnx_card, to_provider
from thalweg.params.ensembles import Ensemble


@dataclass(frozen=True)
class Source:
    """What predicts, opened as far as its cards."""

    name: str
    """Of the member or the ensemble."""
    members: dict[str, Path]
    """Member → model directory, or ONNX file."""
    ensemble: Path | None
    """Folder of the ensemble's card; None for one model."""
    bundle: Path | None = None
    """The zip that all of it was unpacked from."""

    @property
    def cards(self) -> dict[str, ModelCard]:
        """Of the members."""
        return {name: card_of(path) for name, path in self.members.items()}

    def load(self, member: str, device: str, views: int, scales: Sequence[float] = (1.0,)) -> Predicts:
        """A member, ready to predict.

        Raises:
            CardError: Its weights do not fit its card.
            ExportError: Its ONNX file cannot be run, or shall run on an accelerator.
        """
        path = self.members[member]
        if path.is_file():
            return OnnxPredictor.load(path, device, views, scales)
        return Predictor.load(path, device, views, scales)

    @property
    def params(self) -> Ensemble | None:
        """Of the ensemble; None for one model."""
        return None if self.ensemble is None else read_ensemble_card(self.ensemble).params

    def weights(self) -> dict[str, Path]:
        """Member → the file that its weights are to be found in hereafter."""
        return {
            card_of(path).member: (self.bundle or (path if path.is_file() else path / WEIGHTS)).absolute()
            for path in self.members.values()
        }

    def check_device(self, device: str) -> None:
        """Whether the members can compute there, before anything else is done.

        Raises:
            ParamsError: This machine has no such device.
            ExportError: onnxruntime has none.
        """
        for path in self.members.values():
            if path.is_file():
                to_provider(path, device)
            else:
                to_device(device)

    def models(self, scratch: Path) -> Path:
        """A folder with the members' model directories by their names: where they lie, or one made in `scratch`.

        There, an ONNX file becomes one: its card, and itself as what holds the weights.
        """
        homes = {path.absolute().parent for path in self.members.values()}
        if len(homes) == 1 and all(
            path.is_dir() and path.name == card_of(path).member for path in self.members.values()
        ):
            return homes.pop()
        folder = scratch / "models"
        folder.mkdir(parents=True, exist_ok=True)
        for path in self.members.values():
            place = folder / card_of(path).member
            if place.exists():
                continue
            if path.is_dir():
                place.symlink_to(path.resolve(), target_is_directory=True)
            else:
                write_card(read_onnx_card(path), place)
                (place / WEIGHTS).symlink_to(path.resolve())
        return folder


def open_source(path: Path, scratch: Path) -> Source:
    """What a path predicts with.

    Args:
        path: `models/<member>`, `ensembles/<name>` (its models lie in `models/` beside `ensembles/`), a bundle, or an
            ONNX file of `thalweg export`.
        scratch: Where a bundle is unpacked.

    Raises:
        CardError: It is none of these, or a model of an ensemble is missing or another.
        ArchiveError: The bundle is damaged.
        ExportError: The ONNX file cannot be read.
        SceneError: A card is broken.
    """
    if path.suffix == ".zip":
        return replace(open_source(open_bundle(path, scratch), scratch), bundle=path)
    if path.suffix == ".onnx":
        return Source(read_onnx_card(path).member, {path.stem: path}, None)
    said = _peek(path)
    if "architecture" in said:
        return Source(read_card(path).member, {path.name: path}, None)
    if "members" in said:
        models = path.absolute().parents[1] / "models"
        members = {name: models / name for name in said["members"]}
        for name, entry in said["members"].items():
            _check_member(path, members[name], str(entry["card_sha256"]))
        return Source(path.name, members, path)
    raise CardError(
        f"{path / CARD} is the card of neither a model nor an ensemble; give models/<member>, ensembles/<name>, a "
        "bundle (.zip) or a file of `thalweg export` (.onnx)"
    )


def card_of(path: Path) -> ModelCard:
    """The card of a model directory or of an ONNX file."""
    return read_onnx_card(path) if path.is_file() else read_card(path)


def _peek(path: Path) -> dict[str, dict[str, dict[str, object]]]:
    try:
        found = json.loads((path / CARD).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CardError(
            f"{path} holds no {CARD}, so it is no model; give models/<member>, ensembles/<name>, a bundle (.zip) or a "
            "file of `thalweg export` (.onnx)"
        ) from error
    except json.JSONDecodeError as error:
        raise CardError(f"{path / CARD} is no JSON ({error}); copy the whole directory again") from error
    return found if isinstance(found, dict) else {}


def _check_member(ensemble: Path, model: Path, stated: str) -> None:
    if not (model / CARD).is_file():
        raise CardError(
            f"{ensemble} is of the model {model.name}, but {model} holds none; keep ensembles/ and models/ beside each "
            "other, or bring both by `thalweg bundle`"
        )
    if _sha256(model, CARD) != stated:
        raise CardError(
            f"{model} is not the model that {ensemble} was made of (its card differs); run `dvc repro`, or bring both "
            "again by `thalweg bundle`"
        )


def _sha256(path: Path, name: str) -> str:
    file = path if path.is_file() else path / name
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
