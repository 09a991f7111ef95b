"""Quantizers: one contract for all of them, and the learning of the table against a plain recomputation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from neurodecode.models.layers.quantizer import EmaCodebook, Quantized, Quantizer
from neurodecode.models.layers.quantizer_grid import FiniteScalar
from neurodecode.models.layers.quantizer_product import ProductCodebook, partial_correlation
from neurodecode.models.layers.quantizer_rows import kmeans, nearest, spread
from neurodecode.models.layers.quantizer_shared import SharedPrivateCodebook

MAKERS: dict[str, Callable[[], Quantizer]] = {
    "table": lambda: EmaCodebook(16, 8, start_tokens=16),
    "table from random rows": lambda: EmaCodebook(16, 8, start_tokens=0),
    "table without revival": lambda: EmaCodebook(16, 8, start_tokens=0, revive_below=0),
    "table that starts late": lambda: EmaCodebook(16, 8, start_tokens=16, start_after=2),
    "finite scalar": lambda: FiniteScalar((5, 3, 2)),
    "product": lambda: ProductCodebook(8, 12, groups=3, start_tokens=0),
    "product of unlike parts": lambda: ProductCodebook(8, 12, groups=3, start_tokens=0, decorrelation=0.5),
    "product of one": lambda: ProductCodebook(8, 12, groups=1),
    "shared and private": lambda: SharedPrivateCodebook(12, 3, 8, n_subjects=3, start_tokens=16),
    "shared and private from random rows": lambda: SharedPrivateCodebook(12, 3, 8, n_subjects=3, start_tokens=0),
    "shared and private after two steps": lambda: SharedPrivateCodebook(12, 3, 8, 3, start_tokens=16, start_after=2),
    "shared and private of one": lambda: SharedPrivateCodebook(12, 4, 8, start_tokens=0, revive_below=0),
}


def make(name: str) -> Quantizer:
    torch.manual_seed(0)
    return MAKERS[name]()


def tokens(quantizer: Quantizer, *shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, quantizer.dimension, generator=torch.Generator().manual_seed(seed))


def ask(quantizer: Quantizer, z: torch.Tensor) -> Quantized:
    """The parts of the first axis are subjects' in turns."""
    return quantizer(z, torch.arange(len(z)) % quantizer.n_subjects)


def trained(name: str) -> Quantizer:
    quantizer = make(name).train()
    for step in range(5):
        ask(quantizer, tokens(quantizer, 4, 10, seed=step))
    return quantizer


