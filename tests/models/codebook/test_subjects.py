"""Several subjects in one network: nobody meets the parameters or channels of another."""

from __future__ import annotations

import pytest
import torch

from neurodecode.models.codebook.classifier import CodebookClassifier
from tests.models.codebook.networks import CHANNELS, B, classifier, some_input, tokenizer
from tests.models.codebook.plain import SMALL


class TestSubjects:
    @pytest.mark.parametrize("front", ["mix", "own"])
    def test_a_window_meets_its_own_subject_only(self, front: str) -> None:
        model = tokenizer(front=front).double().eval()
        x, subject = (value for value in some_input())
        with torch.no_grad():
            together = model(x.double(), subject).reconstruction
            for b in range(B):
                alone = model(x[b : b + 1].double(), subject[b : b + 1]).reconstruction[0]
                torch.testing.assert_close(alone, together[b])
        assert model.present(subject, B).tolist() == [
            [True] * CHANNELS[b % 2] + [False] * (5 - CHANNELS[b % 2]) for b in range(B)
        ]

    @pytest.mark.parametrize("front", ["mix", "own"])
    def test_what_lies_beyond_a_subjects_channels_is_not_read(self, front: str) -> None:
        model = tokenizer(front=front).eval()
        x, subject = some_input()
        before = model(x, subject).reconstruction
        x[subject == 0, 3:] = torch.nan
        assert torch.equal(model(x, subject).reconstruction, before)

    @pytest.mark.parametrize("front", ["mix", "own"])
    def test_learning_from_one_subject_leaves_the_others_as_they_were(self, front: str) -> None:
        model = tokenizer(front=front).train()
        x, subject = some_input()
        out = model(x[subject == 1], subject[subject == 1])
        out.reconstruction.square().mean().backward()
        if front == "own":
            assert all(p.grad is None for p in model.encoder.front.patches[0].parameters())
            assert all(p.grad is not None for p in model.encoder.front.patches[1].parameters())
        else:
            read_in = model.encoder.front.read_in
            assert (read_in.weight.grad[:3] == 0).all()
            assert (read_in.weight.grad[3:] != 0).any()
            assert (read_in.bias.grad[0] == 0).all()

    @pytest.mark.parametrize("front", ["mix", "own"])
    def test_one_subject_needs_no_index(self, front: str) -> None:
        model = tokenizer(5, front=front).eval()
        x, _ = some_input()
        found = model(x, torch.zeros(B, dtype=torch.long)).reconstruction
        torch.testing.assert_close(model(x).reconstruction, found)

    @pytest.mark.parametrize("front", ["mix", "own"])
    def test_nobody_and_unknown_people_are_refused(self, front: str) -> None:
        model = classifier(front=front)
        x, _ = some_input()
        with pytest.raises(ValueError, match="there are 2 subjects: say whose"):
            model(x)
        for wrong in (-1, 2):
            with pytest.raises(ValueError, match="there are 2 subjects; channels of someone unseen"):
                model(x, torch.full((B,), wrong))

    def test_wrong_shapes_are_refused(self) -> None:
        model = tokenizer()
        x, subject = some_input()
        with pytest.raises(ValueError, match=r"must be \[B, 5, T\]"):
            model(x[:, :4], subject)
        with pytest.raises(ValueError, match="59 samples are not a whole number of patches of 20"):
            model(x[:, :, :-1], subject)
        with pytest.raises(ValueError, match="the network was built for 60"):
            classifier()(x[:, :, :40], subject)
        with pytest.raises(ValueError, match="not a multiple of the patch"):
            CodebookClassifier(3, 8, 50, **SMALL)
