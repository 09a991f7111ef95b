"""Controls ask the right question: shuffled pairs reveal what a recording gives away, random groups that averaging does not."""

from __future__ import annotations

import numpy as np
import pytest

from neurodecode.errors import NeurodecodeError
from neurodecode.evaluation.retrieval.metrics import Scores, rank, retrieval_metrics
from neurodecode.evaluation.retrieval.pooled import pool, pool_random_groups
from neurodecode.evaluation.retrieval.questions import Questions
from neurodecode.evaluation.runs.baseline import turned_rows
from neurodecode.evaluation.runs.controls import Control, shuffled
from tests.evaluation.test_retrieval import toy


def shuffled_toy(scores: Scores) -> Control:
    n = len(scores.query_identity)
    identities = scores.query_identity, scores.candidate_identity
    questions = Questions(
        *(np.arange(n), np.zeros(n, int), np.arange(len(scores.candidate_identity))),
        *identities,
        scores.queries,
        scores.candidates,
        overlapping=False,
        unit=scores.query_identity,
        seen=True,
    )
    return shuffled(scores, questions, seed=0)


def test_shuffled_pairs_of_a_perfect_decoder_are_a_hair_below_chance() -> None:
    control = shuffled_toy(toy(np.eye(40), np.arange(40), np.arange(40)))
    metrics = retrieval_metrics(control.ranking)
    assert metrics["top1"]["value"] == 0
    assert 0.45 < metrics["match_mismatch"]["value"] < 0.5


def test_shuffled_pairs_reveal_a_decoder_that_only_knows_the_recording() -> None:
    rng = np.random.default_rng(0)
    recording = np.repeat([0, 1, 2, 3], 10)
    matrix = 10.0 * (recording[:, None] == recording[None, :]) + rng.normal(size=(40, 40))
    control = shuffled_toy(toy(matrix, np.arange(40), np.arange(40), recording))
    assert retrieval_metrics(control.ranking)["match_mismatch"]["value"] > 0.8


def test_nobody_is_shuffled_onto_a_copy_of_its_own_segment() -> None:
    identity = np.repeat(np.arange(4), 5)
    matrix = np.eye(4)[identity]
    control = shuffled_toy(toy(matrix, identity, np.arange(4)))
    assert control.ranking.better.min() == 1  # the right segment is never the one that is asked for


def test_a_recording_with_one_segment_cannot_be_shuffled() -> None:
    with pytest.raises(NeurodecodeError, match="shuffled needs a recording with two different segments"):
        shuffled_toy(toy(np.eye(3), np.arange(3), np.arange(3), recording=np.arange(3)))


def test_turned_rows_stay_in_their_recording_and_far_from_their_place() -> None:
    recording = np.repeat([0, 1], 50)
    rows = np.arange(100)
    partner = turned_rows(rows, recording, seed=3)
    assert sorted(partner) == rows.tolist()
    assert np.array_equal(recording[partner], recording)
    distance = np.minimum((partner - rows) % 50, (rows - partner) % 50)
    assert distance.min() >= 10
    assert distance[0] != distance[-1]  # each recording has a turn of its own


def test_pooling_is_the_mean_of_the_rows_of_a_segment() -> None:
    rng = np.random.default_rng(1)
    identity = np.array([3, 1, 3, 2, 3])
    matrix = rng.normal(size=(5, 3)).astype(np.float32)
    together, sizes = pool(toy(matrix, identity, np.array([1, 2, 3])))
    assert together.query_identity.tolist() == [1, 2, 3]
    assert sizes.tolist() == [1, 1, 3]
    assert together.scores[2] == pytest.approx(matrix[[0, 2, 4]].mean(0), abs=1e-6)


def test_pooling_takes_noise_out_that_random_groups_keep() -> None:
    rng = np.random.default_rng(2)
    identity = np.tile(np.arange(30), 8)
    scores = toy(np.eye(30)[identity] + rng.normal(size=(240, 30)), identity, np.arange(30))
    single = retrieval_metrics(rank(scores))["top1"]["value"]
    pooled = retrieval_metrics(rank(pool(scores)[0]))["top1"]["value"]
    grouped, sizes = pool_random_groups(scores, seed=0)
    random = retrieval_metrics(rank(grouped))["top1"]["value"]
    assert sizes.tolist() == [8] * 30
    assert pooled > single + 0.2
    assert random < single


def test_segments_heard_once_cannot_be_pooled() -> None:
    scores = toy(np.eye(4), np.arange(4), np.arange(4))
    assert pool(scores) is None
    assert pool_random_groups(scores, seed=0) is None
