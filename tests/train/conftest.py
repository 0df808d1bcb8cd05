"""A CLIP small enough to train in a test, known to open_clip by name."""

import dataclasses
import json

import numpy as np
import open_clip
import pytest
import torch

from zsad.data import Sample
from zsad_train.methods.anomalyclip import AnomalyClip
from zsad_train.methods.anomalyclip_config import AnomalyClipConfig
from zsad_train.methods.base import Batch, TrainingWords
from zsad_train.methods.cops import Cops
from zsad_train.methods.cops_config import CopsConfig
from zsad_train.methods.dapo import Dapo
from zsad_train.methods.dapo_config import DapoConfig
from zsad_train.methods.dive import Dive
from zsad_train.methods.dive_config import DiveConfig
from zsad_train.methods.entroad import EntroAd
from zsad_train.methods.entroad_config import EntroAdConfig
from zsad_train.methods.faprompt import FaPrompt
from zsad_train.methods.faprompt_config import FaPromptConfig
from zsad_train.methods.mrad import Mrad
from zsad_train.methods.mrad_config import MradConfig
from zsad_train.towers import load_backbone

SMALL = "zsad-test-small"
SMALL_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 6, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 24, "heads": 2, "layers": 4},
}
JOINT = "zsad-test-joint"
"""The same with features as wide as its text, which CoPS needs."""
WORDS = TrainingWords(
    classes=("metal plate", "wooden_board"),
    abnormal=("a photo of an object with a scratch", "a photo of an object with a stain"),
    normal=("a photo of an object with a clean surface",),
)


@pytest.fixture(scope="session", autouse=True)
def small_clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    for name, config in ((SMALL, SMALL_CONFIG), (JOINT, {**SMALL_CONFIG, "embed_dim": 24})):
        (folder / f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder / f"{name}.json")


@pytest.fixture(scope="session")
def backbone(small_clip):
    return load_backbone(SMALL, pretrained="random:3")


@pytest.fixture(scope="session")
def joint_backbone(small_clip):
    return load_backbone(JOINT, pretrained="random:3")


@pytest.fixture
def words():
    return WORDS


@pytest.fixture
def make_dive(backbone):
    def make(words=WORDS, **options):
        torch.manual_seed(0)
        return Dive(backbone, DiveConfig(**{"context_length": 4, "ca_heads": 2, **options}), words)

    return make


@pytest.fixture
def make_anomalyclip(backbone):
    def make(**options):
        torch.manual_seed(0)
        config = AnomalyClipConfig(**{"context_length": 6, **options})
        return AnomalyClip(backbone, config, TrainingWords(WORDS.classes))

    return make


@pytest.fixture
def make_faprompt(backbone):
    def make(**options):
        torch.manual_seed(0)
        return FaPrompt(backbone, FaPromptConfig(**options), TrainingWords(WORDS.classes))

    return make


@pytest.fixture
def make_cops(joint_backbone):
    def make(**options):
        torch.manual_seed(0)
        return Cops(joint_backbone, CopsConfig(**options), TrainingWords(WORDS.classes))

    return make


@pytest.fixture
def make_mrad(backbone, batch, memory_batch):
    """MRAD that remembers `memory_batch` and `batch`, a third of the regions defective.

    The threshold is that share, so that images have both regions.
    """

    def make(**options):
        torch.manual_seed(0)
        config = MradConfig(**{"region_threshold": 1 / 3, **options})
        method = Mrad(backbone, config, TrainingWords(WORDS.classes))
        method.memorise([memory_batch, batch])
        return method

    return make


@pytest.fixture
def make_dapo(backbone):
    def make(types=("scratch", "missing screw", "hole"), **options):
        torch.manual_seed(0)
        return Dapo(backbone, DapoConfig(**options), TrainingWords(WORDS.classes, types=types))

    return make


@pytest.fixture
def make_entroad(backbone, batch, memory_batch):
    """The reading of EntroAD, with the memory of `make_mrad` and a gate around its share."""

    def make(**options):
        torch.manual_seed(0)
        config = EntroAdConfig(**{"gate_threshold": 1 / 3, **options})
        method = EntroAd(backbone, config, TrainingWords(WORDS.classes))
        method.memorise([memory_batch, batch])
        return method

    return make


@pytest.fixture
def moved_entroad(make_entroad):
    return lambda **options: move(make_entroad(**options))


@pytest.fixture
def memory_batch():
    """Twelve images, the later half defective in blocks of whole patches."""
    generator = torch.Generator().manual_seed(2)
    masks = torch.zeros(12, 32, 32)
    for index in range(6, 12):
        masks[index, : 8 * (index % 3 + 1), 8:24] = 1
    return Batch(
        images=torch.randn(12, 3, 32, 32, generator=generator),
        labels=(masks.amax(dim=(1, 2)) > 0).long(),
        masks=masks,
        has_mask=torch.ones(12, dtype=torch.bool),
        class_ids=torch.zeros(12, dtype=torch.int64),
    )


def move(method):
    """Put every trainable tensor away from its start, as after training."""
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return method


@pytest.fixture
def moved(make_dive):
    return lambda **options: move(make_dive(**options))


@pytest.fixture
def moved_anomalyclip(make_anomalyclip):
    return lambda **options: move(make_anomalyclip(**options))


@pytest.fixture
def moved_faprompt(make_faprompt):
    return lambda **options: move(make_faprompt(**options))


@pytest.fixture
def moved_cops(make_cops):
    return lambda **options: move(make_cops(**options))


@pytest.fixture
def moved_dapo(make_dapo):
    return lambda *types, **options: move(make_dapo(*types, **options))


@pytest.fixture
def moved_mrad(make_mrad):
    return lambda **options: move(make_mrad(**options))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    masks = torch.zeros(4, 32, 32)
    masks[2, :16, :16] = 1
    masks[3, 8:, 8:] = 1
    return Batch(
        images=torch.randn(4, 3, 32, 32, generator=generator),
        labels=torch.tensor([0, 0, 1, 1]),
        masks=masks,
        has_mask=torch.ones(4, dtype=torch.bool),
        class_ids=torch.tensor([0, 1, 0, 1]),
    )


@dataclasses.dataclass(frozen=True)
class Squares:
    """Grey noise; the odd samples carry a bright square. Learnable in a few steps."""

    count: int = 8
    masked: bool = True
    name: str = "squares"
    classes: tuple[str, ...] = ("metal plate", "wooden_board")

    @property
    def has_masks(self):
        return self.masked

    @property
    def defect_types(self):
        return ("square",)

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if not 0 <= index < self.count:
            raise IndexError(index)
        rng = np.random.default_rng(index)
        image = rng.integers(60, 90, (32, 32, 3), dtype=np.uint8)
        mask = np.zeros((32, 32), dtype=bool)
        if index % 2:
            mask[8:24, 8:24] = True
            image[mask] = 250
        return Sample(
            image_bgr=image,
            mask=mask if self.masked else None,
            label=index % 2,
            class_name=self.classes[index // 2 % 2],
            defect_type="square" if index % 2 else "good",
            name=f"{index:03d}",
        )


@pytest.fixture
def squares():
    return Squares
