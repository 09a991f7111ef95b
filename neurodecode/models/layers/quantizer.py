"""Quantizers: continuous tokens [..., D] -> entries of a finite table, and the indices of those entries.

One interface for all of them::

    quantizer = EmaCodebook(codes=2048, dimension=64)
    values, codes, loss, usage, perplexity = quantizer(z)  # [..., 64] -> [..., 64], [..., 1], three scalars
    quantizer.decode(codes)                                # equals values

`EmaCodebook` is the table of the codebook-guided masked encoder (section 4.2 of its specification): unit rows that
follow the mean of the tokens they win. `quantizer_grid.FiniteScalar` has no table to learn;
`quantizer_product.ProductCodebook` gives each part of a token a table of its own; `quantizer_shared.SharedPrivateCodebook`
has rows for all subjects and rows for one, and needs to know whose a token is. All of them compute in float32 also under
autocast, keep everything they learn in the state dict, learn in training mode only, and keep several processes in step
where torch.distributed runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from neurodecode.models.layers.quantizer_processes import from_all, from_first, in_step
from neurodecode.models.layers.quantizer_rows import kmeans, nearest, spread, unit

DEAD = 0.03  # share of the mean hits: with decay 0.99 a row that nothing hits falls below it after 350 steps


class Quantized(NamedTuple):
    """What a quantizer returns."""

    values: torch.Tensor
    """[..., D] entries of the table; the gradient passes straight through to the input."""
    codes: torch.Tensor
    """[..., G] int64 indices, one for each of the G tables (one, but for products)."""
    loss: torch.Tensor
    """Scalar: what pulls the input to its entry, already weighted; 0 where nothing has to."""
    usage: torch.Tensor
    """Scalar: share of the entries that this batch hits (in training the batches of all processes)."""
    perplexity: torch.Tensor
    """Scalar: exp of the entropy of those hits; between 1 (collapse) and the number of entries."""


class Quantizer(nn.Module, ABC):
    """Interface of all quantizers.

    Parameters
    ----------
    dimension
        Numbers of a token, D.
    codes
        Entries of a table, K.
    groups
        Tables, G.
    n_subjects
        People whose tokens are told apart; with one, nobody asks whose a token is.
    """

    def __init__(self, dimension: int, codes: int, groups: int = 1, n_subjects: int = 1) -> None:
        super().__init__()
        self.dimension, self.codes, self.groups, self.n_subjects = dimension, codes, groups, n_subjects

    def forward(self, z: torch.Tensor, subject: torch.Tensor | None = None) -> Quantized:
        """Quantize tokens.

        Parameters
        ----------
        z
            [..., D], at least one token.
        subject
            Index of the subject of each part of the first axis; read by quantizers of several subjects only.

        Returns
        -------
        Quantized
            Values in float32 (float64 for a float64 module), codes [..., G].

        Raises
        ------
        ValueError
            If the last axis is not D, there is no token, or nobody says whose tokens of several subjects are.
        """
        if z.shape[-1] != self.dimension or z.numel() == 0:
            raise ValueError(f"tokens must be [..., {self.dimension}] and at least one, got {tuple(z.shape)}")
        # half precision would change which entry is nearest, and round an average of steps of one hundredth away
        with torch.autocast(z.device.type, enabled=False):
            flat = z.reshape(-1, self.dimension)
            flat = flat if flat.dtype == torch.float64 else flat.float()
            found = self.quantize(flat, self._whose(subject, z.shape[:-1]))
        shape = z.shape[:-1]
        return found._replace(values=found.values.view(*shape, -1), codes=found.codes.view(*shape, self.groups))

    @abstractmethod
    def quantize(self, z: torch.Tensor, subject: torch.Tensor | None = None) -> Quantized:
        """[M, D] and whose they are [M] -> values [M, D], codes [M, G] and three scalars."""

    @abstractmethod
    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Entries of the table: [..., G] -> [..., D]."""

    def parts(self, subjects: Sequence[str] = ()) -> dict[str, slice]:
        """Names and entries of tables that are looked at one by one, besides all entries together; `subjects` names people."""
        return {}

    def take(self, other: Quantizer, subjects: Sequence[int | None] | None = None) -> None:
        """Copy what another quantizer of the same kind learnt.

        Parameters
        ----------
        other
            Of the same sizes.
        subjects
            For each of our subjects, which of the other's it is; None for one that it did not have. By default the same ones.
        """
        self.load_state_dict(other.state_dict())

    def _whose(self, subject: torch.Tensor | None, shape: torch.Size) -> torch.Tensor | None:
        """Subject of each token, [M]; None where there is one subject."""
        if self.n_subjects == 1:
            return None
        if subject is None or subject.shape != shape[:1]:
            found = "nobody" if subject is None else tuple(subject.shape)
            raise ValueError(
                f"tokens {tuple(shape)} of {self.n_subjects} subjects: say whose each is, [{shape[0]}], got {found}"
            )
        return subject.view(-1, *[1] * (len(shape) - 1)).expand(shape).reshape(-1)

    def count(self, index: torch.Tensor) -> torch.Tensor:
        """Hits of each entry, [M] -> [K] float; in training over all processes."""
        counts = torch.bincount(index, minlength=self.codes).float()
        # processes may evaluate unequal numbers of batches, and a sum would wait for ever
        return in_step(counts) if self.training else counts