@pytest.mark.parametrize("name", MAKERS)
class TestEveryQuantizer:
    def test_gives_one_entry_and_one_index_a_table_for_each_token(self, name: str) -> None:
        quantizer = make(name)
        for shape in [(4, 10), (7,), (2, 3, 5)]:
            found = ask(quantizer, tokens(quantizer, *shape))
            assert found.values.shape == (*shape, quantizer.dimension)
            assert found.codes.shape == (*shape, quantizer.groups)
            assert found.codes.dtype == torch.int64
            assert found.codes.min() >= 0
            assert found.codes.max() < quantizer.codes

    def test_an_index_decodes_to_the_very_entry(self, name: str) -> None:
        quantizer = trained(name).eval()
        found = ask(quantizer, tokens(quantizer, 4, 10))
        assert torch.equal(quantizer.decode(found.codes), found.values)

    def test_every_index_has_an_entry_of_its_own(self, name: str) -> None:
        quantizer = trained(name).eval()
        every = torch.arange(quantizer.codes)[:, None].expand(-1, quantizer.groups)
        entries = quantizer.decode(every)
        assert entries.shape == (quantizer.codes, quantizer.dimension)
        assert len(torch.unique(entries, dim=0)) == quantizer.codes

    def test_gradients_pass_straight_through(self, name: str) -> None:
        quantizer = make(name).train()
        z = tokens(quantizer, 4, 10).requires_grad_(True)
        weight = tokens(quantizer, 4, 10, seed=5)
        found = ask(quantizer, z)
        ((found.values * weight).sum() + found.loss).backward()
        assert z.grad is not None
        assert z.grad.isfinite().all()
        assert (z.grad.abs().sum(-1) > 0).all()
        assert all(p.grad is None for p in quantizer.parameters())

    def test_changes_nothing_in_evaluation_mode(self, name: str) -> None:
        quantizer = make(name).eval()
        before = {key: value.clone() for key, value in quantizer.state_dict().items()}
        first = ask(quantizer, tokens(quantizer, 4, 10))
        ask(quantizer, tokens(quantizer, 50, 10, seed=3))
        for key, value in quantizer.state_dict().items():
            assert torch.equal(value, before[key]), key
        assert torch.equal(ask(quantizer, tokens(quantizer, 4, 10)).codes, first.codes)

    def test_comes_back_from_its_state_dict_and_goes_on_the_same(self, name: str) -> None:
        quantizer, other = trained(name), make(name)
        other.load_state_dict(quantizer.state_dict())
        for step in range(3):
            torch.manual_seed(step)
            a = ask(quantizer, tokens(quantizer, 4, 10, seed=10 + step))
            torch.manual_seed(step)
            b = ask(other, tokens(quantizer, 4, 10, seed=10 + step))
            assert all(torch.equal(x, y) for x, y in zip(a, b))
        for key, value in quantizer.state_dict().items():
            assert torch.equal(value, other.state_dict()[key]), key

    def test_computes_in_float32_under_autocast(self, name: str) -> None:
        quantizer, other = make(name).train(), make(name).train()
        z = tokens(quantizer, 40, 10).bfloat16()
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            found = ask(quantizer, z)
        torch.manual_seed(0)
        expected = ask(other, z.float())
        assert found.values.dtype == found.loss.dtype == torch.float32
        assert all(torch.equal(x, y) for x, y in zip(found, expected))

    def test_works_in_float64(self, name: str) -> None:
        quantizer = make(name).double().train()
        found = ask(quantizer, tokens(quantizer, 4, 10).double())
        assert found.values.dtype == torch.float64

    def test_usage_and_perplexity_count_the_hits(self, name: str) -> None:
        quantizer = trained(name).eval()
        found = ask(quantizer, tokens(quantizer, 4, 10))
        usage, perplexity = [], []
        for g in range(quantizer.groups):
            counts = np.bincount(found.codes[..., g].flatten(), minlength=quantizer.codes)
            share = counts[counts > 0] / counts.sum()
            usage.append((counts > 0).mean())
            perplexity.append(np.exp(-(share * np.log(share)).sum()))
        assert found.usage.item() == pytest.approx(np.mean(usage))
        assert found.perplexity.item() == pytest.approx(np.mean(perplexity), rel=1e-5)

    def test_one_token_everywhere_is_a_collapse(self, name: str) -> None:
        quantizer = make(name).eval()
        found = quantizer(tokens(quantizer, 1).expand(30, -1), torch.zeros(30, dtype=torch.long))
        assert found.usage.item() == pytest.approx(1 / quantizer.codes)
        assert found.perplexity.item() == pytest.approx(1.0)

    def test_refuses_other_shapes(self, name: str) -> None:
        quantizer = make(name)
        with pytest.raises(ValueError, match="at least one"):
            ask(quantizer, torch.zeros(3, quantizer.dimension + 1))
        with pytest.raises(ValueError, match="at least one"):
            ask(quantizer, torch.zeros(0, quantizer.dimension))


def test_the_nearest_unit_row_is_the_one_at_the_smallest_distance(monkeypatch) -> None:
    generator = torch.Generator().manual_seed(0)
    z, rows = (functional.normalize(torch.randn(n, 6, generator=generator), dim=1) for n in (50, 9))
    expected = ((z[:, None].double() - rows[None].double()) ** 2).sum(-1).argmin(1)
    assert torch.equal(nearest(z, rows), expected)
    monkeypatch.setattr("neurodecode.models.layers.quantizer_rows.CHUNK", 7 * 9)  # pieces of 7 tokens
    assert torch.equal(nearest(z, rows), expected)


