"""A stage that takes over what an earlier one learnt."""

from __future__ import annotations

import pytest
import torch

from neurodecode.models.layers.quantizer import EmaCodebook
from neurodecode.models.layers.quantizer_shared import SharedPrivateCodebook
from tests.models.codebook import plain
from tests.models.codebook.networks import classifier, masked, some_input, tokenizer


class TestStarts:
    @pytest.mark.parametrize("front", ["mix", "own"])
    @pytest.mark.parametrize("stage", [tokenizer, masked])
    def test_a_classifier_takes_over_the_whole_encoder(self, front: str, stage) -> None:
        pretrained = plain.shaken(stage(front=front)).float()
        model = classifier(front=front, seed=5)
        head = {k: v.clone() for k, v in model.head.state_dict().items()}
        model.start_from(pretrained)
        theirs = pretrained.encoder.state_dict()
        assert theirs.keys() == model.encoder.state_dict().keys()
        assert all(torch.equal(value, theirs[key]) for key, value in model.encoder.state_dict().items())
        assert all(torch.equal(value, head[key]) for key, value in model.head.state_dict().items())

    def test_the_kept_quantizer_comes_along_and_its_table_stays(self) -> None:
        pretrained = plain.shaken(tokenizer()).float()
        model = classifier(quantizer=EmaCodebook(9, 7), seed=5)
        model.start_from(pretrained)
        table = pretrained.bottleneck.quantizer.codebook.clone()
        assert torch.equal(model.bottleneck.quantizer.codebook, table)
        assert model.training
        model(*some_input())  # as it was built: a trainer need not call `train`
        assert torch.equal(model.bottleneck.quantizer.codebook, table)
        model.train()
        model(*some_input()).sum().backward()
        assert torch.equal(model.bottleneck.quantizer.codebook, table)
        assert model.bottleneck.before[0].weight.grad.abs().sum() > 0
        assert model.encoder.front.read_in.weight.grad.abs().sum() > 0
        with pytest.raises(ValueError, match="can start from a tokenizer only"):
            model.start_from(masked())

    def test_private_rows_come_along_with_their_subjects_and_a_new_one_has_none(self) -> None:
        pretrained = tokenizer((3, 5), quantizer=SharedPrivateCodebook(9, 4, 7, 2, start_tokens=0))
        pretrained.bottleneck.before[2].weight.data.normal_()  # its small start makes all tokens alike
        model = classifier((5, 2), quantizer=SharedPrivateCodebook(9, 4, 7, 2, start_tokens=0), seed=5).train()
        model.start_from(pretrained, subjects=[1, None])
        ours, theirs = model.bottleneck.quantizer, pretrained.bottleneck.quantizer
        assert torch.equal(ours.codebook[:13], torch.cat([theirs.codebook[:9], theirs.codebook[13:]]))
        assert ours.started.tolist() == [True, True, False]
        x = torch.randn(60, 5, 60)
        tokens, table = model.encoder(x, torch.zeros(60, dtype=torch.long)), ours.codebook.clone()
        with_rows, without = (model.bottleneck(tokens, torch.full((60,), s)).codes for s in (0, 1))
        assert with_rows.max() >= 9 > without.max()
        assert torch.equal(ours.codebook, table)  # it stays, in training too

    @pytest.mark.parametrize("front", ["mix", "own"])
    def test_subjects_may_be_chosen_and_added(self, front: str) -> None:
        pretrained = plain.shaken(masked((3, 5, 3), front=front)).float()
        model = classifier((5, 2, 3), front=front, seed=5).eval()
        fresh = [model.encoder.front.fold(s)[0].clone() for s in range(3)]
        model.start_from(pretrained, subjects=[1, None, 2])
        folds = [model.encoder.front.fold(s) for s in range(3)]
        for mine, theirs in ((0, 1), (2, 2)):
            for a, b in zip(folds[mine], pretrained.encoder.front.fold(theirs)):
                torch.testing.assert_close(a, b)
        if front == "own":
            torch.testing.assert_close(folds[1][0], fresh[1])

    def test_other_subjects_or_shapes_are_refused(self) -> None:
        with pytest.raises(ValueError, match="say which of its subjects each of ours is"):
            classifier((5, 3)).start_from(masked())
        with pytest.raises(ValueError, match="subject 0 has 3 channels, the pretrained subject 1 has 5"):
            classifier().start_from(masked(), subjects=[1, None])
        with pytest.raises(ValueError, match="1 subjects are named for a front of 2"):
            classifier().start_from(masked(), subjects=[1])
        with pytest.raises(RuntimeError, match="blocks.2"):
            classifier().start_from(masked(depth=3))
        with pytest.raises(ValueError, match="cannot start from one with"):
            classifier().start_from(masked(front="own"))
