"""Copernicus-FM (torchgeo's): a vision transformer told wavelengths, bandwidths and ground area, with a plain decoder.

Source: Wang et al. 2025, Towards a Unified Copernicus Foundation Model for Earth Vision,
https://arxiv.org/abs/2503.11849. Its weights state no normalisation, so that they take z-scores.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchgeo.models import CopernicusFM

from thalweg.backbones.tokens import TokenNet, patches, resized, wavelengths
from thalweg.bands import SENTINEL2
from thalweg.weights.catalogue import Start

_PATCH = 16
_DIM, _BLOCKS, _HEADS, _WAVE_DIM = 768, 12, 12, 128
_RANGES = {"wavelength_nm": (100, 1e9), "bandwidth_nm": (1, 1e9), "area_km2": (0.001, 5.1e8)}
"""Shortest and longest period of the Fourier codes, as the weights were trained."""
_SAME_BAND_NM = 12.0


class CopernicusNet(TokenNet):
    """Copernicus-FM's tokens of any rectangle; place and date of a patch count as unknown."""

    def __init__(self, waves: Tensor, area: Tensor | None) -> None:
        super().__init__(stride=_PATCH)
        self.register_buffer("waves", waves, persistent=False)
        self.register_buffer("area", area, persistent=False)

    waves: Tensor
    area: Tensor | None

    def tokens(self, inputs: Tensor, shape_yx: tuple[int, int]) -> list[Tensor]:
        """(B, C, H, W) to tokens of each level."""
        trunk, embed = self.trunk, self.trunk.patch_embed_spectral
        kernels, bias = embed.weight_generator(embed.fclayer(self.waves))
        kernels = kernels.unflatten(1, (_PATCH, _PATCH, -1)).permute(3, 0, 1, 2)  # (D, C, 16, 16)
        inputs = F.pad(inputs, (1, -1, 1, -1))  # the weights were trained with patches that begin one pixel early
        cells = patches(inputs, kernels * embed.scaler, bias.flatten() * embed.scaler)
        area = trunk.scale_fc(trunk.scale_token if self.area is None else self.area)
        known = trunk.coord_fc(trunk.coord_token) + area + trunk.time_fc(trunk.time_token)
        places = resized(trunk.pos_embed, shape_yx) + known
        first = (trunk.cls_token + places[:, :1]).expand(len(inputs), -1, -1)
        rows = cells + places[:, 1:]
        return self.through(torch.cat([first, rows], 1), trunk.blocks, skip=1)


def fourier(values: Sequence[float], shortest: float, longest: float, dim: int) -> Tensor:
    """(N, dim): sines, then cosines, of value over periods spaced evenly in their logarithm."""
    periods = np.logspace(np.log10(shortest), np.log10(longest), dim // 2)
    angles = np.outer(np.asarray(values, np.float64), 2 * np.pi / periods)
    return torch.tensor(np.concatenate([np.sin(angles), np.cos(angles)], 1), dtype=torch.float32)


def bandwidths(centres_nm: Sequence[float], given: Sequence[float] | None) -> list[float]:
    """As given, or those of the Sentinel-2 bands at these wavelengths.

    Raises:
        ValueError: One is missing.
    """
    if given is not None:
        if len(given) != len(centres_nm):
            raise ValueError(f"bandwidths_nm has {len(given)} numbers for {len(centres_nm)} channels")
        return [float(value) for value in given]
    near = [min(SENTINEL2.values(), key=lambda band: abs(band.wavelength_nm - centre)) for centre in centres_nm]
    far = [c for c, band in zip(centres_nm, near, strict=True) if abs(band.wavelength_nm - c) > _SAME_BAND_NM]
    if far:
        raise ValueError(f"no band of Sentinel-2 lies at {far[0]:g} nm; give bandwidths_nm, one per channel")
    return [band.bandwidth_nm for band in near]


def build(
    *, channels: int, classes: int, wavelengths_nm: Sequence[float | None] | None, pixel_m: float | None,
    bandwidths_nm: Sequence[float] | None, depth: int, width: int, tuning: str, lora_rank: int, weights: str | None,
) -> nn.Module:  # fmt: skip
    """Copernicus-FM (base) for these bands: (B, C, H, W) to logits (B, K, H, W), any size and choice of bands.

    Args:
        channels: Input channels.
        classes: Output classes.
        wavelengths_nm: Of the channels; from the card.
        pixel_m: Ground size of a pixel, metres; from the card.
        bandwidths_nm: Of the channels, or None for those of Sentinel-2.
        depth: Blocks of the encoder that are used, 1 to 12, from the input on.
        width: Features of the decoder.
        tuning: `frozen`, `lora` or `full`.
        lora_rank: Of LoRA's matrices; 0 without.
        weights: `torchgeo:<name>`, `file:<path>` or None.

    Raises:
        ValueError: An option is out of its range, a channel has no wavelength or width, or there are no such weights.
    """
    if not 1 <= depth <= _BLOCKS:
        raise ValueError(f"depth should be 1 to {_BLOCKS}, not {depth!r}")
    centres = wavelengths(wavelengths_nm, channels)
    widths = bandwidths(centres, bandwidths_nm) if wavelengths_nm is not None else [50.0] * channels
    waves = fourier(centres, *_RANGES["wavelength_nm"], _WAVE_DIM) + fourier(
        widths, *_RANGES["bandwidth_nm"], _WAVE_DIM
    )
    area_km2 = 0.0 if pixel_m is None else (_PATCH * pixel_m / 1000) ** 2
    known = area_km2 >= _RANGES["area_km2"][0]  # finer patches than the weights ever saw count as of unknown area
    net = CopernicusNet(waves, fourier([area_km2], *_RANGES["area_km2"], _DIM)[None] if known else None)
    trunk = CopernicusFM(embed_dim=_DIM, depth=depth, num_heads=_HEADS)
    trunk.fc_norm = nn.Identity()
    del trunk.patch_embed_variable
    start = None if weights is None else Start(weights, "copernicusfm_base", "trunk", "")
    net.equip(
        trunk, channels=channels, classes=classes, dim=_DIM, depth=depth, width=width, tuning=tuning, rank=lora_rank,
        targets=("attn.qkv", "attn.proj"), start=start)  # fmt: skip
    return net
