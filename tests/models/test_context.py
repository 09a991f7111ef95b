"""The context encoder: off it is not there, untrained it adds nothing, trained it reads the neighbours there are, in order."""

from __future__ import annotations

import pytest
import torch

from neurodecode.config import ContextSettings, ModelSettings, validate
from neurodecode.errors import SettingsError
from neurodecode.models.aligner import Aligner
from neurodecode.models.build import build_model
from neurodecode.models.context import ContextEncoder
from tests.models.test_aligner import SMALL, C, F, S, SomeLayouts

NARROW = {"width": 16, "heads": 2, "pieces": 4}
D, T = 8, 20


def build(head: bool | str = True, **context) -> Aligner:
    torch.manual_seed(0)
    settings = validate(ModelSettings, {**SMALL, "head": head, "context": {**NARROW, **context}}, "test")
    model = build_model(settings, n_chans=C, n_outputs=F, n_subjects=S, layouts=SomeLayouts())
    assert isinstance(model, Aligner)
    return model


def stirred(**context) -> ContextEncoder:
    """An encoder whose last map is not zero, and five windows."""
    torch.manual_seed(0)
    encoder = ContextEncoder(D, ContextSettings(**{**NARROW, "windows": 5, **context}))
    torch.nn.init.normal_(encoder.leave.weight)
    return encoder.eval()


def windows() -> torch.Tensor:
    return torch.randn(5, D, T, generator=torch.Generator().manual_seed(1))


MIDDLE = torch.tensor([[0, 1, 2, 3, 4]])


@pytest.mark.parametrize("off", [{"windows": 1}, {"windows": 5, "layers": 0}, {}])
def test_one_window_or_no_layer_is_the_network_without_context(off) -> None:
    plain, model = build(), build(**off)
    assert model.context is None
    assert all(torch.equal(v, plain.state_dict()[k]) for k, v in model.state_dict().items())
    assert model.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("head", [True, "none"])
def test_an_untrained_context_changes_neither_the_other_weights_nor_the_answer(head) -> None:
    plain, model = build(head).eval(), build(head, windows=3).eval()
    ours = model.state_dict()
    assert all(torch.equal(v, ours[k]) for k, v in plain.state_dict().items())
    x, subject, layout = torch.randn(4, C, T), torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 0, 1])
    context = torch.tensor([[-1, 0, 1], [0, 1, 2]])
    with torch.no_grad():
        expected = plain(x, subject, layout)
        torch.testing.assert_close(model(x, subject, layout, context), expected[:2])
        torch.testing.assert_close(model(x, subject, layout), expected)


def test_the_answer_is_the_windows_own_plus_what_its_middle_tokens_say_stretched_over_time() -> None:
    encoder, h = stirred(), windows()
    with torch.no_grad():
        pieces = h.unflatten(2, (4, 5)).mean(-1)  # [5, D, 4]
        tokens = torch.cat([encoder.enter(w.T) for w in pieces]) + encoder.code  # [20, W]
        mixed = encoder.blocks(tokens[None])[0, 8:12]  # tokens of the third window
        added = encoder.leave(mixed).T  # [D, 4]
        # piece p is centred at sample 5 p + 2; before the first and after the last its value stays
        place = ((torch.arange(T) - 2) / 5).clamp(0, 3)
        below = place.floor().clamp(max=2).long()
        line = added[:, below] + (place - below) * (added[:, below + 1] - added[:, below])
        torch.testing.assert_close(encoder(h, MIDDLE)[0], h[2] + line, atol=1e-5, rtol=1e-4)


def test_a_missing_neighbour_is_not_read_whatever_stands_in_its_place() -> None:
    encoder, h = stirred(), windows()
    missing = torch.tensor([[-1, 1, 2, 3, -1]])
    other = h.clone()
    other[[0, 4]] = 100.0
    with torch.no_grad():
        assert torch.equal(encoder(h, missing), encoder(other, missing))
        assert not torch.allclose(encoder(h, MIDDLE), encoder(other, MIDDLE))
        assert not torch.allclose(encoder(h, missing), encoder(h, MIDDLE))


