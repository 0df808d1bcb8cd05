import pytest
import torch

from zsad_train.class_samples import ClassSample, ClassSampler, reconstruction_error


@pytest.fixture
def sampler():
    torch.manual_seed(0)
    made = ClassSampler(4, samples=3, seed=7)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def test_a_sample_is_decoded_from_the_images_own_distribution(sampler):
    image = torch.randn(2, 4)
    torch.manual_seed(5)
    sample = sampler(image)
    torch.manual_seed(5)
    noise = torch.randn(2, 4)
    latent = sample.mean + (0.5 * sample.log_variance).exp() * noise
    torch.testing.assert_close(sample.decoded, sampler.decoder(latent))
    hidden = (sampler.hidden[0](image)).clamp_min(0)
    torch.testing.assert_close(sample.mean, sampler.mean(hidden))
    torch.testing.assert_close(sample.log_variance, sampler.log_variance(hidden))


def test_the_divergence_is_known_by_hand():
    sample = ClassSample(torch.zeros(2, 2), torch.tensor([[1.0, 2], [0, 0]]), torch.zeros(2, 2))
    assert sample.divergence().item() == pytest.approx((1 + 4) / 2 / 2)
    wide = ClassSample(torch.zeros(1, 1), torch.zeros(1, 1), torch.tensor([[4.0]]).log())
    assert wide.divergence().item() == pytest.approx(0.5 * (4 - 1 - torch.tensor(4.0).log()))


def test_inference_samples_the_prior_and_knows_of_no_image(sampler):
    generator = torch.Generator().manual_seed(7)
    expected = sampler.decoder(torch.randn(3, 4, generator=generator))
    assert torch.equal(sampler.prior(), expected)
    assert "latents" not in sampler.state_dict()


def test_the_reconstruction_is_of_each_or_of_all_pairs_by_hand():
    image, decoded = torch.tensor([[0.0, 0], [2, 4]]), torch.tensor([[1.0, 1], [2, 2]])
    assert reconstruction_error(image, decoded, pairs=False).item() == pytest.approx((2 + 4) / 2)
    # 0-1, 0-2: 1 + 1 and 4 + 4; 1-1, 1-2: 1 + 9 and 0 + 4; eight squares in all.
    found = reconstruction_error(image, decoded, pairs=True).item()
    assert found == pytest.approx((2 + 8 + 10 + 4) / 8)
