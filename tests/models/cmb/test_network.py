"""Sizes and arms of the detector."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: training is not tested here")

from models.tasks.cmb.network import ARMS, SIZES, Arm, Config, SizeName, build, parameter_count  # noqa: E402


@pytest.mark.parametrize(("size", "millions"), [("tiny", 0.38), ("edge", 1.6), ("paper", 6.0)])
def test_each_size_has_the_parameters_of_its_budget(size: SizeName, millions: float) -> None:
    assert parameter_count(build(Config(size))) / 1e6 == pytest.approx(millions, rel=0.07)


def test_the_tiny_detector_has_exactly_so_many_parameters() -> None:
    assert [parameter_count(build(Config("tiny", arm))) for arm in ARMS] == [373157, 376293, 376293]


def test_outputs_are_one_cell_for_two_voxels() -> None:
    logits, deltas = build(Config()).eval()(torch.zeros(1, 2, 48, 48, 48))
    assert (logits.shape, deltas.shape) == ((1, 1, 24, 24, 24), (1, 4, 24, 24, 24))


def test_an_untrained_detector_says_that_nearly_nothing_is_a_bleed() -> None:
    torch.manual_seed(0)
    logits, _ = build(Config()).eval()(torch.rand(1, 2, 24, 24, 24))
    assert 0.001 < torch.sigmoid(logits).mean().item() < 0.05


@pytest.mark.parametrize("arm", ARMS)
def test_deep_features_reach_the_head_only_with_fusion(arm: Arm) -> None:
    config = Config("tiny", arm)
    network = build(config).eval()
    volume = torch.rand(1, 2, 24, 24, 24)
    before = network.features(volume)
    with torch.no_grad():
        # Cut what the decoder gets of the deepest level: fusion alone still sees it.
        for parameter in network.up4.parameters():
            parameter.zero_()
        cut = network.features(volume)
        for parameter in network.encode8.parameters():
            parameter.mul_(3)
        changed = network.features(volume)
    assert not torch.equal(before, cut)
    assert torch.equal(cut, changed) == (not config.has_fusion)


def test_windows_of_every_size_can_be_halved_three_times() -> None:
    assert all(size.window_voxels % 8 == 0 for size in SIZES.values())
