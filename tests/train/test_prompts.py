import pytest
import torch

from zsad.errors import InputError
from zsad_train.prompts import PromptLearner


@pytest.fixture
def learner(backbone):
    def make(words=("object", "damaged object"), **options):
        torch.manual_seed(0)
        return PromptLearner(backbone, words, **{"length": 3, **options})

    return make


def test_learned_tokens_stand_between_start_and_words(backbone, learner):
    prompts = learner()
    token_ids = backbone.tokenize(["X X X object.", "X X X damaged object."])
    fixed = backbone.text.embed(token_ids)
    embeddings = prompts.embeddings()
    assert embeddings.shape == (2, 8, 24)  # start, 3 learned, damaged object . end
    assert torch.equal(embeddings[:, :1], fixed[:, :1])
    assert torch.equal(embeddings[:, 1:4], prompts.context.expand(2, -1, -1))
    assert torch.equal(embeddings[:, 4:], fixed[:, 4:8])
    assert prompts.eot.tolist() == [6, 7]


def test_learned_tokens_that_equal_words_give_the_words_embedding(backbone, learner):
    prompts = learner(words=["damaged object"])
    token_ids = backbone.tokenize(["a photo of damaged object."])
    with torch.no_grad():
        prompts.context.copy_(backbone.text.embed(token_ids)[0, 1:4])
    torch.testing.assert_close(prompts(backbone.text), backbone.text.encode(token_ids))


def test_own_tokens_follow_the_context_and_tell_prompts_apart(backbone, learner):
    prompts = learner(words=["damaged object"] * 3, own_length=2)
    embeddings = prompts.embeddings()
    assert torch.equal(embeddings[1, 1:4], prompts.context)
    assert torch.equal(embeddings[1, 4:6], prompts.own[1])
    embedded = prompts(backbone.text)
    assert not torch.allclose(embedded[0], embedded[1])


def test_prompts_without_own_tokens_and_with_equal_words_are_equal(backbone, learner):
    embedded = learner(words=["object"] * 2)(backbone.text)
    # Not to the bit: two rows of one product may be summed in another order.
    torch.testing.assert_close(embedded[0], embedded[1])


def test_deep_tokens_reach_the_embedding_and_get_gradients(backbone, learner):
    prompts = learner(deep_sets=3, deep_length=2)
    before = prompts(backbone.text)
    before.square().sum().backward()
    assert (prompts.deep.grad.abs().sum(dim=(1, 2)) > 0).all()
    with torch.no_grad():
        prompts.deep[2].add_(1)
    assert not torch.allclose(prompts(backbone.text), before)


def test_a_shared_context_is_one_parameter(learner):
    first = learner()
    second = learner(context=first.context, deep=first.deep)
    assert second.context is first.context
    assert len(list(torch.nn.ModuleList([first, second]).parameters())) == 4  # own twice


def test_new_tokens_have_the_spread_of_clip_tokens(learner):
    context = learner(length=70, words=["object"]).context
    assert context.std().item() == pytest.approx(0.02, rel=0.1)


def test_a_prompt_that_fills_the_context_is_refused(learner):
    with pytest.raises(InputError, match="'object' fills all 77 text tokens"):
        learner(length=75, words=["object"])


@pytest.mark.parametrize("deep_length", [0, 2])
def test_baked_prompts_are_the_same_map_of_shifts(backbone, learner, deep_length):
    options = {"deep_sets": 3, "deep_length": deep_length} if deep_length else {}
    prompts = learner(words=["damaged object"] * 3, own_length=2, **options)
    baked, shift = prompts.bake(backbone.text), torch.randn(4, 24)
    with torch.no_grad():
        expected = prompts(backbone.text, shift)
    assert expected.shape == (4, 3, 16)
    torch.testing.assert_close(baked(shift), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(baked(shift[:1]), expected[:1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("deep_length", [0, 2, 5])
def test_prompts_of_different_lengths_take_a_shift_each(backbone, learner, deep_length):
    """MRAD's pair: all learned tokens are own ones, and deep tokens overwrite them."""
    options = {"deep_sets": 2, "deep_length": deep_length} if deep_length else {}
    words = ["object", "damaged object"]
    prompts = learner(words=words, length=0, own_length=6, **options)
    baked, shift = prompts.bake(backbone.text), torch.randn(4, 2, 24)
    with torch.no_grad():
        expected = prompts(backbone.text, shift)
    assert expected.shape == (4, 2, 16)
    torch.testing.assert_close(baked(shift), expected, atol=1e-5, rtol=0)
    swapped = prompts(backbone.text, shift.flip(1))
    assert (swapped - expected).abs().max() > 1e-2


def test_own_tokens_can_be_frozen_words(backbone, learner):
    words = ["flawless object", "damaged object"]
    prompts = learner(words=words, length=0, own_text="a photo of a")
    ids = backbone.tokenize([f"a photo of a {word}." for word in words])
    assert not prompts.own.requires_grad and prompts.own.shape == (2, 4, 24)
    torch.testing.assert_close(prompts(backbone.text), backbone.text.encode(ids))
