"""The stages learn a planted order, also through braindecode."""

from __future__ import annotations

import torch
from torch.nn import functional

from neurodecode.models.codebook.classifier import CodebookClassifier
from neurodecode.models.codebook.masked import MaskedEncoder
from neurodecode.models.codebook.tokenizer import CodebookTokenizer
from neurodecode.models.layers.quantizer import EmaCodebook
from neurodecode.objectives.codebook import TokenizerLoss
from neurodecode.objectives.masked import MaskedCodeLoss, code_accuracy
from tests.models.codebook.networks import STILL
from tests.models.codebook.plain import SMALL


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
