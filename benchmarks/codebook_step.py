"""CPU seconds of a training step of each codebook stage, beside the released code: forward, backward, AdamW.

Published sizes: 10 channels of one subject, 2048 codes, 61 words, 3 s at 1000 Hz, float32; the masked stage includes the frozen
tokenizer. All ways start from the same weights (those of the released network, where its code is given), so the first table
compares the losses without dropout. bfloat16 is autocast; weights, sums and the table of codes stay float32.

OMP_NUM_THREADS=1 python benchmarks/codebook_step.py [windows a batch, 32 by default] [checkout of liulab-repository/Du-IN]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from side_by_side import side_by_side
from torch import nn
from torch.nn import functional

from neurodecode.models.codebook.classifier import CodebookClassifier
from neurodecode.models.codebook.masked import MaskedEncoder
from neurodecode.models.codebook.released import from_released
from neurodecode.models.codebook.tokenizer import CodebookTokenizer
from neurodecode.objectives.codebook import TokenizerLoss
from neurodecode.objectives.masked import MaskedCodeLoss

CHANNELS, TIMES, CODES, WORDS, ROUNDS = 10, 3000, 2048, 61, 5
Loss = Callable[[], torch.Tensor]


def main() -> None:
    windows = int(sys.argv[1]) if len(sys.argv) > 1 else 32
    torch.manual_seed(0)
    x = torch.randn(windows, CHANNELS, TIMES)
    words = torch.randint(0, WORDS, (windows,))
    theirs = released(sys.argv[2], x, words) if len(sys.argv) > 2 else {}
    networks = {
        "tokenizer": CodebookTokenizer(CHANNELS),
        "masked": MaskedEncoder(CHANNELS),
        "classifier": CodebookClassifier(CHANNELS, WORDS, TIMES, output="sigmoid"),
    }
    for name, (model, _) in theirs.items():
        state = {key: value.clone() for key, value in model.state_dict().items()}
        networks[name] = from_released(state).model  # type: ignore[assignment]
    tokenizer = networks["tokenizer"]
    assert isinstance(tokenizer, CodebookTokenizer)
    table: Any = tokenizer.bottleneck.quantizer
    table.started.fill_(True)  # k-means is once a training, not once a step
    table._started = True
    ours = losses(networks, x, words)
    autocast = torch.autocast("cpu", torch.bfloat16)
    print(f"{windows} windows of {TIMES} samples, {torch.get_num_threads()} thread(s), torch {torch.__version__}")
    for name, loss in ours.items():
        with torch.no_grad():
            networks[name].eval()
            torch.manual_seed(1)
            found = {"here, float32": float(loss())}
            torch.manual_seed(1)
            with autocast:
                found["here, bfloat16"] = float(loss())
            if name in theirs:
                model, their_loss = theirs[name]
                model.eval()
                torch.manual_seed(1)
                found["released"] = float(their_loss())
        print(f"{name:<12} loss without dropout: " + ", ".join(f"{way} {value:.5f}" for way, value in found.items()))
    for name, loss in ours.items():
        ways = {"released code, float32": step(*theirs[name])} if name in theirs else {}
        ways["here, float32"] = step(networks[name], loss)
        ways["here, bfloat16"] = step(networks[name], loss, autocast)
        side_by_side(f"{name}, {windows} windows", ways, ROUNDS)


def step(model: nn.Module, loss: Loss, context: AbstractContextManager | None = None) -> Callable[[], None]:
    """One update of all weights."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=context is not None or None)

    def update() -> None:
        model.train()
        optimizer.zero_grad()
        if context is None:
            value = loss()
        else:
            with context:
                value = loss()
        value.backward()
        optimizer.step()

    return update


def losses(networks: dict[str, Any], x: torch.Tensor, words: torch.Tensor) -> dict[str, Loss]:
    """Of each stage, on one batch."""
    tokenizer, masked, classifier = (networks[name] for name in ("tokenizer", "masked", "classifier"))
    reconstruct, predict = TokenizerLoss(), MaskedCodeLoss()

    def first() -> torch.Tensor:
        found = tokenizer(x)
        return reconstruct(found.reconstruction, x, found.quantizer_loss).total

    def second() -> torch.Tensor:
        tokenizer.eval()
        found = masked(x)
        return predict(found.logits, tokenizer.codes(x), found.predicted)

    def third() -> torch.Tensor:
        return functional.cross_entropy(classifier(x).float(), words)

    return {"tokenizer": first, "masked": second, "classifier": third}


def released(checkout: str, x: torch.Tensor, words: torch.Tensor) -> dict[str, tuple[nn.Module, Loss]]:
    """The three networks of the released code, with their own losses."""
    sys.path.insert(0, os.path.abspath(checkout))
    from models.duin import duin_cls, duin_mae, duin_vqvae  # type: ignore[import-not-found]
    from params.duin_params import (  # type: ignore[import-not-found]
        duin_cls_params,
        duin_mae_params,
        duin_vqvae_params,
    )

    signal, whose = x.transpose(1, 2).contiguous(), torch.ones(len(x), 1)
    names = functional.one_hot(words, WORDS).float()
    present = torch.ones(len(x), CHANNELS, dtype=torch.bool)
    sizes = [
        parameters(dataset="seeg_he2023xuanwu").model
        for parameters in (duin_vqvae_params, duin_mae_params, duin_cls_params)
    ]
    for model in sizes:
        model.n_subjects = model.subj.n_subjects = 1
        model.n_channels = model.subj.d_input = CHANNELS
        model.seq_len = TIMES
        model.encoder.emb_len = model.tokenizer.token_len = TIMES // model.tokenizer.seg_len
    sizes[0].desubj.n_subjects, sizes[0].desubj.d_output, sizes[0].decoder.emb_len = 1, CHANNELS, TIMES // 100
    sizes[2].cls.d_feature, sizes[2].cls.n_labels = TIMES // 100 * 160, WORDS
    tokenizer, masked, classifier = duin_vqvae(sizes[0]), duin_mae(sizes[1]), duin_cls(sizes[2])
    for network in (tokenizer, classifier):  # the first call of k-means is once a training
        network.vq_block.codex.initted.data.fill_(1.0)

    def second() -> torch.Tensor:
        tokenizer.eval()
        with torch.no_grad():
            codes = tokenizer.quantize((signal, whose))[2]
        return masked((signal, codes, whose))[1].total

    return {
        "tokenizer": (tokenizer, lambda: tokenizer((signal, whose, present))[1].total),
        "masked": (masked, second),
        "classifier": (classifier, lambda: classifier((signal, names, whose))[1].total),
    }


if __name__ == "__main__":
    main()
