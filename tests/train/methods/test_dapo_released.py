"""`dapo-released` against a naive forward and training step, written from how that code is known.

Inserted tokens come right after CLS and the start token, all 81 text tokens see each other, the
maps keep their 1 + K channels, and the focal loss works on one-hot targets.
"""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zsad_train.config import TrainConfig
from zsad_train.loop import make_optimizer
from zsad_train.methods.dapo_config import PRESETS

RELEASED = dataclasses.asdict(PRESETS["dapo-released"])
TYPES = ("scratch", "missing screw", "hole")


class NaiveParts(nn.Module):
    """The learned parts under the names that code has for them."""

    def __init__(self, method):
        super().__init__()
        self.learnable_normal_tokens = nn.Parameter(method.prompts.normal.detach().clone())
        self.learnable_abnormal_tokens = nn.Parameter(method.prompts.abnormal.detach().clone())
        self.layer_tokens = nn.Parameter(method.prompts.inserted.detach().clone())
        self.visual_tokens = nn.Parameter(method.looks.tokens.detach().clone())
        self.fc = copy.deepcopy(method.looks.adapters)


def block_step(block, x):
    h = block.ln_1(x)
    x = x + block.attn(h, h, h, need_weights=False)[0]
    return x + block.mlp(block.ln_2(x))


def naive_text(backbone, parts):
    filler = " ".join(["X"] * 5)
    normal = backbone.tokenize([f"{filler} flawless object"] * 10)
    defects = backbone.tokenize([f"{filler} {t} anomaly object" for t in TYPES for _ in range(10)])
    ids = torch.cat([normal, defects])
    tower = backbone.text
    fixed = tower.embed(ids).reshape(1 + len(TYPES), 10, 77, -1)
    learned = torch.stack(
        [parts.learnable_normal_tokens] + [parts.learnable_abnormal_tokens] * len(TYPES)
    )
    x = torch.cat([fixed[:, :, :1], learned, fixed[:, :, 6:]], dim=2).flatten(0, 1)
    x = x + tower.positional_embedding
    for index, block in enumerate(tower.blocks):
        fresh = parts.layer_tokens[index].expand(len(x), -1, -1)
        if index == 0:
            x = torch.cat([x[:, :1], fresh, x[:, 1:]], dim=1)
        else:
            x = torch.cat([x[:, :1], 0.01 * x[:, 1:5] + 0.99 * fresh, x[:, 5:]], dim=1)
        x = block_step(block, x)
    assert x.shape[1] == 81
    x = tower.ln_final(x)[torch.arange(len(x)), ids.argmax(dim=-1)] @ tower.text_projection
    x = x.reshape(1 + len(TYPES), 10, -1).mean(dim=1)
    return x / x.norm(dim=-1, keepdim=True)


def naive_image(backbone, parts, images):
    tower = backbone.vision
    x = tower.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([tower.class_embedding.expand(len(x), 1, -1), x], dim=1)
    x = tower.ln_pre(x + tower.positional_embedding)
    patches = []
    for index, block in enumerate(tower.blocks):
        fresh = parts.visual_tokens[index].expand(len(x), -1, -1)
        if index == 0:
            x = torch.cat([x[:, :1], fresh, x[:, 1:]], dim=1)
        else:
            x = torch.cat([x[:, :1], 0.01 * x[:, 1:5] + 0.99 * fresh, x[:, 5:]], dim=1)
        x = block_step(block, x)
        if index in (0, 2, 3, 5):  # the quarters of six blocks, as 6, 12, 18, 24 are of 24
            feature = parts.fc[len(patches)](x[:, 5:])
            patches.append(feature / feature.norm(dim=-1, keepdim=True))
    image = tower.ln_post(x[:, 0]) @ tower.proj
    return image / image.norm(dim=-1, keepdim=True), patches


