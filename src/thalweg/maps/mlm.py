"""The models behind a map in the words of STAC's Machine Learning Model extension, from the members' cards.

Source: https://github.com/stac-extensions/mlm, version 1.4.0.
"""

from collections.abc import Mapping
from typing import Any

from thalweg.manifest.card import ModelCard

MLM = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
_TASKS = ["semantic-segmentation"]


def mlm_properties(name: str, reducer: str, cards: Mapping[str, ModelCard]) -> dict[str, Any]:
    """`mlm:` fields of one or several models that make one map."""
    if not cards:
        return {}
    each = list(cards.values())
    architectures = ", ".join(dict.fromkeys(card.architecture for card in each))
    versions = {card.packages[package] for card in each for package in ("torch",) if package in card.packages}
    found: dict[str, Any] = {
        "mlm:name": f"thalweg.{name}",
        "mlm:architecture": architectures if len(each) == 1 else f"ensemble ({reducer}) of {architectures}",
        "mlm:framework": "PyTorch",
        "mlm:tasks": _TASKS,
        "mlm:input": [_input(member, card) for member, card in cards.items()],
        "mlm:output": [_output(member, card) for member, card in cards.items()],
        "mlm:hyperparameters": {
            "reducer": reducer,
            "members": {member: {"architecture": card.architecture, **card.options} for member, card in cards.items()},
        },
    }
    if len(versions) == 1:
        found["mlm:framework_version"] = versions.pop().partition("+")[0]
    return found


def _input(member: str, card: ModelCard) -> dict[str, Any]:
    return {
        "name": member,
        "description": f"windows of {card.window_px} pixels of {card.pixel_m:g} m on grid {card.grid}",
        "bands": [channel.name for channel in card.channels],
        "input": _structure(len(card.channels), card.window_px, "channel"),
        "value_scaling": [
            {"type": "z-score", "mean": mean, "stddev": std}
            for mean, std in zip(card.normalisation.mean, card.normalisation.std, strict=True)
        ],
        "resize_type": None,
        "pre_processing_function": None,
    }


def _output(member: str, card: ModelCard) -> dict[str, Any]:
    return {
        "name": member,
        "tasks": _TASKS,
        "result": _structure(len(card.classes), card.window_px, "class"),
        "classification:classes": [{"value": value, "name": info.name} for value, info in enumerate(card.classes)],
        "post_processing_function": {"format": "text", "expression": f"softmax(logits / {card.temperature:g})"},
    }


def _structure(depth: int, window_px: int, axis: str) -> dict[str, Any]:
    return {"shape": [-1, depth, window_px, window_px], "dim_order": ["batch", axis, "height", "width"],
            "data_type": "float32"}  # fmt: skip
