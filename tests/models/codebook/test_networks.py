"""Tokenizer, masked encoder and classifier: published sizes, a plain recomputation, subjects, masks, starts, learning."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from neurodecode.config import (
    ClassifierSettings,
    CodebookEncoderSettings,
    MaskedEncoderSettings,
    QuantizerSettings,
    TokenizerSettings,
    load_settings,
)
from neurodecode.models.build import count_parameters
from neurodecode.models.codebook.build import build_classifier, build_masked_encoder, build_quantizer, build_tokenizer
from neurodecode.models.codebook.classifier import CodebookClassifier
from neurodecode.models.codebook.encoder import SignalEncoder
from neurodecode.models.codebook.masked import MaskedEncoder, random_mask
from neurodecode.models.codebook.tokenizer import CodebookTokenizer
from neurodecode.models.layers.quantizer import EmaCodebook, FiniteScalar, ProductCodebook
from neurodecode.objectives.codebook import TokenizerLoss
from neurodecode.objectives.masked import MaskedCodeLoss, code_accuracy
from tests.models.codebook import plain
from tests.models.codebook.plain import SMALL

CHANNELS = (3, 5)  # of two subjects
B, C, N = 4, 5, 3
T = N * SMALL["patch"]
STILL = {"attention_dropout": 0.0, "dropout": 0.0}


def some_input(batch: int = B, samples: int = T) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, C, samples, generator=generator)
    subject = torch.arange(batch) % 2
    x[subject == 0, 3:] = 0.0
    return x, subject


def tokenizer(n_chans=CHANNELS, seed: int = 0, quantizer=None, **changes) -> CodebookTokenizer:
    torch.manual_seed(seed)
    table = EmaCodebook(9, 7, start_tokens=0) if quantizer is None else quantizer
    return CodebookTokenizer(n_chans, table, decoder_depth=1, **{**SMALL, **changes})


def masked(n_chans=CHANNELS, seed: int = 0, codes: int = 9, groups: int = 1, mirror: bool = True, **changes):
    torch.manual_seed(seed)
    return MaskedEncoder(n_chans, codes, groups, mirror=mirror, **{**SMALL, **changes})


def classifier(n_chans=CHANNELS, seed: int = 0, **changes) -> CodebookClassifier:
    torch.manual_seed(seed)
    return CodebookClassifier(n_chans, 8, T, **{**SMALL, **changes})


class TestPublishedSizes:
    def test_of_the_single_subject_model(self) -> None:
        assert count_parameters(SignalEncoder(10)) == 3_560_416
        stage1 = CodebookTokenizer(10)
        assert count_parameters(stage1) == 5_801_386
        assert stage1.head is not None
        assert stage1.read_out is not None
        assert count_parameters(stage1.head) == 461_600
        assert count_parameters(stage1.read_out) == 170
        assert count_parameters(stage1.decoder) == 4 * 433_152
        assert count_parameters(stage1.encoder.front) == 176 + 39_040 + 256 + 49_280 + 256 + 6_160 + 32
        assert stage1.bottleneck.quantizer.state_dict()["codebook"].shape == (2048, 64)
        stage2 = MaskedEncoder(10)
        assert count_parameters(stage2) == 3_890_304
        assert count_parameters(stage2.head) == 329_728

    def test_of_the_classifier_without_and_with_the_blocks_that_never_learn(self) -> None:
        model = CodebookClassifier(10, 61, 3000)
        assert count_parameters(model) == 4_182_813
        assert count_parameters(model.head) == 622_397
        kept = CodebookClassifier(10, 61, 3000, quantizer=EmaCodebook(2048, 64))
        contrastive = 2 * (160 * 32 + 32)
        assert count_parameters(kept) + contrastive == 4_239_709

    def test_of_the_multi_subject_model(self) -> None:
        model = CodebookClassifier([10] * 12, 61, 3000, front="own")
        assert count_parameters(model.encoder.front) == 12 * 80_432
        # the released one stores besides: quantizer with its table of 1024 rows, counts and flag, contrastive block with
        # its temperature, time code, and the scale of each block's attention
        besides = 46_592 + 1024 * 64 + 1024 + 1 + 10_304 + 1 + 30 * 160 + 8
        assert count_parameters(model) + besides == 5_181_063

    def test_of_every_subject_more(self) -> None:
        one, two = (count_parameters(SignalEncoder(n)) for n in ([10], [10, 7]))
        assert two - one == 7 * 16 + 16

    def test_shapes_along_the_way(self) -> None:
        model = CodebookTokenizer(10).eval()
        x = torch.randn(2, 10, 4000)
        with torch.no_grad():
            tokens = model.encoder.front(x)
            out = model(x)
        assert tokens.shape == (2, 40, 160)
        assert out.codes.shape == (2, 40, 1)
        assert out.reconstruction.shape == x.shape
        assert MaskedEncoder(10)(x).logits.shape == (2, 40, 1, 2048)
        assert CodebookClassifier(10, 61, 3000)(x[:, :, :3000]).shape == (2, 61)


class TestAgainstAPlainRecomputation:
    @pytest.mark.parametrize("gradients", [True, False], ids=["step by step", "folded"])
    def test_the_tokenizer(self, gradients: bool) -> None:
        model = plain.shaken(tokenizer())
        state = plain.state_of(model)
        x, subject = some_input()
        x = x.double()
        with torch.set_grad_enabled(gradients):
            out = model(x, subject)
        losses = []
        for b in range(B):
            s = int(subject[b])
            hidden = plain.encoder(x[b].numpy(), plain.within(state, "encoder"), CHANNELS, s)
            values, codes, loss = plain.bottleneck(hidden, plain.within(state, "bottleneck"))
            losses.append(loss)
            assert out.codes[b, :, 0].tolist() == codes.tolist()
            expected = plain.signal(values, state, CHANNELS, s)
            np.testing.assert_allclose(out.reconstruction[b, : CHANNELS[s]].detach(), expected, atol=1e-6)
            assert (out.reconstruction[b, CHANNELS[s] :] == 0).all()
        assert out.quantizer_loss.item() == pytest.approx(np.mean(losses), rel=1e-6)

    @pytest.mark.parametrize("gradients", [True, False], ids=["step by step", "folded"])
    def test_the_tokenizer_of_several_subjects(self, gradients: bool) -> None:
        model = plain.shaken(tokenizer(front="own"))
        state = plain.state_of(model)
        x, subject = some_input()
        with torch.set_grad_enabled(gradients):
            out = model(x.double(), subject)
        for b in range(B):
            s = int(subject[b])
            patches = plain.within(state, f"encoder.front.patches.{s}")
            own = x[b, : CHANNELS[s]].double().numpy()
            tokens = plain.patch_tokens(own, patches, SMALL["patch"], SMALL["strides"])
            hidden = plain.transformer(tokens, plain.within(state, "encoder.transformer"), SMALL["depth"])
            values, codes, _ = plain.bottleneck(hidden, plain.within(state, "bottleneck"))
            assert out.codes[b, :, 0].tolist() == codes.tolist()
            expected = plain.own_signal(values, state, s)
            np.testing.assert_allclose(out.reconstruction[b, : CHANNELS[s]].detach(), expected, atol=1e-6)

    def test_the_masked_encoder_with_two_separate_views(self) -> None:
        model = plain.shaken(masked())
        state = plain.state_of(model)
        x, subject = some_input()
        mask = random_mask(B, N, generator=torch.Generator().manual_seed(3))
        out = model(x.double(), subject, mask)
        for b in range(B):
            tokens = plain.front(x[b].double().numpy(), plain.within(state, "encoder.front"), CHANNELS, int(subject[b]))
            for view in (mask[b].numpy(), ~mask[b].numpy()):
                seen = np.where(view[:, None], state["hidden_token"], tokens)
                hidden = plain.transformer(seen, plain.within(state, "encoder.transformer"), SMALL["depth"])
                logits = plain.linear(hidden, state, "head")
                np.testing.assert_allclose(out.logits[b, view, 0].detach(), logits[view], atol=1e-6)
        assert out.predicted.all()

    @pytest.mark.parametrize("output", ["logits", "sigmoid"])
    @pytest.mark.parametrize("kept", [False, True])
    def test_the_classifier(self, output: str, kept: bool) -> None:
        quantizer = EmaCodebook(9, 7, start_tokens=0) if kept else None
        model = plain.shaken(classifier(output=output, quantizer=quantizer))
        state = plain.state_of(model)
        x, subject = some_input()
        found = model(x.double(), subject).detach()
        for b in range(B):
            hidden = plain.encoder(x[b].double().numpy(), plain.within(state, "encoder"), CHANNELS, int(subject[b]))
            if kept:
                hidden, _, _ = plain.bottleneck(hidden, plain.within(state, "bottleneck"))
            inner = np.maximum(plain.linear(hidden.reshape(1, -1), state, "head.1"), 0)
            expected = plain.linear(inner, state, "head.3")[0]
            expected = 1 / (1 + np.exp(-expected)) if output == "sigmoid" else expected
            np.testing.assert_allclose(found[b], expected, atol=1e-6)


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

    def test_a_mask_of_another_shape_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"the mask must be \(4, 3\)"):
            masked()(*some_input(), torch.zeros(B, N + 1, dtype=torch.bool))


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
        model.train()
        model(*some_input()).sum().backward()
        assert torch.equal(model.bottleneck.quantizer.codebook, table)
        assert model.bottleneck.before[0].weight.grad.abs().sum() > 0
        assert model.encoder.front.read_in.weight.grad.abs().sum() > 0
        with pytest.raises(ValueError, match="can start from a tokenizer only"):
            model.start_from(masked())

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


class TestSettings:
    def test_presets_build_the_published_sizes(self) -> None:
        first = load_settings(TokenizerSettings, "duin_tokenizer", "configs/models")
        second = load_settings(MaskedEncoderSettings, "duin_masked", "configs/models")
        third = load_settings(ClassifierSettings, "duin_classifier", "configs/models")
        stage1 = build_tokenizer(first, n_chans=10)
        stage2 = build_masked_encoder(second, n_chans=10, quantizer=stage1.bottleneck.quantizer)
        stage3 = build_classifier(third, n_chans=10, n_outputs=61, n_times=3000, sfreq=1000.0)
        assert [count_parameters(m) for m in (stage1, stage2, stage3)] == [5_801_386, 3_890_304, 4_182_813]
        assert first.encoder == second.encoder == third.encoder == CodebookEncoderSettings()
        assert first.encoder.width == stage1.encoder.width == 160

    def test_every_quantizer_can_be_named_and_predicted(self) -> None:
        encoder = CodebookEncoderSettings(**SMALL)
        for kind, cls, groups in [
            ("ema", EmaCodebook, 1),
            ("finite-scalar", FiniteScalar, 1),
            ("product", ProductCodebook, 4),
        ]:
            settings = QuantizerSettings(kind=kind, codes=30, dimension=8, levels=(5, 3, 2), start_tokens=0)
            assert isinstance(build_quantizer(settings), cls)
            stage1 = build_tokenizer(TokenizerSettings(encoder=encoder, quantizer=settings), n_chans=CHANNELS).eval()
            table = stage1.bottleneck.quantizer
            stage2 = build_masked_encoder(MaskedEncoderSettings(encoder=encoder), n_chans=CHANNELS, quantizer=table)
            x, subject = some_input()
            codes, out = stage1.codes(x, subject), stage2(x, subject)
            assert codes.shape == (B, N, groups)
            assert out.logits.shape == (B, N, groups, 30)
            MaskedCodeLoss()(out.logits, codes, out.predicted).backward()
            assert all(p.grad is not None for p in stage2.parameters())


class TestEveryStage:
    @pytest.mark.parametrize("front", ["mix", "own"])
    @pytest.mark.parametrize("stage", [tokenizer, masked, classifier])
    def test_trains_every_parameter_also_in_bfloat16(self, front: str, stage) -> None:
        for half in (False, True):
            model = stage(front=front).train()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                out = model(*some_input())
            parts = [out] if isinstance(out, torch.Tensor) else [p for p in out if p.is_floating_point()]
            loss = sum((p.float() * torch.randn(p.shape)).sum() for p in parts)
            loss.backward()
            without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
            # batch norm takes away what a bias before it adds
            assert [n for n in without if not (".convolutions." in n and n.endswith("bias"))] == []
            assert all(p.grad.isfinite().all() for p in model.parameters())

    @pytest.mark.parametrize("stage", [tokenizer, masked, classifier])
    def test_comes_back_from_its_state_dict(self, stage) -> None:
        model, other = stage().eval(), stage(seed=9).eval()
        other(*some_input())
        other.load_state_dict(model.state_dict())
        arguments = (*some_input(), random_mask(B, N)) if stage is masked else some_input()
        with torch.no_grad():
            one, two = model(*arguments), other(*arguments)
        pairs = [(one, two)] if isinstance(one, torch.Tensor) else list(zip(one, two))
        assert all(torch.equal(a, b) for a, b in pairs)

    @pytest.mark.slow
    @pytest.mark.parametrize("stage", [tokenizer, masked, classifier])
    def test_compiles(self, stage) -> None:
        model = stage(**STILL).eval()
        compiled = torch.compile(model, backend="aot_eager")
        arguments = (*some_input(), random_mask(B, N)) if stage is masked else some_input()
        with torch.no_grad():
            one, two = compiled(*arguments), model(*arguments)
        if not isinstance(one, torch.Tensor):
            one, two = one[0], two[0]
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
        model.train()
        out = compiled(*arguments)
        (out if isinstance(out, torch.Tensor) else out[0]).sum().backward()

    def test_targets_come_from_evaluation_mode_only(self) -> None:
        model = tokenizer()
        with pytest.raises(RuntimeError, match="evaluation mode only"):
            model.codes(*some_input())
        x, subject = some_input()
        codes = model.eval().codes(x, subject)
        assert torch.equal(codes, model(x, subject).codes)
        torch.testing.assert_close(model.decode(codes, subject), model(x, subject).reconstruction)


def planted(batch: int, seed: int, ordered: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows made of four wave forms: [B, 3, 6 patches], and which stands where, [B, 6].

    They follow each other in a fixed order from a random one on, or in none.
    """
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(0, 4, (batch, 1), generator=generator)
    which = (first + torch.arange(6)) % 4 if ordered else torch.randint(0, 4, (batch, 6), generator=generator)
    forms = torch.randn(4, 3, 20, generator=torch.Generator().manual_seed(99))
    x = forms[which].transpose(1, 2).flatten(2)  # [B, 6, 3, 20] -> [B, 3, 120]
    return x + 0.3 * torch.randn(x.shape, generator=generator), which


