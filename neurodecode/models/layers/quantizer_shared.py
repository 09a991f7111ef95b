"""Rows that all subjects share, and rows of each subject alone (H2DiLR)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from neurodecode.models.layers.quantizer import DEAD, EmaCodebook, Quantizer
from neurodecode.models.layers.quantizer_processes import from_all, from_first, in_step
from neurodecode.models.layers.quantizer_rows import CHUNK, kmeans


class SharedPrivateCodebook(EmaCodebook):
    """A token takes the nearest of the rows that all subjects share and of its own subject's private rows.

    All rows are one table: first the shared ones, then those of each subject, so that an index says which row it is without
    the subject. What each table learns, and how, is as in `EmaCodebook`. A dead row has fewer hits than `revive_below` times
    what it would have if all tokens were spread evenly over the rows that their subjects have, so that a table which its
    subject leaves altogether comes back, too; a private row is put on a token of its subject.

    The shared rows start from k-means over tokens of all subjects; the private rows of a subject, from then on and once it has
    shown enough tokens, from k-means over the half of them that the shared rows are furthest from. A subject whose
    rows have not started, or that is not one of the known, has the shared rows only.

    Parameters
    ----------
    codes
        Rows that all share (H2DiLR: 128).
    private
        Rows of each subject (H2DiLR: 32).
    dimension
        Numbers of a row (H2DiLR: 256).
    n_subjects
        Subjects, S.
    start_tokens
        Tokens for the k-means of the shared rows, see `EmaCodebook`; those of private rows need as many for each row.
    settings
        See `EmaCodebook`.
    """

    owner: torch.Tensor  # [K] table of each row: 0 shared, 1 + s of subject s
    started: torch.Tensor  # [1 + S] bool, of each table
    shown: torch.Tensor  # [S] average tokens of each subject a step, over all processes

    def __init__(
        self,
        codes: int,
        private: int,
        dimension: int,
        n_subjects: int = 1,
        *,
        start_tokens: int | None = None,
        **settings: Any,
    ) -> None:
        wanted = 4 * codes if start_tokens is None else start_tokens
        if 0 < wanted < codes:
            raise ValueError(f"start_tokens is {start_tokens}: k-means of {codes} rows needs as many tokens (or 0)")
        super().__init__(codes + n_subjects * private, dimension, start_tokens=0, **settings)
        self.shared, self.private, self.n_subjects, self.start_tokens = codes, private, n_subjects, wanted
        owner = torch.cat([torch.zeros(codes), 1 + torch.arange(n_subjects).repeat_interleave(private)]).long()
        self.register_buffer("owner", owner, persistent=False)
        self.register_buffer("started", torch.full((1 + n_subjects,), wanted == 0))
        self.register_buffer("shown", torch.zeros(n_subjects))
        self._begun = [wanted == 0] * (1 + n_subjects)  # the buffer's values, see `EmaCodebook`
        self._started = wanted == 0  # all of them
        self._kept: torch.Tensor | None = None  # [M, D + 1] tokens for k-means, and whose they are

    def parts(self, subjects: Sequence[str] = ()) -> dict[str, slice]:
        """`shared`, and `private` with each subject's name or number -> rows."""
        names = list(subjects) or [str(s) for s in range(self.n_subjects)]
        found = {"shared": slice(0, self.shared)}
        for s, name in enumerate(names):
            found[f"private_{name}"] = self._rows(1 + s)
        return found

    def take(self, other: Quantizer, subjects: Sequence[int | None] | None = None) -> None:
        """Copy the shared rows, and the private ones of subjects that the other has; others of ours have none for now."""
        if not isinstance(other, SharedPrivateCodebook):
            raise ValueError("a table with private rows can start from another with private rows only")
        sizes = [(t.shared, t.private, t.dimension) for t in (self, other)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"shared rows, private rows, numbers are {sizes[0]} here and {sizes[1]} in the pretrained table"
            )
        places = list(range(self.n_subjects)) if subjects is None else list(subjects)
        if len(places) != self.n_subjects or any(p is not None and not 0 <= p < other.n_subjects for p in places):
            raise ValueError(f"subjects {places} are named for {self.n_subjects} of a table of {other.n_subjects}")
        for mine, theirs in [(0, 0), *((1 + s, None if p is None else 1 + p) for s, p in enumerate(places))]:
            if theirs is None:
                self.started[mine] = False
                continue
            for name in ("codebook", "hits"):
                getattr(self, name)[self._rows(mine)] = getattr(other, name)[other._rows(theirs)]
            self.started[mine] = other.started[theirs]
            if mine:
                self.shown[mine - 1] = other.shown[theirs - 1]
        self._loaded()

    def in_use(self) -> float:
        """Share of rows in use, of all tables that have started; see `EmaCodebook.in_use`."""
        dead = self.hits <= max(self.revive_below, DEAD) * self._even()
        there = self.started[self.owner]
        return float((~dead & there).sum() / there.sum().clamp_min(1))

    def get_extra_state(self) -> torch.Tensor:
        """Tokens that wait for k-means: private rows may start in a later epoch than the first."""
        return self.codebook.new_zeros(0, self.dimension + 1) if self._kept is None else self._kept

    def set_extra_state(self, state: torch.Tensor) -> None:
        """See `get_extra_state`."""
        self._kept = state if len(state) else None

    def _rows(self, table: int) -> slice:
        if table == 0:
            return slice(0, self.shared)
        first = self.shared + (table - 1) * self.private
        return slice(first, first + self.private)

    def _learns(self) -> bool:
        return self._begun[0]

    @torch.no_grad()
    def _nearest(self, z: torch.Tensor, subject: torch.Tensor | None) -> torch.Tensor:
        """Nearest row that a token's subject has, [M]."""
        table = 1 + (torch.zeros(len(z), dtype=torch.long, device=z.device) if subject is None else subject)
        shared, there = self.owner == 0, self.started[self.owner]  # [K]
        found = []
        for piece, own in zip(*(x.split(max(CHUNK // self.codes, 1)) for x in (z, table))):
            allowed = shared | ((self.owner == own[:, None]) & there)  # [m, K]
            found.append((piece @ self.codebook.T).masked_fill(~allowed, -torch.inf).argmax(1))
        return torch.cat(found)

    @torch.compiler.disable
    @torch.no_grad()
    def _start(self, z: torch.Tensor, subject: torch.Tensor | None) -> None:
        """Collect tokens [M, D]; once a table has enough, put its rows on their k-means."""
        whose = z.new_zeros(len(z), 1) if subject is None else subject.to(z.dtype)[:, None]
        together = from_all(torch.cat([z, whose], 1))  # small integers are exact
        kept = together if self._kept is None else torch.cat([self._kept.to(together), together])
        tokens, whose = kept[:, :-1], kept[:, -1].long()
        if not self._begun[0]:  # from then on every step counts
            self.shown.copy_(self._tokens(together[:, -1].long()))
        if not self._begun[0] and len(tokens) >= self.start_tokens:
            self._begin(0, tokens)
        if self._begun[0]:
            wanted = max(self.private, round(self.start_tokens * self.private / self.shared))
            for s in range(self.n_subjects):
                own = tokens[whose == s]
                if self._begun[1 + s] or len(own) < wanted:
                    continue
                likeness = (own @ self.codebook[: self.shared].T).amax(1)
                strange = likeness.argsort()[: max(len(own) // 2, self.private)]
                self._begin(1 + s, own[strange])
            waits = torch.tensor([not begun for begun in self._begun[1:]], device=z.device)
            kept = kept[(whose >= 0) & waits[whose.clamp(0)]]
        self._kept = kept if len(kept) else None
        self._started = all(self._begun)
        from_first(self.codebook)

    def _begin(self, table: int, tokens: torch.Tensor) -> None:
        """Put the rows of a table on the k-means of tokens [M, D]."""
        rows = self._rows(table)
        self.codebook[rows] = kmeans(tokens, self.shared if table == 0 else self.private)
        self.hits[rows] = self._even()[rows]
        self.started[table] = True
        self._begun[table] = True

    @torch.compiler.disable
    @torch.no_grad()
    def _learn(self, z: torch.Tensor, index: torch.Tensor, counts: torch.Tensor, subject: torch.Tensor | None) -> None:
        """As every table, and how many tokens each subject shows."""
        whose = torch.zeros_like(index) if subject is None else subject
        self.shown.mul_(self.decay).add_(in_step(self._tokens(whose)), alpha=1 - self.decay)
        super()._learn(z, index, counts, subject)

    def _tokens(self, whose: torch.Tensor) -> torch.Tensor:
        """How many of the tokens [M] are each subject's, [S]."""
        known = torch.where((whose >= 0) & (whose < self.n_subjects), whose, self.n_subjects)
        return torch.bincount(known, minlength=self.n_subjects + 1)[:-1].to(self.shown.dtype)

    def _even(self) -> torch.Tensor:
        """Hits of each row a step if tokens were spread evenly over the rows that their subjects have, [K]."""
        tokens = torch.cat([self.shown.sum()[None], self.shown])  # [1 + S]
        return tokens[self.owner] / (self.shared + self.private)

    def _revive(self, z: torch.Tensor, subject: torch.Tensor | None) -> None:
        """Put dead rows on distinct random tokens of z [M, D], private ones on their subject's; the first process's choice
        holds for all."""
        tables, even = 1 + self.n_subjects, self._even()
        dead = (self.hits < self.revive_below * even) & self.started[self.owner]  # [K]
        order = torch.randperm(len(z), device=z.device)
        whose = torch.ones_like(order) if subject is None else 1 + subject[order]
        # the first tokens go to shared rows; nobody else's must be among them, or two rows would be the same
        lot = torch.arange(len(z), device=z.device)
        whose = torch.where(lot < dead[: self.shared].sum(), 0, whose)
        by_table = whose.argsort(stable=True)  # tokens of shared rows, of the first subject, of the second, ...
        count = torch.bincount(whose.clamp(0, tables), minlength=tables + 1)[:tables]
        first = count.cumsum(0) - count  # [1 + S] where each table's tokens begin
        dead_in = torch.zeros_like(count).index_add_(0, self.owner, dead.long())
        place = dead.cumsum(0) - 1 - (dead_in.cumsum(0) - dead_in)[self.owner]  # the n-th dead row of its table
        dead = dead & (place < count[self.owner])
        chosen = (first[self.owner] + place).clamp(0, len(z) - 1)
        token = z[order[by_table[chosen]]]  # [K, D]
        self.codebook.copy_(torch.where(dead[:, None], token, self.codebook))
        self.hits.copy_(torch.where(dead, even, self.hits))
        from_first(self.codebook)
        from_first(self.hits)

    def _loaded(self) -> None:
        self._begun = self.started.tolist()
        self._started = all(self._begun)
