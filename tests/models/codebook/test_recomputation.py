"""The three stages against a plain recomputation in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurodecode.models.codebook.masked import random_mask
from neurodecode.models.layers.quantizer import EmaCodebook
from tests.models.codebook import plain
from tests.models.codebook.networks import CHANNELS, B, N, classifier, masked, some_input, tokenizer
from tests.models.codebook.plain import SMALL


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
