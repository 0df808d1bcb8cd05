import dataclasses
import io
import math

import numpy as np
import onnxruntime
import pytest
import torch

from zsad.errors import InputError
from zsad_train.checkpoint import build_method, load_checkpoint, save_checkpoint
from zsad_train.config import TrainConfig
from zsad_train.loop import fit
from zsad_train.losses import dice_loss, type_focal_loss
from zsad_train.methods.dapo_config import PRESETS, DapoConfig
from zsad_train.predictor import CheckpointPredictor

RELEASED = dataclasses.asdict(PRESETS["dapo-released"])
VARIANTS = [
    {},
    RELEASED,
    {"prompts": 2, "context_length": 3, "text_tokens": 1, "vision_tokens": 7, "carried": 0.5},
    {"taps": (-1,), "upsampling": "bilinear", "sigma": 0.05, "text_causal": False},
]
TYPES = ("scratch", "missing screw", "hole")
FIELDS = ("score", "anomaly_map", "score_logit", "type_map", "type_score")


def assert_same(found, expected, tolerance=1e-5):
    for name in FIELDS:
        pair = getattr(found, name), getattr(expected, name)
        torch.testing.assert_close(*pair, rtol=tolerance, atol=tolerance, msg=name)


def naive_row(method, sentence, learned):
    """One state's embedding: whole texts, one prompt at a time, an explicit mask."""
    config, tower = method.config, method.backbone.text
    m, k = config.context_length, config.text_tokens
    (ids,) = method.backbone.tokenize([" ".join(["X"] * m) + " " + sentence])
    features = []
    for context in learned:
        x = tower.embed(ids[None]).clone()
        x[0, 1 : 1 + m] = context
        x = x + tower.positional_embedding
        mask = torch.full((77 + k, 77 + k), float("-inf")).triu(1) if config.text_causal else None
        for index, block in enumerate(tower.blocks):
            own = method.prompts.inserted[index][None]
            if index > 0:
                own = config.carried * x[:, 1 : 1 + k] + (1 - config.carried) * own
            x = torch.cat([x[:, :1], own, x[:, 1 if index == 0 else 1 + k :]], dim=1)
            h = block.ln_1(x)
            x = x + block.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
            x = x + block.mlp(block.ln_2(x))
        at = int(ids.argmax()) + (k if config.read_at == "end" else 0)
        features.append(tower.ln_final(x)[0, at] @ tower.text_projection)
    row = torch.stack(features).mean(dim=0)
    return row / row.norm()


@pytest.mark.parametrize("options", VARIANTS)
def test_the_table_is_the_naive_one(moved_dapo, options):
    method = moved_dapo(**options)
    with torch.no_grad():
        rows = [naive_row(method, "flawless object", method.prompts.normal)]
        rows += [naive_row(method, f"{w} anomaly object", method.prompts.abnormal) for w in TYPES]
        table = method.text_table()
    torch.testing.assert_close(table, torch.stack(rows), atol=1e-5, rtol=0)


def test_the_presets_read_text_differently(moved_dapo, batch):
    ours, released = moved_dapo(), moved_dapo(**RELEASED)
    assert all(map(torch.equal, ours.parameters(), released.parameters()))
    between = torch.cosine_similarity(ours.text_table(), released.text_table())
    assert between.max() < 0.9
    assert (ours(batch.images).score - released(batch.images).score).abs().max() > 1e-3
    causal = moved_dapo(**{**RELEASED, "text_causal": True})
    end = moved_dapo(**{**RELEASED, "read_at": "end"})
    for one_fault in (causal, end):
        rows = torch.cosine_similarity(one_fault.text_table(), released.text_table())
        assert rows.max() < 0.999


