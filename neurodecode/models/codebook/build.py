"""From settings and the sizes that data have to the networks of the codebook-guided masked encoder.

    tokenizer = build_tokenizer(settings, n_chans=10)
    masked = build_masked_encoder(settings, n_chans=10, quantizer=tokenizer.bottleneck.quantizer)
    classifier = build_classifier(settings, n_chans=10, n_outputs=61, n_times=3000)

`n_chans` is a number, or one for each subject.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from neurodecode.config import ClassifierSettings, MaskedEncoderSettings, QuantizerSettings, TokenizerSettings
from neurodecode.models.codebook.classifier import CodebookClassifier
from neurodecode.models.codebook.classifier_levels import LevelClassifier
from neurodecode.models.codebook.masked import MaskedEncoder
from neurodecode.models.codebook.tokenizer import CodebookTokenizer
from neurodecode.models.layers.quantizer import EmaCodebook, Quantizer
from neurodecode.models.layers.quantizer_grid import FiniteScalar
from neurodecode.models.layers.quantizer_product import ProductCodebook
from neurodecode.models.layers.quantizer_shared import SharedPrivateCodebook


def build_quantizer(settings: QuantizerSettings, n_subjects: int = 1) -> Quantizer:
    """The table that `settings.kind` names; only one with private rows asks for the number of subjects."""
    if settings.kind == "finite-scalar":
        return FiniteScalar(settings.levels)
    learning = settings.model_dump(include={"decay", "commitment", "start_tokens", "revive_below", "start_after"})
    if settings.kind == "product":
        return ProductCodebook(
            settings.codes, settings.dimension, settings.groups, decorrelation=settings.decorrelation, **learning
        )
    if settings.kind == "shared-private":
        return SharedPrivateCodebook(settings.codes, settings.private, settings.dimension, n_subjects, **learning)
    return EmaCodebook(settings.codes, settings.dimension, **learning)


def _subjects(n_chans: int | Sequence[int]) -> int:
    return 1 if isinstance(n_chans, int) else len(n_chans)


def build_tokenizer(settings: TokenizerSettings, *, n_chans: int | Sequence[int]) -> CodebookTokenizer:
    """Stage 1."""
    return CodebookTokenizer(
        n_chans,
        build_quantizer(settings.quantizer, _subjects(n_chans)),
        decoder_depth=settings.decoder_depth,
        **settings.encoder.model_dump(),
    )


def build_masked_encoder(
    settings: MaskedEncoderSettings, *, n_chans: int | Sequence[int], quantizer: Quantizer | None
) -> MaskedEncoder:
    """Stage 2; `quantizer` is the tokenizer's, which says what there is to predict. Patches need none.

    Raises
    ------
    ValueError
        If it is missing, or embeddings are asked of a grid, whose points a cosine does not tell apart.
    """
    shape: dict[str, Any] = {}
    if settings.target != "patches":
        if quantizer is None:
            raise ValueError(f"target {settings.target} needs the tokenizer's quantizer")
        if settings.target == "embeddings" and isinstance(quantizer, FiniteScalar):
            raise ValueError(
                "target embeddings: points of a finite-scalar grid differ in length, which a cosine does not see; use codes"
            )
        shape = {"codes": quantizer.codes, "groups": quantizer.groups, "dimension": quantizer.dimension}
    return MaskedEncoder(
        n_chans,
        target=settings.target,
        **shape,
        mask_ratio=settings.mask_ratio,
        mirror=settings.mirror,
        **settings.encoder.model_dump(),
    )


def build_classifier(
    settings: ClassifierSettings,
    *,
    n_chans: int | Sequence[int],
    n_outputs: int,
    n_times: int,
    sfreq: float | None = None,
    levels: Sequence[int] = (),
    composition: Sequence[Sequence[int]] | None = None,
) -> CodebookClassifier:
    """Stage 3, untrained: `CodebookClassifier.start_from` takes over what an earlier stage learnt.

    `levels` and `composition` add heads below the word, see `classifier_levels.LevelClassifier`.
    """
    quantizer = settings.quantizer
    shape: dict[str, Any] = {
        "sfreq": sfreq,
        "hidden": settings.hidden,
        "output": settings.output,
        "head_dropout": settings.head_dropout,
        "quantizer": None if quantizer is None else build_quantizer(quantizer, _subjects(n_chans)),
        **settings.encoder.model_dump(),
    }
    if not levels:
        return CodebookClassifier(n_chans, n_outputs, n_times, **shape)
    numbers = None if composition is None else torch.tensor(composition)
    return LevelClassifier(n_chans, n_outputs, n_times, levels=levels, composition=numbers, **shape)
