"""`anomalyclip-released` against a naive training step, written out from how that code is known.

All 77 tokens, both prompts in one pass, deep tokens rounded in place, every loss on two channels.
"""

import copy
import dataclasses

import torch
import torch.nn.functional as F
from torch import nn

from zsad_train.config import TrainConfig
from zsad_train.loop import make_optimizer
from zsad_train.methods.anomalyclip_config import PRESETS


class NaivePrompts(nn.Module):
    """Both contexts and the deep tokens as one module's parameters."""

    def __init__(self, method):
        super().__init__()
        self.normal = nn.Parameter(method.normal.context.detach().clone())
        self.abnormal = nn.Parameter(method.abnormal.context.detach().clone())
        self.deep = nn.Parameter(method.normal.deep.detach().clone())
        backbone = method.backbone
        self.text = backbone.text
        filler = " ".join("X" * len(self.normal))
        ids = backbone.tokenize([f"{filler} object.", f"{filler} damaged object."])
        self.register_buffer("fixed", backbone.text.embed(ids).detach())
        self.eot = ids.argmax(dim=-1)

    def forward(self):
        context = torch.stack([self.normal, self.abnormal])
        tokens = torch.cat([self.fixed[:, :1], context, self.fixed[:, 1 + context.shape[1] :]], 1)
        x = tokens + self.text.positional_embedding
        mask = torch.full((77, 77), float("-inf")).triu(1)
        for index, block in enumerate(self.text.blocks):
            if 0 < index <= len(self.deep):
                rounded = self.deep[index - 1].expand(2, -1, -1).half()
                x = torch.cat([x[:, :1], rounded, x[:, 1 + rounded.shape[1] :]], dim=1)
            h = block.ln_1(x)
            x = x + block.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
            x = x + block.mlp(block.ln_2(x))
        x = self.text.ln_final(x)
        return x[torch.arange(2), self.eot] @ self.text.text_projection


def naive_loss(method, prompts, batch):
    text = F.normalize(prompts(), dim=-1)
    with torch.no_grad():
        features = method.backbone.vision(
            batch.images, taps=(-1,), vv_from_block=0, cls_ln_post=False
        )
    image = F.cross_entropy(F.normalize(features.image, dim=-1) @ text.T / 0.07, batch.labels)
    maps = (F.normalize(features.patches[0], dim=-1) @ text.T / 0.07).softmax(dim=-1)
    maps = maps.permute(0, 2, 1).reshape(4, 2, 4, 4)
    maps = F.interpolate(maps, size=(32, 32), mode="bilinear", align_corners=False)
    truth = torch.stack([1 - batch.masks, batch.masks], dim=1)
    p_true = (truth.clamp(1e-5, 1 - 1e-5) * maps).sum(dim=1) + 1e-5
    local = -((1 - p_true) ** 2 * p_true.log()).mean()
    for channel in (0, 1):
        p, g = maps[:, channel].reshape(4, -1), truth[:, channel].reshape(4, -1)
        local = local + (1 - (2 * (p * g).sum(1) + 1) / (p.sum(1) + g.sum(1) + 1)).mean()
    return image + 4 * local


def test_three_optimiser_steps_are_the_naive_ones(make_anomalyclip, batch):
    released = dataclasses.asdict(PRESETS["anomalyclip-released"])
    method = make_anomalyclip(**{**released, "context_length": 6})
    prompts = NaivePrompts(copy.deepcopy(method))
    start = method.normal.deep.detach().clone()
    ours = make_optimizer(method, TrainConfig())
    parameters = [prompts.normal, prompts.abnormal, prompts.deep]
    theirs = torch.optim.Adam(parameters, lr=1e-3, betas=(0.5, 0.999))
    for _ in range(3):
        loss, expected = sum(method.loss(batch).values()), naive_loss(method, prompts, batch)
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
        for optimizer, term in ((ours, loss), (theirs, expected)):
            optimizer.zero_grad()
            term.backward()
            optimizer.step()
    learned = [method.normal.context, method.abnormal.context, method.normal.deep]
    for found, wanted in zip(learned, parameters, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-4)
    assert (method.normal.deep - start).abs().max() > 1e-3