def test_a_step_of_learning_agrees_with_a_plain_recomputation() -> None:
    quantizer = EmaCodebook(6, 4, start_tokens=0, revive_below=0, decay=0.9, commitment=0.25).train()
    quantizer.hits.fill_(2.0)
    rows = quantizer.codebook.double().numpy().copy()
    z = tokens(quantizer, 12)
    found = quantizer(z)
    u = z.double().numpy()
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    index = ((u[:, None] - rows[None]) ** 2).sum(-1).argmin(1)
    assert found.codes[:, 0].tolist() == index.tolist()
    np.testing.assert_allclose(found.values, rows[index], atol=1e-6)
    assert found.loss.item() == pytest.approx(0.25 * ((u - rows[index]) ** 2).mean(), rel=1e-5)
    for k in range(6):
        mine = u[index == k]
        if len(mine):
            mean = mine.mean(0) / np.linalg.norm(mine.mean(0))
            rows[k] = 0.9 * rows[k] + 0.1 * mean
            rows[k] /= np.linalg.norm(rows[k])
        assert quantizer.hits[k].item() == pytest.approx(0.9 * 2.0 + 0.1 * len(mine))
    np.testing.assert_allclose(quantizer.codebook, rows, atol=1e-6)


def test_rows_keep_unit_norm_in_training() -> None:
    quantizer = trained("table")
    assert isinstance(quantizer, EmaCodebook)
    torch.testing.assert_close(quantizer.codebook.norm(dim=1), torch.ones(16))


class TestTheStart:
    def test_waits_for_training_mode(self) -> None:
        quantizer = EmaCodebook(16, 8, start_tokens=16).eval()
        rows = quantizer.codebook.clone()
        quantizer(tokens(quantizer, 60))
        assert not quantizer.started
        assert torch.equal(quantizer.codebook, rows)

    def test_waits_for_enough_tokens_over_several_batches(self) -> None:
        quantizer = EmaCodebook(16, 8).train()  # 4 x 16 tokens
        rows = quantizer.codebook.clone()
        for step in range(3):
            quantizer(tokens(quantizer, 20, seed=step))
            assert not quantizer.started
            assert torch.equal(quantizer.codebook, rows)
        quantizer(tokens(quantizer, 20, seed=3))
        assert quantizer.started
        assert not torch.equal(quantizer.codebook, rows)
        started = quantizer.codebook.clone()
        quantizer(tokens(quantizer, 200, seed=4))
        assert (started - quantizer.codebook).norm(dim=1).max() < 0.05  # a step of learning, not another start

    def test_is_not_repeated_after_loading(self) -> None:
        quantizer, other = trained("table"), make("table").train()
        other.load_state_dict(quantizer.state_dict())
        assert isinstance(other, EmaCodebook)
        rows = other.codebook.clone()
        other(tokens(other, 200, seed=4))
        assert (rows - other.codebook).norm(dim=1).max() < 0.05

    def test_fewer_tokens_than_rows_are_refused(self) -> None:
        with pytest.raises(ValueError, match="needs as many tokens"):
            EmaCodebook(16, 8, start_tokens=15)
        with pytest.raises(ValueError, match="need as many tokens"):
            kmeans(torch.randn(3, 2), 4)

    def test_finds_planted_clusters(self) -> None:
        torch.manual_seed(3)
        centres = torch.eye(4)
        z = functional.normalize(centres.repeat(50, 1) + 0.05 * torch.randn(200, 4), dim=1)
        found = kmeans(z, 16)
        torch.testing.assert_close(found.norm(dim=1), torch.ones(16))
        assert ((found @ centres.T).max(1).values > 0.95).all()
        assert (nearest(centres, found).unique().numel()) == 4