def naive_forward(method, parts, images):
    """Return the two image logits and every layer's maps (B, 1 + K, 32, 32)."""
    text = naive_text(method.backbone, parts)
    image, patches = naive_image(method.backbone, parts, images)
    mean = text[1:].mean(dim=0, keepdim=True)
    pair = torch.cat([text[:1], mean / mean.norm(dim=-1, keepdim=True)])
    maps = [
        F.interpolate(
            (p @ text.T / 0.07).softmax(dim=-1).reshape(-1, 4, 4, 4).permute(0, 3, 1, 2),
            (32, 32),
            mode="bilinear",
            align_corners=True,
        )
        for p in patches
    ]
    return image @ pair.T / 0.07, maps


def naive_dice(p, g):
    p, g = p.reshape(len(p), -1), g.reshape(len(g), -1)
    return 1 - ((2 * (p * g).sum(1) + 1) / (p.sum(1) + g.sum(1) + 1)).sum() / len(p)


def naive_loss(method, parts, batch):
    logits, maps = naive_forward(method, parts, batch.images)
    target = (batch.masks > 0.5).long() * (1 + batch.type_ids)[:, None, None]
    one_hot = F.one_hot(target, 1 + len(TYPES)).permute(0, 3, 1, 2).float()
    one_hot = one_hot.clamp(1e-5 / len(TYPES), 1 - 1e-5)
    local = 0
    for maps_of_layer in maps:
        p_true = (one_hot * maps_of_layer).sum(dim=1) + 1e-5
        local = local - ((1 - p_true) ** 2 * p_true.log()).mean()
        local = local + naive_dice(maps_of_layer[:, 0], 1 - batch.masks)
        local = local + naive_dice(maps_of_layer[:, 1:].sum(dim=1), batch.masks)
    return 4 * local + F.cross_entropy(logits, batch.labels)


@pytest.fixture
def typed_batch(batch):
    return batch._replace(type_ids=torch.tensor([-1, -1, 0, 2]))


def test_text_embeddings_are_the_naive_ones(moved_dapo):
    method = moved_dapo(TYPES, **RELEASED)
    torch.testing.assert_close(
        method.text_table(), naive_text(method.backbone, NaiveParts(method)), rtol=0, atol=1e-5
    )


def test_scores_and_maps_are_the_naive_ones(moved_dapo, batch):
    method = moved_dapo(TYPES, **RELEASED)
    with torch.no_grad():
        logits, maps = naive_forward(method, NaiveParts(method), batch.images)
        found = method(batch.images)
    torch.testing.assert_close(found.score, logits.softmax(dim=-1)[:, 1], rtol=0, atol=1e-5)
    summed = torch.stack([m[:, 1:].sum(dim=1) for m in maps]).sum(dim=0)  # that code's, 0 to 4
    torch.testing.assert_close(4 * found.anomaly_map, summed, rtol=0, atol=4e-5)
    mean = torch.stack(maps).mean(dim=0)[:, 1:]
    torch.testing.assert_close(found.type_map, mean, rtol=0, atol=1e-5)
    assert summed.std() > 0.05


def test_three_optimiser_steps_are_the_naive_ones(make_dapo, typed_batch):
    method = make_dapo(TYPES, **RELEASED)
    parts = NaiveParts(method)
    start = method.looks.tokens.detach().clone()
    wanted = {
        "prompts.normal": parts.learnable_normal_tokens,
        "prompts.abnormal": parts.learnable_abnormal_tokens,
        "prompts.inserted": parts.layer_tokens,
        "looks.tokens": parts.visual_tokens,
        **{f"looks.adapters.{name}": p for name, p in parts.fc.named_parameters()},
    }
    ours = make_optimizer(method, TrainConfig())
    theirs = torch.optim.Adam(wanted.values(), lr=1e-3, betas=(0.5, 0.999))
    for _ in range(3):
        loss = sum(method.loss(typed_batch).values())
        expected = naive_loss(method, parts, typed_batch)
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
        for optimizer, term in ((ours, loss), (theirs, expected)):
            optimizer.zero_grad()
            term.backward()
            optimizer.step()
    learned = dict(method.named_parameters())
    assert wanted.keys() == {name for name, p in learned.items() if p.requires_grad}
    for name, tensor in wanted.items():
        torch.testing.assert_close(learned[name], tensor, rtol=0, atol=1e-4, msg=name)
    assert (method.looks.tokens - start).abs().max() > 1e-3
