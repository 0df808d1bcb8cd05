"""`faprompt-released` against a naive training step, written out from how that code is known.

All 77 tokens; each image's prompts are made and encoded on their own; the losses on two channels.
"""

import copy
import dataclasses

import torch
import torch.nn.functional as F
from torch import nn

from zsad_train.config import TrainConfig
from zsad_train.loop import make_optimizer
from zsad_train.methods.faprompt_config import PRESETS

RELEASED = PRESETS["faprompt-released"]


class NaivePrompts(nn.Module):
    """The learned parts as one module, under that code's names."""

    def __init__(self, method):
        super().__init__()
        self.ctx_pos = nn.Parameter(method.normal.context.detach().clone())
        self.ctx_neg = nn.Parameter(method.abnormal.own.detach().clone())
        self.deep = nn.Parameter(method.normal.deep.detach().clone())
        self.linear1 = copy.deepcopy(method.prior.network[0])
        self.linear2 = copy.deepcopy(method.prior.network[2])
        backbone = method.backbone
        self.text = backbone.text
        self.ids_pos = backbone.tokenize([" ".join("N" * 5) + " object."])
        self.ids_neg = backbone.tokenize([" ".join("N" * 5 + "A" * 2) + " damaged object."] * 10)
        assert self.ids_pos.argmax().item() == 8 and self.ids_neg[0].argmax().item() == 11

    def encode(self, chosen=None):
        """Return the normal and the abnormal embeddings, and the bias, for one image's patches."""
        fixed_pos, fixed_neg = self.text.embed(self.ids_pos), self.text.embed(self.ids_neg)
        bias = torch.zeros(1, 24)
        if chosen is not None:
            bias = self.linear2(F.relu(self.linear1(chosen.reshape(1, -1))))
        own = self.ctx_neg + bias[:, None]
        shared = self.ctx_pos.expand(10, -1, -1)
        pos = torch.cat([fixed_pos[:, :1], self.ctx_pos[None], fixed_pos[:, 6:]], dim=1)
        neg = torch.cat([fixed_neg[:, :1], shared, own, fixed_neg[:, 8:]], dim=1)
        return self.tower(pos, self.ids_pos), self.tower(neg, self.ids_neg), bias

    def tower(self, prompts, ids):
        x = prompts + self.text.positional_embedding
        mask = torch.full((77, 77), float("-inf")).triu(1)
        for index, block in enumerate(self.text.blocks):
            if 0 < index <= len(self.deep):
                rounded = self.deep[index - 1].expand(len(x), -1, -1).half()
                x = torch.cat([x[:, :1], rounded, x[:, 1 + rounded.shape[1] :]], dim=1)
            h = block.ln_1(x)
            x = x + block.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
            x = x + block.mlp(block.ln_2(x))
        x = self.text.ln_final(x)
        return x[torch.arange(len(x)), ids.argmax(dim=-1)] @ self.text.text_projection


def two_channels(patches, text):
    """Return the upsampled (n, 2, 32, 32) and the raw (n, P, 2) probabilities."""
    probabilities = (F.normalize(patches, dim=-1) @ text.T / 0.07).softmax(dim=-1)
    maps = probabilities.permute(0, 2, 1).reshape(-1, 2, 4, 4)
    return F.interpolate(maps, size=(32, 32), mode="bilinear"), probabilities


def map_loss(maps, masks):
    truth = torch.stack([1 - masks, masks], dim=1)
    p_true = (truth.clamp(1e-5, 1 - 1e-5) * maps).sum(dim=1) + 1e-5
    loss = -((1 - p_true) ** 2 * p_true.log()).mean()
    for channel in (0, 1):
        p, g = maps[:, channel].reshape(4, -1), truth[:, channel].reshape(4, -1)
        loss = loss + (1 - (2 * (p * g).sum(1) + 1) / (p.sum(1) + g.sum(1) + 1)).mean()
    return loss