class TestALateStart:
    def test_passes_tokens_without_loss_and_leaves_the_table_alone_until_then(self) -> None:
        quantizer = EmaCodebook(16, 8, start_tokens=16, start_after=2).train()
        rows = quantizer.codebook.clone()
        for step in range(2):
            z = tokens(quantizer, 20, seed=step).requires_grad_()
            found = quantizer(z)
            assert torch.equal(found.values, functional.normalize(z, dim=-1))
            assert found.loss == 0
            assert torch.equal(quantizer.codebook, rows)
            assert not quantizer.started
        found = quantizer(tokens(quantizer, 20, seed=2))
        assert quantizer.started
        assert torch.equal(found.codes[:, 0].bincount(minlength=16) > 0, quantizer.hits > 20 / 16 * 0.99)
        assert found.loss > 0

    def test_does_not_count_steps_of_evaluation(self) -> None:
        quantizer = EmaCodebook(16, 8, start_tokens=16, start_after=1).eval()
        found = quantizer(tokens(quantizer, 20))
        assert torch.equal(quantizer.decode(found.codes), found.values)
        assert quantizer.passed == 0

    def test_goes_on_after_loading_where_it_was(self) -> None:
        quantizer, other = (EmaCodebook(16, 8, start_tokens=16, start_after=3).train() for _ in range(2))
        for step in range(2):
            quantizer(tokens(quantizer, 20, seed=step))
        other.load_state_dict(quantizer.state_dict())
        started = []
        for step in range(2, 4):
            other(tokens(other, 20, seed=step))
            started.append(bool(other.started))
        assert started == [False, True]


class TestRevival:
    def test_puts_a_dead_row_on_a_token_and_resets_its_hits(self) -> None:
        quantizer = EmaCodebook(16, 8, start_tokens=0).train()
        quantizer.hits.fill_(3.0)
        quantizer.hits[5] = 0.0
        quantizer.codebook[5] = -functional.normalize(torch.ones(8), dim=0)
        z = tokens(quantizer, 30) + 3
        won = (quantizer.eval()(z).codes == 5).sum()
        quantizer.train()(z)
        assert won == 0  # far from all tokens, so nothing else moves it
        same = (quantizer.codebook[5] - functional.normalize(z, dim=1)).norm(dim=1) < 1e-6
        assert same.sum() == 1
        assert quantizer.hits[5].item() == pytest.approx((0.99 * 3.0 * 15 + 0.01 * 30) / 16)

    def test_leaves_it_alone_in_the_next_step(self) -> None:
        quantizer = EmaCodebook(16, 8, start_tokens=0).train()
        quantizer.hits.fill_(3.0)
        quantizer.hits[5] = 0.0
        quantizer(tokens(quantizer, 30))
        revived = quantizer.codebook[5].clone()
        quantizer(tokens(quantizer, 30, seed=2))
        assert (quantizer.codebook[5] - revived).norm() < 0.05

    def test_gives_each_dead_row_another_token(self) -> None:
        quantizer = EmaCodebook(16, 8, start_tokens=0).train()
        quantizer.hits.fill_(0.0)
        quantizer.hits[0] = 1000.0
        z = tokens(quantizer, 6)  # fewer tokens than dead rows: the others wait
        quantizer(z)
        at_token = (quantizer.codebook[:, None] - functional.normalize(z, dim=1)).norm(dim=-1) < 1e-6  # [16, 6]
        assert at_token.sum(0).tolist() == [1] * 6
        assert at_token.sum(1).max() == 1

    def test_brings_a_collapsed_table_back(self) -> None:
        def use(revive_below: float) -> float:
            torch.manual_seed(0)
            quantizer = EmaCodebook(32, 8, start_tokens=0, revive_below=revive_below, decay=0.9).train()
            quantizer.codebook.copy_(functional.normalize(1 + 0.1 * torch.randn(32, 8), dim=1))
            quantizer.codebook[7] = -functional.normalize(torch.ones(8), dim=0)  # alone near the tokens
            for step in range(150):
                found = quantizer(tokens(quantizer, 256, seed=step) - 3)
            assert quantizer.in_use() == pytest.approx(found.usage.item(), abs=0.1)
            return found.usage.item()

        assert use(0.0) == pytest.approx(1 / 32)
        assert use(0.03) > 0.95


