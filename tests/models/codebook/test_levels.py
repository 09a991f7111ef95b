"""Heads below the word: one encoder, words as without them, and words composed of levels."""

from __future__ import annotations

import pytest
import torch

from neurodecode.config import ClassifierSettings
from neurodecode.models.codebook.build import build_classifier
from neurodecode.models.codebook.classifier import CodebookClassifier
from neurodecode.models.codebook.classifier_levels import LevelClassifier, compose
from tests.models.codebook.networks import CHANNELS, T, classifier, masked, some_input
from tests.models.codebook.plain import SMALL

LEVELS = (3, 5)
WORDS = torch.tensor([[0, 4], [2, 1], [1, 0], [2, -1]])


def with_levels(n_outputs: int = 8, composition: torch.Tensor | None = None, **changes) -> LevelClassifier:
    torch.manual_seed(0)
    shape = {**SMALL, **changes}
    return LevelClassifier(CHANNELS, n_outputs, T, levels=LEVELS, composition=composition, **shape)


def test_words_are_answered_as_without_levels_from_the_same_seed() -> None:
    alone, model = classifier().eval(), with_levels().eval()
    theirs = alone.state_dict()
    assert [k for k, v in model.state_dict().items() if k in theirs and not torch.equal(v, theirs[k])] == []
    assert {k.split(".")[0] for k in model.state_dict().keys() - theirs.keys()} == {"levels"}
    x, subject = some_input()
    assert torch.equal(model(x, subject), alone(x, subject))
    assert [tuple(level.shape) for level in model.answer(x, subject).levels] == [(4, 3), (4, 5)]


def test_each_level_reads_the_tokens_through_its_own_head() -> None:
    model = with_levels().eval()
    x, subject = some_input()
    before = model.answer(x, subject)
    with torch.no_grad():
        model.levels[1][-1].bias += 1.0
    after = model.answer(x, subject)
    assert torch.equal(before.words, after.words)
    assert torch.equal(before.levels[0], after.levels[0])
    torch.testing.assert_close(after.levels[1], before.levels[1] + 1.0)


def test_a_composed_score_is_the_sum_of_the_values_log_probabilities() -> None:
    first = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 4.0]])
    second = torch.tensor([[0.0, 0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0, 0.0]])
    scores = compose([first, second], WORDS)
    one, other = first.softmax(1), second.softmax(1)
    for window in range(2):
        for word, (k, m) in enumerate(WORDS[:3].tolist()):
            assert scores[window, word].exp().item() == pytest.approx((one[window, k] * other[window, m]).item())
    assert (scores[:, 3] == -torch.inf).all()
    assert scores.argmax(1).tolist() == [0, 1]


def test_over_all_combinations_of_values_composed_scores_are_probabilities() -> None:
    every = torch.cartesian_prod(torch.arange(3), torch.arange(5))
    scores = compose([torch.randn(4, 3), torch.randn(4, 5)], every)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(4))


def test_a_network_that_composes_has_no_head_for_words_and_keeps_no_words_in_its_weights() -> None:
    model = with_levels(4, WORDS).eval()
    assert {name.split(".")[0] for name in model.state_dict()} == {"encoder", "levels"}
    x, subject = some_input()
    answers = model.answer(x, subject)
    assert torch.equal(answers.words, compose(answers.levels, WORDS))
    more = with_levels(2, WORDS[:2]).eval()
    more.load_state_dict(model.state_dict())  # other words from the same weights
    assert torch.equal(more(x, subject), answers.words[:, :2])
    answers.words[:, 0].sum().backward()
    assert all(p.grad is not None for p in model.levels.parameters())


def test_the_encoder_of_an_earlier_stage_is_taken_over() -> None:
    model, earlier = with_levels(), masked(seed=3)
    model.start_from(earlier)
    assert all(torch.equal(v, earlier.encoder.state_dict()[k]) for k, v in model.encoder.state_dict().items())


def test_settings_and_sizes_build_it() -> None:
    sizes = {"n_chans": 3, "n_outputs": 4, "n_times": 200}
    assert type(build_classifier(ClassifierSettings(), **sizes)) is CodebookClassifier
    model = build_classifier(ClassifierSettings(hidden=(7,)), **sizes, levels=[2, 3], composition=[[0, 0], [1, 2]] * 2)
    assert isinstance(model, LevelClassifier)
    assert [head[1].out_features for head in model.levels] == [7, 7]
    assert model.composition.tolist() == [[0, 0], [1, 2]] * 2
    with pytest.raises(ValueError, match=r"composition is \(2, 2\), not \(words, levels\): \(4, 2\)"):
        build_classifier(ClassifierSettings(), **sizes, levels=[2, 3], composition=[[0, 0], [1, 2]])
