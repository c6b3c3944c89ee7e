"""Methods of pre-training, one file each: the file's name is its name in params.yaml.

Each has a model `Options`, which every key of `options` must fit, and `build(encoder, options, plan) -> Method`.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from thalweg.errors import ParamsError
from thalweg.params.encoders import Crops, EncoderParams
from thalweg.pretrain.encoder import Encoder
from thalweg.pretrain.method import Method, Plan


def build(name: str, encoder: Encoder, options: Mapping[str, Any], plan: Plan) -> Method:
    """A method around an encoder.

    Raises:
        ParamsError: There is no such method, it does not take these options, or not this encoder.
    """
    known = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    if name not in known:
        raise ParamsError(
            f"method '{name}' has no file src/thalweg/pretrain/methods/{name}.py; there are {', '.join(known)}"
        )
    module = importlib.import_module(f"thalweg.pretrain.methods.{name}")
    try:
        made: Method = module.build(encoder, module.Options.model_validate(dict(options)), plan)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "options"
        raise ParamsError(
            f"options of method '{name}' cannot be used: '{where}' {fault['msg'][0].lower()}{fault['msg'][1:]}; it "
            f"takes {', '.join(module.Options.model_fields)}"
        ) from error
    except ValueError as error:
        raise ParamsError(f"method '{name}' cannot be used: {error}; correct params.yaml") from error
    return made


def check_sizes(encoder: Encoder, crops: Crops) -> None:
    """Whether the views' sizes divide by an encoder's stride.

    Raises:
        ParamsError: One does not.
    """
    sizes = [("wide_px", crops.wide_px)] + [("small_px", crops.small_px)] * bool(crops.small)
    for name, size in sizes:
        if size % encoder.stride:
            raise ParamsError(f"crops.{name} is {size}, but the encoder's stride is {encoder.stride}; give a multiple")


def check_views(params: EncoderParams, method: Method) -> None:
    """Whether a method looks at all views that params describe, and these at what it is about.

    Raises:
        ParamsError: It does not.
    """
    if method.seasons and params.positives != "dates":
        raise ParamsError(
            f"method '{params.method}' is about dates, but positives is '{params.positives}'; set it to dates"
        )
    if params.positives == "dates" and not any(each.date for each in method.looks):
        raise ParamsError(f"method '{params.method}' looks at one date alone; set positives to augmented")
    if params.crops.small and not method.multi_crop:
        raise ParamsError(
            f"method '{params.method}' looks at no small views, but crops.small is {params.crops.small}; set it to 0 "
            "and small_m to null"
        )
