"""`mrad-released` against a naive training run, written out from how that code is known.

Banks of one-hot values; the retrieval through its softmax; all 77 tokens; losses on two channels;
one optimiser for each stage.
"""

import copy
import dataclasses

import torch
import torch.nn.functional as F
from torch import nn

from zsad_train.config import TrainConfig
from zsad_train.loop import make_optimizer
from zsad_train.methods.mrad_config import PRESETS

RELEASED = dataclasses.asdict(PRESETS["mrad-released"])


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def pooled(patches):
    grid = patches.transpose(1, 2).reshape(len(patches), -1, 4, 4)
    out = sum(F.avg_pool2d(grid, k, stride=1, padding=k // 2) for k in (1, 3, 5)) / 3
    return out.flatten(2).transpose(1, 2)


class NaiveMrad(nn.Module):
    """The learned parts as that code keeps them, and both banks made from batches."""

    def __init__(self, method, batches):
        super().__init__()
        self.backbone = method.backbone
        self.patch_proj = nn.ModuleList(
            [copy.deepcopy(method.patch_retrieval.query), copy.deepcopy(method.patch_retrieval.key)]
        )
        self.image_proj = nn.ModuleList(
            [copy.deepcopy(method.image_retrieval.query), copy.deepcopy(method.image_retrieval.key)]
        )
        self.prompt_proj = copy.deepcopy(method.router)
        learner = method.branches[0]
        self.ctx_pos = nn.Parameter(learner.own[0].detach().clone())
        self.ctx_neg = nn.Parameter(learner.own[1].detach().clone())
        self.deep = nn.Parameter(learner.deep.detach().clone())
        self.threshold = method.config.region_threshold
        tokenize, filler = self.backbone.tokenize, " ".join("X" * 12)
        self.ids = tokenize([f"{filler} object.", f"{filler} damaged object."])
        assert self.ids.argmax(dim=-1).tolist() == [15, 16]
        self.build_banks(batches)

    @torch.no_grad()
    def build_banks(self, batches):
        images, labels, regions, kinds = [], [], [], []
        for batch in batches:
            image, tokens, _ = self.encode_image(batch.images)
            images.append(unit(image))
            labels += batch.labels.tolist()
            cover = F.interpolate(batch.masks[:, None], (4, 4), mode="bilinear")[:, 0]
            for patches, mask in zip(pooled(tokens), cover, strict=True):
                grid = patches.view(4, 4, -1)
                for kind in (1, 0):
                    if (mask == kind).any():
                        regions.append(unit(grid[mask == kind].mean(dim=0)))
                        kinds.append(kind)
        self.image_keys, self.patch_keys = torch.cat(images), torch.stack(regions)
        self.image_values = F.one_hot(torch.tensor(labels), 2).float()
        self.patch_values = F.one_hot(torch.tensor(kinds), 2).float()

    def encode_image(self, images):
        """Return CLS without the last LayerNorm, and V-V patches before and after projection."""
        vision = self.backbone.vision
        with torch.no_grad():
            found = vision(images, vv_from_block=1, cls_ln_post=False, tokens_as="ln_post")
        return found.image, found.tokens[0], found.patches[0]

    def retrieve(self, x, keys, values, projections, quantile):
        similarity = x @ keys.T
        scores = projections[0](x) @ projections[1](keys).T
        if quantile is not None:
            hidden = similarity > torch.quantile(similarity, quantile, dim=-1, keepdim=True)
            scores = scores.masked_fill(hidden, float("-inf"))
        return scores.softmax(dim=-1) @ values

    def text(self, bias):
        """Return the pair of each image, from biases (B, 2, width)."""
        pairs = []
        for shift in bias:
            x = self.backbone.text.embed(self.ids)
            rows = [
                torch.cat([x[0, :1], self.ctx_pos + shift[0], x[0, 13:]]),
                torch.cat([x[1, :1], self.ctx_neg + shift[1], x[1, 13:]]),
            ]
            pairs.append(self.tower(torch.stack(rows)))
        return unit(torch.stack(pairs))

    def tower(self, prompts):
        text = self.backbone.text
        x = prompts + text.positional_embedding
        mask = torch.full((77, 77), float("-inf")).triu(1)
        for index, block in enumerate(text.blocks):
            if 0 < index <= len(self.deep):
                rounded = self.deep[index - 1].expand(2, -1, -1).half()
                x = torch.cat([x[:, :1], rounded, x[:, 1 + rounded.shape[1] :]], dim=1)
            h = block.ln_1(x)
            x = x + block.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
            x = x + block.mlp(block.ln_2(x))
        return text.ln_final(x)[torch.arange(2), self.ids.argmax(dim=-1)] @ text.text_projection

    def bias(self, z, shares):
        found = (shares[..., 1] > self.threshold).float()[..., None]
        tokens = []
        for region in (1 - found, found):
            tokens.append((z * region).sum(dim=1) / region.sum(dim=1).clamp(min=1))
        return torch.stack(
            [self.prompt_proj.normal(tokens[0]), self.prompt_proj.abnormal(tokens[1])], dim=1
        )

    def see(self, images, quantiles=(None, None)):
        image, tokens, patches = self.encode_image(images)
        tokens, z, image = unit(pooled(tokens)), unit(pooled(patches)), unit(image)
        banks = (self.patch_keys, self.patch_values), (self.image_keys, self.image_values)
        shares = self.retrieve(tokens, *banks[0], self.patch_proj, quantiles[0])
        image_shares = self.retrieve(image, *banks[1], self.image_proj, quantiles[1])
        return shares, image_shares, z

    def stage_one(self, batch):
        shares, image_shares, _ = self.see(batch.images, (0.8, 0.95))
        maps, masks = full_size(shares), batch.masks
        loss = focal(maps, masks) + dice(maps[:, 1], masks)
        return loss + F.cross_entropy(image_shares / 0.07, batch.labels)

    def stage_two(self, batch):
        shares, _, z = self.see(batch.images, (0.8, 0.95))
        maps, masks = full_size(self.text_map(z, shares)), batch.masks
        return focal(maps, masks) + dice(maps[:, 1], masks) + dice(maps[:, 0], 1 - masks)

    def text_map(self, z, shares):
        text = self.text(self.bias(z, shares.detach()))
        return (z @ text.transpose(1, 2) / 0.07).softmax(dim=-1)


def full_size(shares):
    grid = shares.permute(0, 2, 1).reshape(-1, 2, 4, 4)
    return F.interpolate(grid, size=(32, 32), mode="bilinear")


def focal(maps, masks):
    truth = torch.stack([1 - masks, masks], dim=1).clamp(1e-5, 1 - 1e-5)
    p_true = (truth * maps).sum(dim=1) + 1e-5
    return -((1 - p_true) ** 2 * p_true.log()).mean()


def dice(maps, masks):
    p, g = maps.reshape(len(maps), -1), masks.reshape(len(masks), -1)
    return (1 - (2 * (p * g).sum(1) + 1) / (p.sum(1) + g.sum(1) + 1)).mean()


def test_banks_scores_and_maps_are_the_naive_ones(moved_mrad, batch, memory_batch):
    method = moved_mrad(**{**RELEASED, "sigma": 0.0, "region_threshold": 1 / 3})
    naive = NaiveMrad(method, [memory_batch, batch])
    memory = method.patch_retrieval.memory
    order = naive.patch_values[:, 1].argsort(stable=True)
    assert torch.equal(memory.keys.sort(dim=0).values, naive.patch_keys[order].sort(dim=0).values)
    with torch.no_grad():
        shares, image_shares, z = naive.see(batch.images)
        assert (
            (shares[..., 1] > 1 / 3).float().mean(dim=1) - 0.5
        ).abs().max() < 0.5  # both regions
        maps = full_size(naive.text_map(z, shares))
        prediction = method(batch.images)
    expected = (maps[:, 1] + 1 - maps[:, 0]) / 2
    torch.testing.assert_close(prediction.anomaly_map, expected, rtol=0, atol=1e-5)
    top = expected.flatten(1).topk(10).values.mean(dim=1)  # a hundredth of 1024 pixels
    score = 0.3 * top + 0.7 * image_shares[:, 1]
    torch.testing.assert_close(prediction.score, score, rtol=0, atol=1e-5)


def test_three_optimiser_steps_of_each_stage_are_the_naive_ones(make_mrad, batch, memory_batch):
    method = make_mrad(**{**RELEASED, "region_threshold": 1 / 3})
    naive = NaiveMrad(method, [memory_batch, batch])
    ours = make_optimizer(method, TrainConfig(lr_prompts=4e-4))
    retrieval = [*naive.patch_proj.parameters(), *naive.image_proj.parameters()]
    prompts = [naive.ctx_pos, naive.ctx_neg, naive.deep, *naive.prompt_proj.parameters()]
    theirs = [torch.optim.Adam(part, lr=4e-4, betas=(0.5, 0.999)) for part in (retrieval, prompts)]
    start = {name: p.detach().clone() for name, p in method.named_parameters()}
    for epoch, naive_loss in enumerate((naive.stage_one, naive.stage_two), start=1):
        method.begin_epoch(epoch)
        for _ in range(3):
            loss, expected = sum(method.loss(batch).values()), naive_loss(batch)
            torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
            for optimizer, term in ((ours, loss), (theirs[epoch - 1], expected)):
                optimizer.zero_grad()
                term.backward()
                optimizer.step()
    learned = dict(method.named_parameters())
    parts = {
        "patch_retrieval": naive.patch_proj,
        "image_retrieval": naive.image_proj,
    }
    wanted = {
        f"{name}.{side}.{kind}": getattr(pair[index], kind)
        for name, pair in parts.items()
        for index, side in enumerate(("query", "key"))
        for kind in ("weight", "bias")
        # A key's bias adds the same to all scores of a feature: no result depends on it, and its
        # gradient is rounding alone.
        if (side, kind) != ("key", "bias")
    }
    wanted |= {f"router.{name}": p for name, p in naive.prompt_proj.named_parameters()}
    wanted["branches.0.own"] = torch.stack([naive.ctx_pos, naive.ctx_neg])
    wanted["branches.0.deep"] = naive.deep
    for name, tensor in wanted.items():
        torch.testing.assert_close(learned[name], tensor, rtol=0, atol=1e-4, msg=name)
        assert (learned[name] - start[name]).abs().max() > 5e-4, name