class EmaCodebook(Quantizer):
    """Unit-norm table whose rows follow an average of the tokens they win; no gradient reaches them.

    A token is scaled to unit norm and takes the row with the largest inner product. In training, after the look-up,
    each row that was hit moves to `decay` row + (1 - decay) mean token, both of unit norm, and is scaled again.

    Two departures from the released code. The table starts from k-means (cosine) over the first `start_tokens` tokens
    seen in training, collected over as many batches as it takes, where the released code took any first batch, also in
    evaluation and also with fewer tokens than rows. And a row whose average hits fall under `revive_below` times the
    mean of all rows is put on a random token of the batch, with its hits set to the mean, so that it has time to win.

    With `start_after` the table steps aside at first: tokens of unit norm pass as they are, without a loss, until the network
    has learnt to say something with them. In short trainings commitment otherwise draws tokens together that say nothing yet.

    Parameters
    ----------
    codes, dimension
        Rows K and their length D (paper: 2048 x 64).
    decay
        Of rows and hits (paper: 0.99).
    commitment
        Weight of the mean squared distance between token and row (paper: 1).
    start_tokens
        Tokens for k-means, at least K; None takes 4 K, 0 keeps the random rows.
    revive_below
        See above; 0 never revives (as published).
    start_after
        Training steps before the table starts; 0: none (as published).
    """

    codebook: torch.Tensor  # [K, D]
    hits: torch.Tensor  # [K], average hits a step over all processes
    started: torch.Tensor  # bool scalar
    passed: torch.Tensor  # int64 scalar, steps that stepped around the table

    def __init__(
        self,
        codes: int,
        dimension: int,
        *,
        decay: float = 0.99,
        commitment: float = 1.0,
        start_tokens: int | None = None,
        revive_below: float = DEAD,
        start_after: int = 0,
    ) -> None:
        super().__init__(dimension, codes)
        self.start_tokens = 4 * codes if start_tokens is None else start_tokens
        if 0 < self.start_tokens < codes:
            raise ValueError(f"start_tokens is {start_tokens}: k-means of {codes} rows needs as many tokens (or 0)")
        self.decay, self.commitment, self.revive_below = decay, commitment, revive_below
        self.register_buffer("codebook", unit(torch.randn(codes, dimension)))
        self.register_buffer("hits", torch.zeros(codes))
        self.register_buffer("started", torch.tensor(self.start_tokens == 0))
        self._started = self.start_tokens == 0  # the buffer's value: reading a CUDA scalar each step would wait for it
        self._waiting: list[torch.Tensor] = []  # tokens for k-means
        self.start_after, self._passed = start_after, 0
        self.register_buffer("passed", torch.tensor(0), persistent=start_after > 0)  # states of old tables lack it
        self.register_load_state_dict_post_hook(_read_started)

    def quantize(self, z: torch.Tensor, subject: torch.Tensor | None = None) -> Quantized:
        """[M, D] -> values [M, D], codes [M, 1] and three scalars."""
        z = unit(z.to(self.codebook.dtype))
        if self.training and self._passed < self.start_after:
            self._pass()
            index = self._nearest(z.detach(), subject)
            return Quantized(z, index[:, None], z.new_zeros(()), *spread(self.count(index)))
        if self.training and not self._started:
            self._start(z.detach(), subject)
        index = self._nearest(z.detach(), subject)  # [M]
        row = self.codebook[index]  # [M, D], a copy: the update below does not reach it
        counts = self.count(index)  # [K]
        if self.training and self._learns():
            self._learn(z.detach(), index, counts, subject)
        loss = self.commitment * functional.mse_loss(z, row)
        # row + (z - z) is row exactly; the usual z + (row - z) is off by a rounding
        return Quantized(row + (z - z.detach()), index[:, None], loss, *spread(counts))

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """[..., 1] -> [..., D]."""
        return self.codebook[codes[..., 0]]

    def in_use(self) -> float:
        """Share of rows with more hits, on average over about 1 / (1 - decay) steps, than a dead one has.

        Few rows in use is what a collapse looks like: a masked encoder that learns from such a table gets worse than
        one without any (table 15 of the paper).
        """
        return float((self.hits > max(self.revive_below, DEAD) * self.hits.mean()).float().mean())

    def _learns(self) -> bool:
        """Whether there are rows yet that may move."""
        return self._started

    def _nearest(self, z: torch.Tensor, subject: torch.Tensor | None) -> torch.Tensor:
        """Row of each token, [M]."""
        return nearest(z, self.codebook)

    @torch.compiler.disable
    @torch.no_grad()
    def _pass(self) -> None:
        """Count a step without the table."""
        self._passed += 1
        self.passed.fill_(self._passed)

    @torch.compiler.disable
    @torch.no_grad()
    def _start(self, z: torch.Tensor, subject: torch.Tensor | None) -> None:
        """Collect tokens [M, D]; once there are enough, put the rows on their k-means."""
        together = from_all(z)
        self._waiting.append(together)
        if sum(map(len, self._waiting)) < self.start_tokens:
            return
        tokens = torch.cat(self._waiting)
        self._waiting = []
        self.codebook.copy_(kmeans(tokens, self.codes))
        self.hits.fill_(len(together) / self.codes)
        self.started.fill_(True)
        self._started = True
        from_first(self.codebook)

    @torch.compiler.disable
    @torch.no_grad()
    def _learn(self, z: torch.Tensor, index: torch.Tensor, counts: torch.Tensor, subject: torch.Tensor | None) -> None:
        """Move the rows towards their tokens [M, D]; put dead rows on tokens."""
        sums = torch.zeros_like(self.codebook).index_add_(0, index, z)  # [K, D]; no one-hot table [M, K]
        # the mean is scaled to unit norm, so there is no need to divide by the counts; a row without hits stays
        self.codebook.copy_(unit(self.decay * self.codebook + (1 - self.decay) * unit(in_step(sums))))
        self.hits.mul_(self.decay).add_(counts.to(self.hits.dtype), alpha=1 - self.decay)
        if self.revive_below > 0:
            self._revive(z, subject)

    def _revive(self, z: torch.Tensor, subject: torch.Tensor | None) -> None:
        """Put dead rows on distinct random tokens of z [M, D]; the first process's choice holds for all."""
        mean = self.hits.mean()
        dead = self.hits < self.revive_below * mean  # [K]
        place = dead.cumsum(0) - 1  # [K], the n-th dead row takes the n-th token of a random order
        dead = dead & (place < len(z))
        order = torch.randperm(len(z), device=z.device)
        token = z[order[place.clamp(0, len(z) - 1)]]  # [K, D]
        self.codebook.copy_(torch.where(dead[:, None], token, self.codebook))
        # without this the old, low average would call the row dead again in the next step
        self.hits.copy_(torch.where(dead, mean, self.hits))
        from_first(self.codebook)
        from_first(self.hits)

    def _loaded(self) -> None:
        """After loading a state: what the table's flag says now."""
        self._started = bool(self.started)
        self._waiting = []


def _read_started(module: nn.Module, _: Any) -> None:
    assert isinstance(module, EmaCodebook)
    module._passed = int(module.passed)
    module._loaded()
