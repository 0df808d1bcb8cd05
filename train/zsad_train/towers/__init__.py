"""CLIP's two towers over open_clip's own weights, opened up for prompts, taps and injections."""

from zsad_train.towers.attention import EntropyHeads, block_index
from zsad_train.towers.backbone import Backbone, BackboneInfo, load_backbone
from zsad_train.towers.features import TokenNorm, VisionFeatures
from zsad_train.towers.inserted import InsertedTokens
from zsad_train.towers.positions import PosResize
from zsad_train.towers.reading import Reading
from zsad_train.towers.text import TextTower
from zsad_train.towers.text_tail import TextTail
from zsad_train.towers.vision import VisionTower
from zsad_train.towers.vision_plan import Injection

__all__ = [
    "Backbone",
    "BackboneInfo",
    "EntropyHeads",
    "Injection",
    "InsertedTokens",
    "PosResize",
    "Reading",
    "TextTail",
    "TextTower",
    "TokenNorm",
    "VisionFeatures",
    "VisionTower",
    "block_index",
    "load_backbone",
]
