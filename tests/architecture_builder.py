"""Small options of every architecture, and a card for two channels."""

from pathlib import Path

from thalweg import models
from thalweg.classes import ClassInfo
from thalweg.manifest.card import ModelCard, Normalisation
from thalweg.manifest.scene import Channel

STEPS = 2
_FOUNDATION = {"width": 16, "tuning": "full", "lora_rank": 0, "weights": None}
OPTIONS = {
    "boosted_trees": {"trees": 2, "depth": 2, "means_px": [3]},
    "convstar": {"steps": STEPS, "hidden": 4, "layers": 2},
    "copernicusfm": {"bandwidths_nm": None, "depth": 1, **_FOUNDATION},
    "croma": {"size": "base", "depth": 1, **_FOUNDATION},
    "deeplabv3plus": {"encoder": "resnet18", "depth": 5, "weights": None},
    "dofa": {"size": "small", "depth": 2, **_FOUNDATION},
    "dpt": {"encoder": "tu-vit_tiny_patch16_224", "width": 16, "weights": None},
    "dynamic_unet": {"backbone": "resnet18", "self_attention": True, "weights": None},
    "farseg": {"backbone": "resnet18"},
    "fcn": {"num_filters": 4},
    "ltae": {"steps": STEPS, "width": 8, "heads": 2, "key_dim": 4, "dropout": 0.1},
    "scale_mae": {"depth": 1, **_FOUNDATION},
    "segformer": {"encoder": "mit_b0", "depth": 5, "width": 16, "weights": None},
    "swin_fpn": {"backbone": "swin_v2_t", "width": 16, "weights": None},
    "unet": {"widths": [4, 8, 8], "dropout": 0.0, "upsample": "nearest"},
    "unet3d": {"steps": STEPS, "widths": [4, 8], "dropout": 0.0},
    "unetplusplus": {"encoder": "resnet18", "depth": 5, "weights": None},
    "upernet": {"encoder": "tu-convnext_atto", "depth": 5, "width": 16, "weights": None},
}
WITHOUT_GRADIENT = {"boosted_trees"}


def names() -> list[str]:
    """Every architecture that has a file."""
    return sorted(path.stem for path in Path(models.__file__).parent.glob("*.py") if path.stem != "__init__")


def channels_of(name: str, bands: int) -> int:
    """Channels of so many bands, at two dates where an architecture takes dates."""
    return bands * (STEPS if "steps" in OPTIONS[name] else 1)


def card(architecture="unet", options=None, classes=2, channels=None) -> ModelCard:
    """A card; of two channels unless others are given."""
    channels = channels or tuple(
        Channel(name=name, wavelength_nm=None, scale=scale, offset=offset, unit="reflectance")
        for name, scale, offset in (("B02", 1e-4, 0.0), ("ndvi", 2e-4, 0.5))
    )
    normal = Normalisation(mean=(0.1, *[0.0] * (len(channels) - 1)), std=(0.05, *[1.0] * (len(channels) - 1)))
    return ModelCard(
        schema_version=1, member="m", architecture=architecture, options=options or OPTIONS[architecture],
        architecture_sha256="", grid="g", pixel_m=60.0, pixel_m_range=(60.0, 60.0), deciles=(), shares=(), channels=channels, normalisation=normal,
        classes=tuple(ClassInfo(name=f"c{k}", color="#000000") for k in range(classes)), window_px=16, overlap=0.5,
        temperature=1.0, calibration=None, preparation={}, metrics={}, epoch=0, git_commit=None, products=(), packages={})  # fmt: skip
