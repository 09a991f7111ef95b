"""Rows that all subjects share and rows of each alone: whose rows a token may take, how both start, learn and hand on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from neurodecode.models.codebook.tokenizer import Bottleneck
from neurodecode.models.layers.quantizer import EmaCodebook
from neurodecode.models.layers.quantizer_shared import SharedPrivateCodebook

SHARED, PRIVATE, D, S = 6, 2, 4, 3
MINE = {s: list(range(SHARED)) + [SHARED + s * PRIVATE + k for k in range(PRIVATE)] for s in range(S)}


def table(seed: int = 0, n_subjects: int = S, **settings) -> SharedPrivateCodebook:
    torch.manual_seed(seed)
    return SharedPrivateCodebook(SHARED, PRIVATE, D, n_subjects, **{"start_tokens": 0, "revive_below": 0, **settings})


def some(count: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = functional.normalize(torch.randn(count, D, generator=generator), dim=1)
    return z, torch.randint(S, (count,), generator=generator)


def own(z: torch.Tensor, subject: torch.Tensor, rows: torch.Tensor) -> list[int]:
    """Row of each token, one by one."""
    return [max(MINE[s], key=lambda k: float(rows[k] @ token)) for token, s in zip(z, subject.tolist())]


def test_a_token_takes_the_nearest_of_the_shared_rows_and_its_subjects_own(monkeypatch) -> None:
    quantizer = table().eval()
    z, subject = some(200)
    found = quantizer(z, subject)
    expected = own(z, subject, quantizer.codebook)
    assert found.codes[:, 0].tolist() == expected
    assert {k < SHARED for k in expected} == {True, False}
    monkeypatch.setattr("neurodecode.models.layers.quantizer_shared.CHUNK", 7 * quantizer.codes)  # pieces of 7 tokens
    assert torch.equal(quantizer(z, subject).codes, found.codes)
    # a subject for each window of tokens
    windows = quantizer(z[:12].view(3, 4, D), torch.tensor([2, 0, 1]))
    assert windows.codes[..., 0].flatten().tolist() == own(
        z[:12], torch.tensor([2, 0, 1]).repeat_interleave(4), quantizer.codebook
    )


def test_whose_tokens_are_must_be_said_unless_there_is_one_subject() -> None:
    z, subject = some(12)
    quantizer = table()
    for whose in (None, subject[:5]):
        with pytest.raises(ValueError, match=r"of 3 subjects: say whose each is, \[12\], got"):
            quantizer(z, whose)
    alone = table(n_subjects=1).eval()
    assert torch.equal(alone(z).codes, alone(z, torch.zeros(12, dtype=torch.long)).codes)
    assert alone(z).codes.max() >= SHARED


def test_someone_unknown_has_the_shared_rows_only() -> None:
    quantizer = table().eval()
    z, _ = some(200)
    for whose in (-1, S):
        codes = quantizer(z, torch.full((200,), whose)).codes[:, 0]
        assert codes.tolist() == (z @ quantizer.codebook[:SHARED].T).argmax(1).tolist()


def test_a_step_of_learning_agrees_with_a_plain_recomputation_and_leaves_absent_subjects_alone() -> None:
    quantizer = table(decay=0.9, commitment=0.25).train()
    quantizer.hits.fill_(2.0)
    z, subject = some(40)
    subject = 2 * (subject > 0)  # subject 1 is absent
    rows = quantizer.codebook.double().numpy().copy()
    found = quantizer(z, subject)
    index = np.array(own(z, subject, torch.from_numpy(rows).float()))
    u = z.double().numpy()
    assert found.loss.item() == pytest.approx(0.25 * ((u - rows[index]) ** 2).mean(), rel=1e-5)
    before = rows.copy()
    for k in range(len(rows)):
        mine = u[index == k]
        if len(mine):
            rows[k] = 0.9 * rows[k] + 0.1 * mine.mean(0) / np.linalg.norm(mine.mean(0))
            rows[k] /= np.linalg.norm(rows[k])
        assert quantizer.hits[k].item() == pytest.approx(0.9 * 2.0 + 0.1 * len(mine))
    np.testing.assert_allclose(quantizer.codebook, rows, atol=1e-6)
    absent = [SHARED + PRIVATE, SHARED + PRIVATE + 1]
    np.testing.assert_allclose(rows[absent], before[absent])
    assert not np.allclose(rows[:SHARED], before[:SHARED])


class TestTheStart:
    def test_shared_rows_first_then_each_subjects_own_from_its_strangest_tokens(self) -> None:
        quantizer = table(start_tokens=24).train()  # 8 of a subject for its 2 rows
        z, _ = some(22)
        first, second = torch.tensor([0] * 15 + [1] * 7), torch.tensor([1] * 2 + [2] * 20)
        assert quantizer(z, first).codes.max() < SHARED
        assert quantizer.started.tolist() == [False] * 4
        other, _ = some(22, seed=2)
        quantizer(other, second)
        assert quantizer.started.tolist() == [True] * 4
        torch.testing.assert_close(quantizer.codebook.norm(dim=1), torch.ones(len(quantizer.codebook)))

    def test_private_rows_stand_where_shared_ones_are_far(self) -> None:
        quantizer = table(n_subjects=2, start_tokens=24, decay=0.999).train()
        axes = torch.eye(D)
        generator = torch.Generator().manual_seed(0)
        near = functional.normalize(axes[0] + 0.3 * torch.randn(60, D, generator=generator), dim=1)
        far = functional.normalize(-axes[1] + 0.1 * torch.randn(8, D, generator=generator), dim=1)
        quantizer(near, torch.zeros(60, dtype=torch.long))
        assert quantizer.started.tolist() == [True, True, False]
        quantizer(torch.cat([near[:8], far]), torch.ones(16, dtype=torch.long))
        assert quantizer.started.all()
        assert (quantizer.codebook[-PRIVATE:] @ -axes[1] > 0.8).all()
        assert (quantizer.codebook[:-PRIVATE] @ -axes[1] < 0.8).all()

    def test_waits_for_training_mode_and_until_then_has_no_private_rows(self) -> None:
        quantizer = table(start_tokens=6).eval()
        z, subject = some(60)
        rows = quantizer.codebook.clone()
        assert quantizer(z, subject).codes.max() < SHARED
        assert not quantizer.started.any()
        assert torch.equal(quantizer.codebook, rows)

    def test_goes_on_with_the_tokens_that_waited_when_it_was_saved(self) -> None:
        quantizer, other = (table(seed=seed, start_tokens=24, n_subjects=2).train() for seed in (0, 5))
        z, _ = some(30)
        quantizer(z, torch.tensor([0] * 25 + [1] * 5))  # 3 fewer than subject 1 needs
        assert quantizer.started.tolist() == [True, True, False]
        other.load_state_dict(quantizer.state_dict())
        more, _ = some(4, seed=2)
        for one in (quantizer, other):
            torch.manual_seed(3)
            one(more, torch.ones(4, dtype=torch.long))
        assert other.started.all()
        for key, value in quantizer.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key
        assert len(quantizer.get_extra_state()) == 0

    def test_too_few_tokens_are_refused(self) -> None:
        with pytest.raises(ValueError, match="start_tokens is 5: k-means of 6 rows needs as many"):
            table(start_tokens=5)


class TestRevival:
    def test_puts_dead_rows_on_distinct_tokens_and_private_ones_on_their_subjects(self) -> None:
        quantizer = table(revive_below=0.03).train()
        quantizer.hits.fill_(4.0)
        shown = [10.0, 8.0, 12.0]
        quantizer.shown[:] = torch.tensor(shown)
        dead = [0, 3, SHARED, SHARED + 2 * PRIVATE + 1]  # two shared rows, one of subject 0, one of subject 2
        quantizer.hits[dead] = 0.0
        quantizer.codebook[dead] = 0.0  # nothing else is on a token
        z, _ = some(30)
        subject = torch.tensor([0] * 10 + [1] * 8 + [2] * 12)  # what was shown so far
        quantizer(z, subject)
        at = (quantizer.codebook[dead] @ z.T - 1).abs() < 1e-6  # [4, 30]
        assert at.sum(1).tolist() == [1] * 4
        token = at.long().argmax(1)
        assert len(set(token.tolist())) == 4
        assert subject[token[2:]].tolist() == [0, 2]
        # as if tokens were spread evenly over the 8 rows of a subject
        assert quantizer.hits[dead].tolist() == pytest.approx([30 / 8, 30 / 8, shown[0] / 8, shown[2] / 8])

    def test_a_row_is_dead_by_what_its_own_subject_shows(self) -> None:
        quantizer = table(revive_below=0.1, decay=0.999).train()
        quantizer.shown[:] = torch.tensor([80.0, 8.0, 8.0])
        quantizer.hits[:] = torch.tensor([12.0] * SHARED + [2.0] * PRIVATE + [0.2] * (2 * PRIVATE))
        rows = quantizer.codebook.clone()
        quantizer(*some(10))
        assert (quantizer.codebook - rows).norm(dim=1).max() < 0.01  # 0.2 is above a tenth of 8 / 8, 2 of 80 / 8
        quantizer.hits[SHARED] = 0.5
        quantizer.codebook[SHARED] = 0.0
        z, _ = some(10)
        quantizer(z, torch.ones(10, dtype=torch.long))
        assert quantizer.codebook[SHARED].norm() == 0  # no token of subject 0: it waits
        quantizer(z, torch.zeros(10, dtype=torch.long))
        assert quantizer.codebook[SHARED].norm() == pytest.approx(1)

    def test_a_table_that_its_subject_leaves_altogether_comes_back(self) -> None:
        def hit(revive_below: float) -> int:
            quantizer = table(revive_below=revive_below, decay=0.9).train()
            z, _ = some(400)
            z = functional.normalize(z + torch.tensor([1.0, 0, 0, 0]), dim=1)
            quantizer.codebook[SHARED:] = torch.tensor([-1.0, 0, 0, 0])  # far from all tokens
            quantizer.codebook[:SHARED] = z[:SHARED]
            for start in range(0, 400, 5):
                quantizer(z[start : start + 5], torch.zeros(5, dtype=torch.long))
            codes = quantizer.eval()(z, torch.zeros(400, dtype=torch.long)).codes
            return int((codes >= SHARED).sum())

        assert hit(0.0) == 0
        assert hit(0.1) > 40  # of 400 tokens; an even share of two rows of eight is 100

    def test_rows_in_use_are_counted_over_tables_that_have_started(self) -> None:
        quantizer = table()
        quantizer.shown[:] = 8.0
        quantizer.hits[:] = torch.tensor([3.0] * SHARED + [1.0] * (S * PRIVATE))
        quantizer.hits[:3] = 0.0
        assert quantizer.in_use() == pytest.approx(9 / 12)
        quantizer.started[2] = False
        assert quantizer.in_use() == pytest.approx(7 / 10)


class TestHandingOn:
    def test_subjects_take_their_own_rows_along_and_a_new_one_has_the_shared_rows_only(self) -> None:
        theirs, ours = table().train(), table(seed=5).eval()
        theirs(*some(50))
        ours.take(theirs, [2, None, 0])
        assert torch.equal(ours.codebook[:SHARED], theirs.codebook[:SHARED])
        for mine, other in ((0, 2), (2, 0)):
            rows = [slice(SHARED + s * PRIVATE, SHARED + (s + 1) * PRIVATE) for s in (mine, other)]
            assert torch.equal(ours.codebook[rows[0]], theirs.codebook[rows[1]])
            assert torch.equal(ours.hits[rows[0]], theirs.hits[rows[1]])
        z, _ = some(200)
        everyone = [ours(z, torch.full((200,), s)).codes.max() >= SHARED for s in range(S)]
        assert everyone == [True, False, True]

    def test_by_default_everything_comes_along(self) -> None:
        theirs, ours = table().train(), table(seed=5)
        theirs(*some(50))
        ours.take(theirs)
        for key, value in theirs.state_dict().items():
            assert torch.equal(value, ours.state_dict()[key]), key

    def test_other_sizes_and_kinds_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"\(6, 2, 4\) here and \(6, 3, 4\)"):
            table().take(SharedPrivateCodebook(6, 3, 4, S))
        with pytest.raises(ValueError, match="with private rows only"):
            table().take(EmaCodebook(12, 4))
        for places in ([0, 1], [0, 1, 3]):
            with pytest.raises(ValueError, match="are named for 3 of a table of 3"):
                table().take(table(), places)

    def test_a_bottleneck_tells_the_table_whose_tokens_are(self) -> None:
        bottleneck = Bottleneck(8, table()).eval()
        bottleneck.before[2].weight.data.normal_()  # its small start makes all tokens alike
        x = torch.randn(3, 40, 8, generator=torch.Generator().manual_seed(0))
        subject = torch.tensor([2, 0, 1])
        found = bottleneck(x, subject)
        assert torch.equal(bottleneck.codes(x, subject), found.codes)
        assert torch.equal(bottleneck.decode(found.codes), found.values)
        for codes, s in zip(found.codes, subject.tolist()):
            assert set(codes.flatten().tolist()) <= set(MINE[s])
        assert found.codes.max() >= SHARED
        torch.manual_seed(1)
        other = Bottleneck(8, table(seed=5)).eval()
        other.take(bottleneck, [2, 0, 1])
        assert torch.equal(other(x, torch.arange(3)).values, found.values)


def test_its_tables_are_named_after_subjects() -> None:
    found = table().parts(["a", "b", "c"])
    assert found == {
        "shared": slice(0, 6),
        "private_a": slice(6, 8),
        "private_b": slice(8, 10),
        "private_c": slice(10, 12),
    }
    assert EmaCodebook(4, 2).parts(["a"]) == {}
