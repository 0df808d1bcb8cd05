"""Small labelled parts, and a predictor whose answers are known."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from zsad.data import Sample
from zsad.evaluate import evaluate
from zsad.types import AnomalyResult, Verdict

SUBJECT = {"name": "mean grey"}


@dataclass
class ListDataset:
    samples: list
    name: str = "made by the test"
    classes: tuple = ()
    has_masks: bool = True

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


class GreyPredictor:
    """Score = mean grey level / 255, map = grey level / 255, at a fixed size by slicing."""

    def __init__(self, step=1, threshold=None):
        self.step, self.threshold, self.seen = step, threshold, 0

    def predict(self, frame_bgr):
        self.seen += 1
        anomaly_map = frame_bgr[:: self.step, :: self.step, 0].astype(np.float32) / 255
        score = float(anomaly_map.mean())
        if self.threshold is None:
            return AnomalyResult(score, anomaly_map)
        is_anomalous = score > self.threshold
        verdict = Verdict.NG if is_anomalous else Verdict.OK
        return AnomalyResult(score, anomaly_map, verdict, is_anomalous, self.threshold)


def sample(index, class_name="plate", defective=False, brightness=100, contrast=60, size=24):
    rng = np.random.default_rng([index, len(class_name)])
    grey = rng.normal(brightness, 4, (size, size))
    mask = np.zeros((size, size), bool)
    if defective:
        mask[4:12, 6:16] = True
        grey[mask] += contrast
    image = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    defect = "blob" if defective else "good"
    return Sample(image, mask, int(defective), class_name, defect, f"{class_name}/{index}")


def parts(class_name="plate", n=12, **options):
    return [sample(i, class_name, defective=i % 2 == 1, **options) for i in range(n)]


def without_masks(samples):
    return ListDataset([dataclasses.replace(s, mask=None) for s in samples], has_masks=False)


def run(dataset, predictor=None, **options):
    return evaluate(predictor or GreyPredictor(), dataset, subject=SUBJECT, draws=50, **options)
