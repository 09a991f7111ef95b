"""Tables of two gloo processes: the same in both after every step, and those of one process with both batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import distributed, multiprocessing

from neurodecode.models.layers.quantizer import EmaCodebook, Quantizer
from neurodecode.models.layers.quantizer_processes import from_all
from neurodecode.models.layers.quantizer_shared import SharedPrivateCodebook

State = dict[str, torch.Tensor]
SPLIT = 4  # tokens of the first process; the second has the rest


def table(**settings) -> EmaCodebook:
    return EmaCodebook(6, 4, **settings).train()


def shared(**settings) -> SharedPrivateCodebook:
    return SharedPrivateCodebook(6, 2, 4, 3, **settings).train()


KINDS = {"table": table, "shared and private": shared}


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """11 tokens; the first process sees no token of the third subject."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(11, 4, generator=generator)
    return z, torch.tensor([0, 1, 0, 1] + [0, 1] + 5 * [2])


def seen(rank: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    part = slice(0, SPLIT) if rank == 0 else slice(SPLIT, None)
    z, subject = batch(seed)
    return z[part], subject[part]


def together(make, **settings) -> Quantizer:
    """A table whose random rows are the first process's, as those of a network that is built with one seed."""
    quantizer = make(**settings)
    distributed.broadcast(quantizer.codebook, 0)
    return quantizer


def _one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    torch.manual_seed(rank)  # whatever each draws must not matter
    found: dict[str, dict[str, list[State]]] = {}
    for kind, make in KINDS.items():
        found[kind] = {}
        runs = {
            "k-means": make(start_tokens=10, revive_below=0),  # its random rows are overwritten
            "k-means, revival": together(make, start_tokens=20, decay=0.9),
            "more dead rows than the first has tokens": together(make, start_tokens=0),
            "random rows": together(make, start_tokens=0, revive_below=0),
        }
        runs["more dead rows than the first has tokens"].hits[0] = 1000.0  # type: ignore[index, operator]
        for name, quantizer in runs.items():
            states = [{key: value.clone() for key, value in quantizer.state_dict().items()}]
            for step in range(8):
                usage = quantizer(*seen(rank, step)).usage
                states.append({key: value.clone() for key, value in quantizer.state_dict().items()} | {"usage": usage})
            found[kind][name] = states
    z, _ = seen(rank, 50)
    torch.save((found, from_all(z)), f"{folder}/end{rank}")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def processes(tmp_path_factory) -> list:
    folder: Path = tmp_path_factory.mktemp("processes")
    multiprocessing.spawn(_one_of_two, (str(folder),), nprocs=2)
    return [torch.load(folder / f"end{rank}") for rank in range(2)]


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_have_the_same_table_after_every_step(processes, kind: str) -> None:
    (first, _), (second, _) = processes
    assert first[kind].keys() == second[kind].keys()
    for name in first[kind]:
        for step, (a, b) in enumerate(zip(first[kind][name], second[kind][name])):
            if name == "k-means" and step == 0:
                continue  # nothing has been seen
            odd = [key for key in a if not torch.equal(a[key], b[key])]
            assert odd == [], (name, step)
        assert first[kind][name][-1]["started"].all()
        assert not torch.equal(first[kind][name][0]["codebook"], first[kind][name][-1]["codebook"])


@pytest.mark.parametrize("kind", KINDS)
def test_they_learn_what_one_process_with_both_batches_would(processes, kind: str) -> None:
    states = processes[0][0][kind]["random rows"]
    single = KINDS[kind](start_tokens=0, revive_below=0)
    single.load_state_dict(states[0])
    for step, state in enumerate(states[1:]):
        usage = single(*batch(step)).usage
        torch.testing.assert_close(single.codebook, state["codebook"])
        torch.testing.assert_close(single.hits, state["hits"])
        assert usage == state["usage"]


def test_rows_of_all_processes_come_in_one_order(processes) -> None:
    z, _ = batch(50)
    assert all(torch.equal(gathered, z) for _, gathered in processes)
