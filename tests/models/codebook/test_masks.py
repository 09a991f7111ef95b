"""Masks of the second stage: how many tokens they hide, and from whom."""

from __future__ import annotations

import pytest
import torch

from neurodecode.models.codebook.masked import random_mask
from tests.models.codebook import plain
from tests.models.codebook.networks import CHANNELS, STILL, B, N, masked, some_input


class TestMasks:
    def test_hide_the_same_number_of_every_window(self) -> None:
        for length, ratio, hidden in [(30, 0.5, 15), (40, 0.5, 20), (30, 0.9, 27), (30, 0.1, 3), (7, 0.5, 4)]:
            mask = random_mask(50, length, ratio)
            assert (mask.sum(1) == hidden).all()
        share = random_mask(2000, 10, 0.5).float().mean(0)
        assert (share - 0.5).abs().max() < 0.05
        one, two = (random_mask(5, 30, generator=torch.Generator().manual_seed(0)) for _ in range(2))
        assert torch.equal(one, two)

    def test_a_hidden_token_is_not_seen_in_the_view_that_hides_it(self) -> None:
        model = plain.shaken(masked())
        x, subject = some_input()
        x = x.double()
        mask = torch.zeros(B, N, dtype=torch.bool)
        mask[:, 1] = True
        before = model(x, subject, mask).logits
        x[:, :3, 20:40] += torch.randn(B, 3, 20).double()
        after = model(x, subject, mask).logits
        torch.testing.assert_close(after[:, 1], before[:, 1])
        assert (after[:, 0] - before[:, 0]).abs().max() > 1e-3  # seen by the mirrored view

    def test_batch_norm_sees_the_whole_signal(self) -> None:
        x, subject = some_input()
        averages = []
        for mask in (torch.zeros(B, N, dtype=torch.bool), torch.ones(B, N, dtype=torch.bool)):
            model = masked().train()
            model(x, subject, mask)
            averages.append(model.encoder.front.patches.norms[2].running_mean)
        assert torch.equal(*averages)

    def test_without_the_mirror_only_hidden_tokens_are_predicted(self) -> None:
        both, single = masked(**STILL).eval(), masked(**STILL, mirror=False).eval()
        x, subject = some_input()
        mask = random_mask(B, N)
        first, second = both(x, subject, mask), single(x, subject, mask)
        assert torch.equal(second.predicted, mask)
        torch.testing.assert_close(first.logits[mask], second.logits[mask])

    @pytest.mark.parametrize("target", ["embeddings", "patches"])
    def test_a_hidden_token_is_not_seen_whatever_is_predicted_of_it(self, target: str) -> None:
        model = plain.shaken(masked(target=target, dimension=7))
        x, subject = some_input()
        x = x.double()
        mask = torch.zeros(B, N, dtype=torch.bool)
        mask[:, 1] = True
        before = model(x, subject, mask).answer
        assert before.shape == ((B, N, 7) if target == "embeddings" else (B, N, max(CHANNELS), 20))
        x[:, :3, 20:40] += torch.randn(B, 3, 20).double()
        after = model(x, subject, mask).answer
        torch.testing.assert_close(after[:, 1], before[:, 1])
        assert (after[:, 0] - before[:, 0]).abs().max() > 1e-3  # seen by the mirrored view

    def test_patches_of_channels_that_a_subject_lacks_are_zero_and_each_subject_has_a_map_of_its_own(self) -> None:
        model = plain.shaken(masked(target="patches"))
        x, subject = some_input()
        one = model(x.double(), subject, torch.ones(B, N, dtype=torch.bool)).answer  # [B, N, C, samples]
        assert (one[subject == 0][:, :, CHANNELS[0] :] == 0).all()
        with torch.no_grad():
            model.patch_heads[0].weight.add_(1.0)
        two = model(x.double(), subject, torch.ones(B, N, dtype=torch.bool)).answer
        assert torch.equal(one[subject == 1], two[subject == 1])
        assert not torch.equal(one[subject == 0], two[subject == 0])

    def test_a_mask_of_another_shape_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"the mask must be \(4, 3\)"):
            masked()(*some_input(), torch.zeros(B, N + 1, dtype=torch.bool))