@pytest.mark.parametrize("options", VARIANTS)
def test_the_prediction_follows_from_the_definitions(moved_dapo, batch, options):
    method = moved_dapo(**options)
    with torch.no_grad():
        found, table = method(batch.images), method.text_table()
        image, taps = method.looks(method.backbone.vision, batch.images)
    for index in range(4):
        states = torch.stack([table[0], table[1:].mean(dim=0)])
        cosines = torch.cosine_similarity(image[index], states, dim=-1)
        assert found.score[index] == pytest.approx((cosines / 0.07).softmax(0)[1].item(), abs=1e-5)
        grids = torch.stack(
            [
                (torch.cosine_similarity(p[index][:, None], table, dim=-1) / 0.07).softmax(-1)
                for p in taps
            ]
        ).mean(dim=0)  # (P, 1 + K)
        torch.testing.assert_close(
            found.type_score[index], grids[:, 1:].amax(dim=0), atol=1e-5, rtol=0
        )
        expected = method.readout.smooth(grids[:, 1:].T.reshape(3, 4, 4))
        torch.testing.assert_close(found.type_map[index], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.type_map.sum(dim=1), found.anomaly_map, atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", VARIANTS)
def test_an_image_is_judged_the_same_in_any_batch(moved_dapo, batch, options):
    method = moved_dapo(**options)
    together = method(batch.images)
    for index in range(4):
        alone = method(batch.images[index : index + 1])
        assert_same(alone, type(alone)(*(tensor[index : index + 1] for tensor in together)))


def test_a_word_does_not_move_the_others(moved_dapo):
    method = moved_dapo()
    more = moved_dapo(("burr", *reversed(TYPES)))
    torch.testing.assert_close(
        more.text_table()[[0, 4, 3, 2]], method.text_table(), atol=1e-6, rtol=0
    )


def test_learned_tokens_begin_like_clips_own(backbone, make_dapo):
    method = make_dapo(prompts=400)
    table = backbone.text.token_embedding.weight
    for learned in (method.prompts.normal, method.prompts.abnormal):
        tokens = learned.flatten(0, 1)  # (2000, width)
        standard = (tokens - table.mean(dim=0)) / table.std(dim=0)
        assert standard.mean().abs() < 0.02 and (standard.std() - 1).abs() < 0.02
    bound = math.sqrt(6 / (3 * 8 * 8 + 32))
    assert 0.9 * bound < make_dapo().looks.tokens.abs().max() <= bound
    assert make_dapo().looks.tokens.shape == (6, 4, 32)
    assert make_dapo().prompts.inserted.shape == (4, 4, 24)


class TestLoss:
    @pytest.fixture
    def typed(self, batch):
        return batch._replace(type_ids=torch.tensor([-1, -1, 2, 0]))

    def test_terms_follow_from_the_definitions(self, moved_dapo, typed):
        method = moved_dapo(taps=(1, 5), weight_local=3.0, weight_image=0.5)
        table = method.text_table()
        _, taps = method.looks(method.backbone.vision, typed.images)
        target = torch.zeros(4, 32, 32, dtype=torch.long)
        target[2, :16, :16] = 3  # the third type
        target[3, 8:, 8:] = 1
        local = 0
        for patches in taps:
            full = torch.nn.functional.interpolate(
                method.readout.grid(patches, table), (32, 32), mode="bilinear", align_corners=True
            )
            local = local + type_focal_loss(full, target)
            local = local + dice_loss(full[:, 0], 1 - typed.masks)
            local = local + dice_loss(full[:, 1:].sum(dim=1), typed.masks)
        terms = method.loss(typed)
        torch.testing.assert_close(terms["local"], 3 * local)
        score = method(typed.images).score
        entropy = torch.nn.functional.binary_cross_entropy(score, typed.labels.float())
        torch.testing.assert_close(terms["image"], 0.5 * entropy)

    def test_it_tells_types_apart(self, moved_dapo, typed):
        method = moved_dapo()
        other = typed._replace(type_ids=torch.tensor([-1, -1, 1, 0]))
        losses = [method.loss(each) for each in (typed, other)]
        assert losses[0]["local"] != losses[1]["local"]
        assert losses[0]["image"] == losses[1]["image"]

    def test_a_defect_of_no_known_type_teaches_no_type(self, moved_dapo, typed):
        method = moved_dapo()
        unknown = typed._replace(type_ids=torch.tensor([-1, -1, 2, -1]))
        unnamed = typed._replace(type_ids=torch.tensor([-1, -1, -1, -1]))
        nobody_asked = typed._replace(type_ids=torch.empty(0, dtype=torch.long))
        assert method.loss(unknown)["local"].isfinite()
        assert method.loss(unknown)["local"] != method.loss(typed)["local"]
        assert torch.equal(method.loss(unnamed)["local"], method.loss(nobody_asked)["local"])

    def test_images_without_pixel_labels_do_not_enter_the_local_term(self, moved_dapo, typed):
        method = moved_dapo()
        partial = typed._replace(has_mask=torch.tensor([True, True, True, False]))
        lost = partial._replace(masks=partial.masks.clone())
        lost.masks[3] = 1 - lost.masks[3]
        assert torch.equal(method.loss(partial)["local"], method.loss(lost)["local"])
        none = method.loss(typed._replace(has_mask=torch.zeros(4, dtype=torch.bool)))
        assert none["local"] == 0 and none["local"].requires_grad

    def test_every_learned_tensor_gets_a_gradient_and_no_other(self, moved_dapo, typed):
        method = moved_dapo()
        sum(method.loss(typed).values()).backward()
        for name, parameter in method.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad.abs().max() > 0, name
            else:
                assert name.startswith("backbone.") and parameter.grad is None


def test_a_short_training_lowers_the_loss_and_is_kept(make_dapo, squares, tmp_path):
    method = make_dapo(("square",), prompts=2)
    config = TrainConfig(epochs=4, batch_size=4, device="cpu", lr_prompts=3e-3)
    records = fit(method, squares(), config, tmp_path / "dapo.pt")
    assert records[-1].loss["total"] < 0.8 * records[0].loss["total"]
    again = build_method(load_checkpoint(tmp_path / "dapo.pt"))
    assert again.words.types == ("square",)
    torch.testing.assert_close(again.text_table(), method.text_table())


def test_a_checkpoint_predicts_as_the_method_does(moved_dapo, tmp_path):
    method = moved_dapo()
    save_checkpoint(tmp_path / "dapo.pt", method, {})
    frame = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    predictor = CheckpointPredictor.load(tmp_path / "dapo.pt")
    result = predictor.predict(frame)
    from zsad_train.batches import to_tensor

    expected = method(to_tensor(frame, predictor.spec)[None])
    assert result.score == pytest.approx(expected.score.item(), abs=1e-5)
    np.testing.assert_allclose(result.anomaly_map, expected.anomaly_map[0].detach(), atol=1e-5)


class TestBaked:
    @pytest.mark.parametrize("options", VARIANTS)
    def test_it_equals_the_method_with_its_own_words(self, moved_dapo, batch, options):
        method = moved_dapo(**options)
        assert_same(method.bake()(batch.images, method.open_text().table), method(batch.images))

    def test_it_takes_the_words_of_another(self, moved_dapo, batch):
        other = moved_dapo(("burr",))
        found = moved_dapo().bake()(batch.images, other.open_text().table)
        assert found.type_map.shape == (4, 1, 32, 32)
        assert_same(found, other(batch.images))

    def test_it_shares_nothing_and_survives_half_precision(self, moved_dapo, batch):
        method = moved_dapo()
        expected, table = method(batch.images), method.open_text().table
        baked = method.bake()
        assert not any(parameter.requires_grad for parameter in baked.parameters())
        half = baked.half()(batch.images.half(), table)
        assert {tensor.dtype for tensor in half} == {torch.float32}
        assert_same(half, expected, tolerance=2e-2)
        assert_same(method(batch.images), expected, tolerance=0)

    def test_its_graph_takes_any_number_of_images_and_words(self, moved_dapo, batch):
        baked = moved_dapo().bake()
        example = (batch.images[:2], moved_dapo().open_text().table)
        dims = ({0: torch.export.Dim("n")}, {0: torch.export.Dim("rows", min=2)})
        program = torch.onnx.export(
            baked, example, dynamo=True, dynamic_shapes=dims, verbose=False, optimize=False
        )
        stream = io.BytesIO()
        program.save(stream)
        session = onnxruntime.InferenceSession(
            stream.getvalue(), providers=["CPUExecutionProvider"]
        )
        names = [node.name for node in session.get_inputs()]
        for words, count in ((("burr",), 1), (TYPES, 4), (("a", "b", "c", "d", "e"), 3)):
            table = moved_dapo(words).open_text().table
            images = batch.images[:count]
            found = session.run(
                None, dict(zip(names, (images.numpy(), table.numpy()), strict=True))
            )
            for array, tensor in zip(found, baked(images, table), strict=True):
                np.testing.assert_allclose(array, tensor.numpy(), atol=1e-5)


@pytest.mark.parametrize("options", VARIANTS)
def test_the_encoder_makes_the_rows_of_any_word(moved_dapo, options):
    method, other = moved_dapo(**options), moved_dapo(("burr", "loose thread"), **options)
    text = method.open_text()
    assert text.template == " ".join(["X"] * method.config.context_length) + " {} anomaly object"
    ids = method.backbone.tokenize([text.template.format(w) for w in ("burr", "loose thread")])
    torch.testing.assert_close(text.encoder(ids), other.open_text().table[1:], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompts": 0}, "prompts must be positive"),
        ({"carried": 1.5}, "carried 1.5 is a share"),
        ({"abnormal_words": "anomaly object"}, "must have one {}"),
        ({"read_at": "start"}, "read_at 'start' is not one of end, early"),
        ({"taps": ()}, "taps is empty"),
        ({"weight_local": -1.0}, "weight_local must not be negative"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        DapoConfig(**options)


def test_what_does_not_fit_is_refused(make_dapo):
    with pytest.raises(InputError, match="there is no defect type"):
        make_dapo(())
    with pytest.raises(InputError, match="fills all 77 text tokens"):
        make_dapo(("very " * 80 + "long",))
    with pytest.raises(InputError, match="repeats a block"):
        make_dapo(taps=(-1, 5))
    with pytest.raises(InputError, match="block 6 does not exist"):
        make_dapo(taps=(6,))


def test_what_is_learned_is_counted_by_its_dimensions(make_dapo):
    def numbers(width, text_width, joint, blocks, text_blocks):
        prompts = 2 * 10 * 5 * text_width + text_blocks * 4 * text_width
        return prompts + blocks * 4 * width + 4 * (width * joint + joint)

    method = make_dapo()
    learned = sum(p.numel() for p in method.parameters() if p.requires_grad)
    assert learned == numbers(32, 24, 16, 6, 4)
    assert numbers(1024, 768, 768, 24, 12) == 3_360_768  # ViT-L, docs/methods.md
