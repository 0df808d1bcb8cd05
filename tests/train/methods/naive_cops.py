"""CoPS's released code written out from how it is known: what `cops-released` is held against.

All 77 tokens, every image's prompts made and encoded one by one, two channels, distances patch by
patch; the tensors are under that code's names. What that code does by chance is kept: it adds the
other state's prototypes to a prompt, and its reconstruction compares every image with every sample.
"""

import torch
import torch.nn.functional as F
from torch import nn

ENCODER = ("hidden.0", "mean", "log_variance")


def released_names(method):
    """Return the trained tensors of a `Cops` under that code's names, as its files keep them."""
    state = {"t_n": method.prototypes.normal, "t_a": method.prototypes.anomalous}
    for name, learner in (("ctx_pos", method.normal), ("ctx_neg", method.abnormal)):
        state[name] = torch.cat([learner.context, learner.own[0]])[None, None]
    layers = {"attention": "attn", "norm": "ln_1", "mlp_norm": "ln_2", "mlp.0": "mlp.c_fc"}
    layers["mlp.2"] = "mlp.c_proj"
    for ours, theirs in layers.items():
        for key, tensor in method.prototypes.get_submodule(ours).state_dict().items():
            state[f"extractor.{theirs}.{key}"] = tensor
    for key, tensor in method.classes.decoder.state_dict().items():
        state[f"vae_decoder.net.{key}"] = tensor
    for index, deep in enumerate(method.normal.deep):
        state[f"compound_prompts_text.{index}"] = deep
    return {key: tensor.detach().clone() for key, tensor in state.items()}