class TestFiniteScalar:
    def test_rounds_each_number_to_its_levels(self) -> None:
        quantizer = FiniteScalar((5, 3, 2))
        assert quantizer.codes == 30
        entries = quantizer.decode(torch.arange(30)[:, None])
        assert [len(entries[:, d].unique()) for d in range(3)] == [5, 3, 2]
        assert entries[:, 0].unique().tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
        z = torch.atanh(0.999 * entries)
        assert quantizer(z).codes[:, 0].tolist() == list(range(30))

    def test_saturated_numbers_take_the_outermost_level(self) -> None:
        found = FiniteScalar((5, 4))(torch.tensor([[1e9, -1e9], [-50.0, 50.0]]))
        assert found.values.tolist() == [[1.0, -1.0], [-1.0, 1.0]]

    def test_one_level_is_refused(self) -> None:
        with pytest.raises(ValueError, match="2 or more"):
            FiniteScalar((5, 1))


def test_a_product_is_its_tables_side_by_side() -> None:
    quantizer = make("product").eval()
    assert isinstance(quantizer, ProductCodebook)
    z = tokens(quantizer, 20)
    found = quantizer(z)
    for g, table in enumerate(quantizer.tables):
        part = table(z[:, 4 * g : 4 * g + 4])
        assert torch.equal(found.codes[:, g], part.codes[:, 0])
        assert torch.equal(found.values[:, 4 * g : 4 * g + 4], part.values)
    with pytest.raises(ValueError, match="multiple of groups"):
        ProductCodebook(8, 10, groups=3)


class TestPartialCorrelation:
    def test_agrees_with_what_is_left_after_regression_on_all_others(self) -> None:
        generator = torch.Generator().manual_seed(0)
        z = torch.randn(400, 4, generator=generator).double() @ torch.randn(4, 4, generator=generator).double()
        x = (z - z.mean(0)).numpy()
        squares = []
        for i, j in [(0, 2), (0, 3), (1, 2), (1, 3)]:  # parts are 0, 1 and 2, 3
            others = x[:, [k for k in range(4) if k not in (i, j)]]
            left = [x[:, k] - others @ np.linalg.lstsq(others, x[:, k], rcond=None)[0] for k in (i, j)]
            squares.append(np.corrcoef(*left)[0, 1] ** 2)
        assert partial_correlation(z, 2, ridge=0.0).item() == pytest.approx(np.mean(squares), rel=1e-6)

    def test_is_small_for_unlike_parts_and_large_for_copies_whatever_the_scale(self) -> None:
        z = torch.randn(2000, 6, generator=torch.Generator().manual_seed(0))
        same = torch.cat([z[:, :3], z[:, :3] + 0.1 * z[:, 3:]], 1)
        assert partial_correlation(z, 2) < 0.01
        assert partial_correlation(same, 2) > 0.25  # each number has one likeness among three
        torch.testing.assert_close(partial_correlation(1e-3 * same, 2), partial_correlation(same, 2))

    def test_is_added_with_its_weight_and_pulls_parts_apart(self) -> None:
        torch.manual_seed(0)
        plain, apart = (ProductCodebook(8, 6, 2, start_tokens=0, decorrelation=w).eval() for w in (0.0, 0.5))
        apart.load_state_dict(plain.state_dict())
        z = torch.randn(500, 6)
        z[:, 3:] += z[:, :3]
        expected = plain(z).loss + 0.5 * partial_correlation(z, 2)
        torch.testing.assert_close(apart(z).loss, expected)
        mix = torch.eye(6).requires_grad_(True)
        optimiser = torch.optim.Adam([mix], 0.03)
        before = partial_correlation(z, 2)
        for _ in range(60):
            optimiser.zero_grad()
            partial_correlation(z @ mix, 2).backward()
            optimiser.step()
        assert partial_correlation(z @ mix, 2) < 0.2 * before

    def test_few_or_silent_tokens_give_a_number(self) -> None:
        for z in (torch.zeros(5, 6), torch.randn(1, 6), torch.randn(3, 6)):
            z.requires_grad_(True)
            found = partial_correlation(z, 3)
            found.backward()
            assert 0 <= found <= 1
            assert z.grad.isfinite().all()


def test_spread_is_even_for_even_hits() -> None:
    usage, perplexity = spread(torch.tensor([3.0, 3.0, 0.0, 3.0]))
    assert usage.item() == pytest.approx(0.75)
    assert perplexity.item() == pytest.approx(3.0)