def naive_forward(method, prompts, batch):
    with torch.no_grad():
        features = method.backbone.vision(batch.images, vv_from_block=0, cls_ln_post=False)
    patches, image = features.patches[0], F.normalize(features.image, dim=-1)
    normal, abnormal, _ = prompts.encode()
    first = F.normalize(torch.cat([normal, abnormal.mean(dim=0, keepdim=True)]), dim=-1)
    maps, before = two_channels(patches, first)
    logits, adapted_maps, biases, scores = [], [], [], []
    for index in range(len(patches)):
        chosen = F.normalize(patches[index, :10], dim=-1)
        normal, adapted, bias = prompts.encode(chosen)
        second = F.normalize(torch.cat([normal, adapted.mean(dim=0, keepdim=True)]), dim=-1)
        one_map, after = two_channels(patches[index : index + 1], second)
        logits.append(image[index] @ second.T / 0.07)
        highest = 2 * before[index, :, 1].max() + after[0, :, 1].max()
        scores.append(0.5 * (logits[-1].softmax(dim=0)[1] + highest / 3))
        adapted_maps.append(one_map)
        biases.append(bias)
    return maps, torch.cat(adapted_maps), torch.stack(logits), torch.stack(scores), biases, abnormal


def naive_loss(method, prompts, batch):
    maps, adapted, logits, scores, biases, abnormal = naive_forward(method, prompts, batch)
    loss = map_loss(maps, batch.masks) + 0.5 * map_loss(adapted, batch.masks)
    loss = loss + F.cross_entropy(logits, batch.labels)
    entropy = F.binary_cross_entropy_with_logits(scores, batch.labels.float(), reduction="none")
    loss = loss + ((1 - torch.exp(-entropy)) ** 2 * entropy).mean()
    unit = F.normalize(abnormal, dim=-1)
    for i in range(10):
        for j in range(i + 1, 10):
            loss = loss + 0.1 * (unit[i] @ unit[j]).abs()
    for label, bias in zip(batch.labels, biases, strict=True):
        loss = loss + (bias.square().mean() if label == 0 else 0)
    return loss


def test_scores_and_maps_are_the_naive_ones(moved_faprompt, batch):
    method = moved_faprompt(**{**dataclasses.asdict(RELEASED), "sigma": 0.0})
    with torch.no_grad():
        maps, adapted, _, scores, _, _ = naive_forward(method, NaivePrompts(method), batch)
        prediction = method(batch.images)
    torch.testing.assert_close(prediction.score, scores, rtol=0, atol=1e-5)
    expected = (maps[:, 1] + 1 - maps[:, 0] + adapted[:, 1] + 1 - adapted[:, 0]) / 4
    torch.testing.assert_close(prediction.anomaly_map, expected, rtol=0, atol=1e-5)


def test_three_optimiser_steps_are_the_naive_ones(make_faprompt, batch):
    method = make_faprompt(**dataclasses.asdict(RELEASED))
    prompts = NaivePrompts(method)
    start = method.prior.network[0].weight.detach().clone()
    parameters = {
        "normal.context": prompts.ctx_pos,
        "abnormal.own": prompts.ctx_neg,
        "normal.deep": prompts.deep,
        "prior.network.0.weight": prompts.linear1.weight,
        "prior.network.0.bias": prompts.linear1.bias,
        "prior.network.2.weight": prompts.linear2.weight,
        "prior.network.2.bias": prompts.linear2.bias,
    }
    ours = make_optimizer(method, TrainConfig())
    theirs = torch.optim.Adam(parameters.values(), lr=1e-3, betas=(0.5, 0.999))
    for _ in range(3):
        loss, expected = sum(method.loss(batch).values()), naive_loss(method, prompts, batch)
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
        for optimizer, term in ((ours, loss), (theirs, expected)):
            optimizer.zero_grad()
            term.backward()
            optimizer.step()
    learned = dict(method.named_parameters())
    for name, wanted in parameters.items():
        torch.testing.assert_close(learned[name], wanted, rtol=0, atol=1e-4, msg=name)
    assert (method.prior.network[0].weight - start).abs().max() > 1e-3
