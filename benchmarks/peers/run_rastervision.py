"""Raster Vision's sliding-window prediction by its own classes. Argument: a JSON file with image, model and windows.

As its documentation does it: a sliding-window dataset over a scene, `Learner.predict_dataset`, smooth labels, and
`save`, which writes labels.tif and scores.tif. The network is Thalweg's, behind a view that gives it the stored values.
"""

import json
import sys
import time
from pathlib import Path

import torch
from rastervision.core.data import ClassConfig, SemanticSegmentationSmoothLabels
from rastervision.pytorch_learner import (
    SemanticSegmentationGeoDataConfig,
    SemanticSegmentationLearner,
    SemanticSegmentationLearnerConfig,
    SemanticSegmentationSlidingWindowGeoDataset,
    SolverConfig,
)
from torch import Tensor, nn

from benchmarks.project import held_mib, peak_mib
from thalweg.infer import Predictor


class Stored(nn.Module):
    """(B, C, H, W) float of stored values to logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, values: Tensor) -> Tensor:
        """Its axes as the network wants them."""
        logits: Tensor = self.network(values.permute(0, 2, 3, 1).to(torch.int16))
        return logits


job = json.loads(Path(sys.argv[1]).read_text())
torch.set_num_threads(job["threads"])
predictor = Predictor.load(Path(job["model"]), "cpu")
names = [info.name for info in predictor.card.classes]
config = ClassConfig(names=names, null_class=names[0])
learner = SemanticSegmentationLearner(
    SemanticSegmentationLearnerConfig(
        data=SemanticSegmentationGeoDataConfig(class_config=config, num_workers=0),
        solver=SolverConfig(batch_sz=job["batch"]),
    ),
    model=Stored(predictor._network).eval(),
    output_dir=f"{job['out']}/learner",
    training=False,
)
before, cpu, wall = held_mib(), time.process_time(), time.perf_counter()
dataset = SemanticSegmentationSlidingWindowGeoDataset.from_uris(
    class_config=config, image_uri=job["image"], size=job["window_px"], stride=job["stride_px"]
)
predictions = learner.predict_dataset(
    dataset, raw_out=True, numpy_out=True, progress_bar=False, predict_kw={"out_shape": (job["window_px"],) * 2}
)
labels = SemanticSegmentationSmoothLabels.from_predictions(
    dataset.windows, predictions, extent=dataset.scene.extent, num_classes=len(names)
)
labels.save(f"{job['out']}/rv", crs_transformer=dataset.scene.raster_source.crs_transformer, class_config=config)
size = sum(path.stat().st_size for path in Path(job["out"], "rv").glob("*"))
spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
print(json.dumps(spent | {"peak": peak_mib(), "grown": peak_mib() - before, "bytes": size}))
