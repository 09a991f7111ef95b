"""Published sizes of the three stages, and settings that build them."""

from __future__ import annotations

import torch

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
from neurodecode.models.codebook.masked import MaskedEncoder
from neurodecode.models.codebook.tokenizer import CodebookTokenizer
from neurodecode.models.layers.quantizer import EmaCodebook
from neurodecode.models.layers.quantizer_grid import FiniteScalar
from neurodecode.models.layers.quantizer_product import ProductCodebook
from neurodecode.models.layers.quantizer_shared import SharedPrivateCodebook
from neurodecode.objectives.masked import MaskedCodeLoss
from tests.models.codebook.networks import CHANNELS, B, N, some_input
from tests.models.codebook.plain import SMALL


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
            shared = model.encoder.front.read_in(x)
            tokens = model.encoder.front(x)
            out = model(x)
            assert model.head(model.bottleneck.decode(out.codes)).shape == shared.shape == (2, 16, 4000)
        assert tokens.shape == (2, 40, 160)
        assert out.codes.shape == (2, 40, 1)
        assert out.reconstruction.shape == x.shape
        assert MaskedEncoder(10)(x).logits.shape == (2, 40, 1, 2048)
        assert CodebookClassifier(10, 61, 3000)(x[:, :, :3000]).shape == (2, 61)


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
        for kind, cls, groups, entries in [
            ("ema", EmaCodebook, 1, 30),
            ("finite-scalar", FiniteScalar, 1, 30),
            ("product", ProductCodebook, 4, 30),
            ("shared-private", SharedPrivateCodebook, 1, 30 + 2 * 5),  # of two subjects
        ]:
            settings = QuantizerSettings(kind=kind, codes=30, private=5, dimension=8, levels=(5, 3, 2), start_tokens=0)
            assert isinstance(build_quantizer(settings, len(CHANNELS)), cls)
            stage1 = build_tokenizer(TokenizerSettings(encoder=encoder, quantizer=settings), n_chans=CHANNELS).eval()
            table = stage1.bottleneck.quantizer
            stage2 = build_masked_encoder(MaskedEncoderSettings(encoder=encoder), n_chans=CHANNELS, quantizer=table)
            x, subject = some_input()
            codes, out = stage1.codes(x, subject), stage2(x, subject)
            assert codes.shape == (B, N, groups)
            assert out.logits.shape == (B, N, groups, entries)
            MaskedCodeLoss()(out.logits, codes, out.predicted).backward()
            assert all(p.grad is not None for p in stage2.parameters())