class NaiveCops(nn.Module):
    """The learned parts and what is computed of them, on a frozen CLIP.

    Args:
        backbone: The CLIP.
        state: Tensors under that code's names.
        encoder: Weight and bias of the autoencoder's encoder, by the names of `ENCODER`; only
            training needs it.
    """

    def __init__(self, backbone, state, encoder=None):
        super().__init__()
        self.backbone = backbone
        width, heads = backbone.text.width, 12
        self.ctx_pos = nn.Parameter(state["ctx_pos"].clone())
        self.ctx_neg = nn.Parameter(state["ctx_neg"].clone())
        self.t_n = nn.Parameter(state["t_n"].clone())
        self.t_a = nn.Parameter(state["t_a"].clone())
        deep = [key for key in state if key.startswith("compound_prompts_text.")]
        self.deep = nn.ParameterList([state[key].clone() for key in sorted(deep)])
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_fc, self.c_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.decoder = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        for name in ("attn", "ln_1", "ln_2", "c_fc", "c_proj"):
            theirs = f"extractor.{'mlp.' if name.startswith('c_') else ''}{name}."
            self.get_submodule(name).load_state_dict(below(state, theirs))
        self.decoder.load_state_dict(below(state, "vae_decoder.net."))
        if encoder is not None:
            self.encoder = nn.ModuleList([nn.Linear(width, width) for _ in ENCODER])
            for layer, name in zip(self.encoder, ENCODER, strict=True):
                layer.load_state_dict(below(encoder, f"{name}."))

    def features(self, images, window):
        """Return image features (B, D) and averaged patches (B, P, D)."""
        with torch.no_grad():
            features = self.backbone.vision(images, vv_from_block=0, cls_ln_post=False)
        rows, columns = self.backbone.vision.grid_hw
        grid, reach = features.patches[0].reshape(-1, rows, columns, 24), window // 2
        pooled = torch.zeros_like(grid)
        for row in range(rows):
            for column in range(columns):
                near = grid[:, max(row - reach, 0) : row + reach + 1]
                near = near[:, :, max(column - reach, 0) : column + reach + 1]
                pooled[:, row, column] = near.sum(dim=(1, 2)) / window**2
        return features.image, pooled.flatten(1, 2)

    def extract(self, queries, patches):
        x = queries[None].repeat(len(patches), 1, 1)
        seen = self.ln_1(patches)
        x = x + self.attn(self.ln_1(x), seen, seen, need_weights=False)[0]
        hidden = self.c_fc(self.ln_2(x))
        return x + self.c_proj(hidden * torch.sigmoid(1.702 * hidden))

    def text(self, prototypes_n, prototypes_a, samples):
        """Return unit texts (B, 2, D) of prototypes (B, M, width) and samples (B, R, width)."""
        texts = []
        for image in range(len(prototypes_n)):
            for context, prototypes in ((self.ctx_pos, prototypes_a), (self.ctx_neg, prototypes_n)):
                prompts = [
                    self.prompt(context, prototypes[image], sample) for sample in samples[image]
                ]
                embedded = self.tower(torch.stack(prompts))
                texts.append(F.normalize(embedded, dim=-1).mean(dim=0))
        texts = torch.stack(texts).reshape(len(prototypes_n), 2, -1)
        return F.normalize(texts, dim=-1)

    def prompt(self, context, prototypes, sample):
        tokens, count = context[0, 0], len(prototypes)
        begin = len(tokens) - 2 - count
        self.ids = self.backbone.tokenize([" ".join("X" * len(tokens)) + "."])
        fixed = self.backbone.text.embed(self.ids)[0]
        state = tokens[begin:-2] + prototypes
        learned = torch.cat([tokens[:begin], state, tokens[-2:] + sample])
        return torch.cat([fixed[:1], learned, fixed[1 + len(tokens) :]])

    def tower(self, prompts):
        text = self.backbone.text
        x = prompts + text.positional_embedding
        mask = torch.full((77, 77), float("-inf")).triu(1)
        for index, block in enumerate(text.blocks):
            if 0 < index <= len(self.deep):
                rounded = self.deep[index - 1].expand(len(x), -1, -1).half()
                x = torch.cat([x[:, :1], rounded, x[:, 1 + rounded.shape[1] :]], dim=1)
            h = block.ln_1(x)
            x = x + block.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
            x = x + block.mlp(block.ln_2(x))
        return text.ln_final(x)[:, self.ids.argmax()] @ text.text_projection

    def predict(self, image, latents, *, window=5, alpha=0.26, beta=0.9):
        """Return score and patch map (rows, columns) of one image (1, 3, H, W)."""
        feature, patches = self.features(image, window)
        prototypes = [self.extract(queries, patches) for queries in (self.t_n, self.t_a)]
        text = self.text(*prototypes, self.decoder(latents)[None])[0]
        chances = two_classes(patches[0], text)
        far_n, far_a = (distances(patches, found)[0] for found in prototypes)
        far_n = (far_n - far_n.min()) / (far_n.max() - far_n.min())
        near_a = 1 - (far_a - far_a.min()) / (far_a.max() - far_a.min())
        abnormal = chances[:, 1] * (alpha * far_n + (1 - alpha) * near_a)
        score = beta * two_classes(feature, text)[0, 1] + (1 - beta) * abnormal.max()
        return score, abnormal.reshape(self.backbone.vision.grid_hw)

    def loss(self, batch, *, window=5, reconstruct=False):
        """Return the sum of all terms, the noise drawn from torch's global generator."""
        feature, patches = self.features(batch.images, window)
        hidden = F.relu(self.encoder[0](feature))
        mean, log_var = self.encoder[1](hidden), self.encoder[2](hidden)
        z = torch.exp(0.5 * log_var) * torch.randn((1, *mean.shape)) + mean
        decoded = self.decoder(z[0])
        loss = -0.5 * (1 + log_var - mean.pow(2) - log_var.exp()).sum(dim=1).mean()
        if reconstruct:
            compared = feature[None] - decoded[:, None]  # every image with every sample
            loss = loss + compared.pow(2).mean()
        prototypes_n, prototypes_a = (self.extract(t, patches) for t in (self.t_n, self.t_a))
        labels = (batch.masks.reshape(-1, 4, 8, 4, 8).amax(dim=(2, 4)) > 0.5).flatten(1)
        loss = loss + distances(patches, prototypes_n)[~labels].mean()
        if labels.any():
            loss = loss + distances(patches, prototypes_a)[labels].mean()
        text = self.text(prototypes_n.detach(), prototypes_a.detach(), decoded[:, None])
        chances = torch.stack([two_classes(p, t) for p, t in zip(patches, text, strict=True)])
        loss = loss + 4 * map_loss(chances.permute(0, 2, 1).reshape(-1, 2, 4, 4), batch.masks)
        logits = (F.normalize(feature, dim=-1)[:, None] * text).sum(dim=-1) / 0.07
        return loss + F.cross_entropy(logits, batch.labels)


def below(state, prefix):
    """Return the tensors of `state` whose name begins so, by the rest of it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def two_classes(x, text):
    """Return the softmax over [normal, abnormal] of rows x (..., D), unit text (2, D)."""
    return (F.normalize(x, dim=-1) @ text.T / 0.07).softmax(dim=-1)


def distances(patches, prototypes):
    """Return 1 - the largest cosine, (B, P), of patches (B, P, D) with prototypes (B, M, D)."""
    cosines = F.cosine_similarity(patches[:, :, None], prototypes[:, None], dim=-1)
    return (1 - cosines).min(dim=2).values


def map_loss(chances, masks):
    """Return focal and two dice terms of (B, 2, rows, columns) against masks (B, H, W)."""
    maps = F.interpolate(chances, size=masks.shape[1:], mode="nearest")
    truth = torch.stack([1 - masks, masks], dim=1)
    p_true = (truth.clamp(1e-5, 1 - 1e-5) * maps).sum(dim=1) + 1e-5
    loss = -((1 - p_true) ** 2 * p_true.log()).mean()
    for channel in (0, 1):
        p, g = maps[:, channel].flatten(1), truth[:, channel].flatten(1)
        loss = loss + 1 - ((2 * (p * g).sum(1) + 1) / (p.sum(1) + g.sum(1) + 1)).mean()
    return loss