def test_the_stages_learn_a_planted_order() -> None:
    shape = {**SMALL, **STILL, "filters": (16, 16, 8)}
    torch.manual_seed(0)
    stage1 = CodebookTokenizer(3, EmaCodebook(8, 8, decay=0.9), decoder_depth=1, **shape).train()
    optimiser = torch.optim.AdamW(stage1.parameters(), lr=1e-2)
    losses = []
    for step in range(300):
        # without an order: with one, a decoder can tell a wave form by its neighbours and needs no code for it
        x, _ = planted(32, step, ordered=False)
        out = stage1(x)
        loss = TokenizerLoss()(out.reconstruction, x, out.quantizer_loss)
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
        losses.append(loss.reconstruction.item())
    assert losses[0] > 0.9
    assert losses[-1] < 0.15  # the noise alone is 0.09
    stage1.eval()
    x, which = planted(64, 1000)
    codes = stage1.codes(x)[..., 0]
    # a code tells the wave form
    right = sum(int(which[codes == c].bincount().max()) for c in codes.unique())
    assert right / codes.numel() > 0.95

    stage2 = MaskedEncoder(3, 8, **shape).train()
    optimiser = torch.optim.AdamW(stage2.parameters(), lr=3e-3)
    for step in range(150):
        x, _ = planted(32, step)
        predicted = stage2(x)
        loss = MaskedCodeLoss()(predicted.logits, stage1.codes(x), predicted.predicted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x, _ = planted(64, 1000)
    accuracy = code_accuracy(stage2.eval()(x).logits, stage1.codes(x))
    assert accuracy > 0.6  # several codes may stand for one form; chance is 1 / 8
    x = torch.randn(64, 3, 120)
    assert code_accuracy(stage2(x).logits, torch.randint(0, 8, (64, 6, 1))) < 0.25

    def trained(start: MaskedEncoder | None) -> float:
        torch.manual_seed(1)
        model = CodebookClassifier(3, 4, 120, **shape)
        if start is not None:
            model.start_from(start)
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
        for step in range(20):
            x, which = planted(16, step)
            loss = functional.cross_entropy(model(x), which[:, 0])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        x, which = planted(200, 1000)
        return (model.eval()(x).argmax(1) == which[:, 0]).float().mean().item()

    assert trained(stage2) > 0.9


def test_a_sigmoid_before_cross_entropy_has_a_floor_and_logits_have_none() -> None:
    target = torch.tensor([3])
    perfect = torch.full((1, 61), -100.0)
    perfect[0, 3] = 100.0
    assert functional.cross_entropy(perfect, target).item() == pytest.approx(0.0)
    assert functional.cross_entropy(perfect.sigmoid(), target).item() == pytest.approx(math.log(1 + 60 / math.e))
    model = classifier()
    with torch.no_grad():
        model.head[-1].weight.mul_(1e4)
        out = model(*some_input())
    assert out.abs().max() > 1
    assert CodebookClassifier(3, 8, T, **SMALL).head[-1].__class__ is torch.nn.Linear


def test_braindecode_trains_the_classifier() -> None:
    from braindecode import EEGClassifier

    x, which = planted(48, 0)
    torch.manual_seed(0)
    net = EEGClassifier(
        CodebookClassifier,
        **{f"module__{k}": v for k, v in {**SMALL, **STILL}.items()},
        optimizer=torch.optim.AdamW,
        lr=3e-3,
        max_epochs=15,
        batch_size=16,
        train_split=None,
        classes=[0, 1, 2, 3],
        verbose=0,
    )
    net.fit(x.numpy(), which[:, 0].numpy())
    assert net.predict_proba(x.numpy()).shape == (48, 4)
    assert (net.predict(x.numpy()) == which[:, 0].numpy()).mean() > 0.8