def test_the_order_of_neighbours_matters() -> None:
    encoder, h = stirred(), windows()
    with torch.no_grad():
        ahead, back = encoder(h, MIDDLE), encoder(h, torch.tensor([[4, 3, 2, 1, 0]]))
    assert (ahead - back).abs().max() > 1e-2


def test_a_window_alone_and_no_context_at_all_are_the_same() -> None:
    encoder, h = stirred(), windows()
    alone = torch.full((5, 5), -1)
    alone[:, 2] = torch.arange(5)
    with torch.no_grad():
        torch.testing.assert_close(encoder(h), encoder(h, alone))


def test_each_window_is_answered_alike_in_any_batch() -> None:
    encoder, h = stirred(), windows()
    with torch.no_grad():
        both = encoder(h, torch.tensor([[-1, -1, 0, 1, 2], [0, 1, 2, 3, 4]]))
        torch.testing.assert_close(both[1], encoder(h, MIDDLE)[0])


def test_in_training_a_share_of_windows_is_shown_alone() -> None:
    encoder = stirred(dropout=0.0, alone=0.25).train()
    h, context = windows(), MIDDLE.expand(4000, -1)
    torch.manual_seed(3)
    with torch.no_grad():
        answers = encoder(h, context)[:, 0, 0]
        without = encoder.eval()(h)[2, 0, 0]
    share = (answers - without).abs() < 1e-4
    assert share.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert len(answers[~share].unique()) == 1 or (answers[~share] - answers[~share][0]).abs().max() < 1e-4


def test_neighbours_teach_the_convolutions_too() -> None:
    model = build(windows=3, dropout=0.0, alone=0.0)
    torch.nn.init.normal_(model.context.leave.weight)
    x = torch.randn(2, C, T, requires_grad=True)
    model.eval()(x, torch.tensor([0, 0]), torch.tensor([0, 0]), torch.tensor([[-1, 0, 1]])).sum().backward()
    assert x.grad[1].abs().sum() > 0


@pytest.mark.parametrize(
    ("values", "message"),
    [({"windows": 4}, "must be odd"), ({"width": 20, "heads": 4}, "multiple of 2 x heads"), ({"alone": 1.0}, "alone")],
)
def test_impossible_settings_are_refused_in_one_line(values, message) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        validate(ModelSettings, {"context": values}, "test")
    assert "\n" not in str(error.value)


def test_neighbours_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match="context is of 3 windows"):
        stirred()(windows(), torch.tensor([[0, 1, 2]]))
    with pytest.raises(ValueError, match=r"no model\.context"):
        build()(torch.randn(1, C, T), torch.tensor([0]), torch.tensor([0]), torch.tensor([[-1, 0, -1]]))


@pytest.mark.parametrize("place", [1, 3])
def test_it_learns_what_only_one_neighbour_says_and_misses_it_in_any_other_place(place) -> None:
    torch.manual_seed(0)
    encoder = ContextEncoder(D, ContextSettings(**{**NARROW, "windows": 5, "pieces": 1, "dropout": 0.0, "alone": 0.0}))
    optimizer = torch.optim.Adam(encoder.parameters(), 5e-3)
    for _ in range(150):
        h = torch.randn(5, 64, D, 1).expand(-1, -1, -1, T)  # [place, B, D, T], constant in time
        loss = error(encoder, h, h[2] + h[place])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        h = torch.randn(5, 64, D, 1).expand(-1, -1, -1, T)
        assert error(encoder, h, h[2] + h[place]) < 0.3  # 1 for a network that knows nothing of it
        assert error(encoder, h.flip(0), h[2] + h[place]) > 1.5


def error(encoder: ContextEncoder, h: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    context = torch.arange(5)[None] * 64 + torch.arange(64)[:, None]
    order = context[:, [2, 0, 1, 3, 4]].T.flatten()  # the asked windows come first
    places = torch.argsort(order)[context]
    return (encoder(h.flatten(0, 1)[order], places) - wanted).square().mean()
