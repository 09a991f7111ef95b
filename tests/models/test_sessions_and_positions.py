"""Beyond the paper: layers of sessions, positions in metres, sensors without a position, windows by themselves."""

from __future__ import annotations

import pytest
import torch

from neurodecode.config import ModelSettings, validate
from neurodecode.errors import SettingsError
from neurodecode.models.aligner import Aligner
from neurodecode.models.build import build_model, count_parameters
from neurodecode.models.layers.session_layer import SessionLayer, Sessions
from neurodecode.models.layers.spatial_attention import SpatialAttention, fourier_basis
from neurodecode.models.layers.window_norm import window_norm
from tests.models.test_aligner import SMALL, B, C, F, L, S, SomeLayouts, some_input

# recordings 0..3 -> sessions 0..3; subject 0 has sessions 0 and 3, the last of which was never trained
SESSIONS = Sessions(torch.arange(L), torch.tensor([0, 1, 2, 0]), torch.tensor([True, True, True, False]))


class Layouts3D(SomeLayouts):
    """The same recordings with places in metres; the second lacks two, which are good all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.valid = torch.ones(L, C, dtype=torch.bool)
        self.places = 0.2 * (torch.rand(L, C, 3, generator=torch.Generator().manual_seed(3)) - 0.5)
        self.places[1, -2:] = float("nan")


def build(**changes) -> Aligner:
    torch.manual_seed(0)
    settings = ModelSettings(**{**SMALL, **changes})
    model = build_model(settings, n_chans=C, n_outputs=F, n_subjects=S, layouts=Layouts3D(), sessions=SESSIONS)
    assert isinstance(model, Aligner)
    return model


def moved_sessions(own: bool) -> SessionLayer:
    torch.manual_seed(1)
    layer = SessionLayer(4, S, SESSIONS, own)
    with torch.no_grad():
        layer.sessions.add_(torch.randn_like(layer.sessions))
    return layer


@pytest.mark.parametrize("own", [True, False])
def test_a_trained_session_has_a_matrix_of_its_own_and_others_get_their_subjects_mean(own) -> None:
    layer = moved_sessions(own)
    x = torch.randn(5, 4, 7)
    y = layer(x, torch.tensor([0, 1, 0, -1, 2]), torch.tensor([0, 1, 3, 2, 1]))
    of = layer.sessions if own else layer.matrices[SESSIONS.owner] + layer.sessions
    anybody = of[:3].mean(0)  # one trained session a subject: the mean over subjects is that over these
    # a session that is known, another, one never trained (its subject's only trained one stands in), nobody, a recording
    # of somebody else
    for row, matrix in zip(range(5), (of[0], of[1], of[0], anybody, of[2])):
        torch.testing.assert_close(y[row], matrix.T @ x[row])
    torch.testing.assert_close(layer(x, None, torch.zeros(5, dtype=torch.long))[0], anybody.T @ x[0])


def test_a_subjects_mean_is_that_of_his_trained_sessions() -> None:
    sessions = Sessions(torch.arange(3), torch.tensor([0, 0, 0]), torch.tensor([True, True, False]))
    layer = SessionLayer(2, 2, sessions, own=True)
    with torch.no_grad():
        for number in range(3):
            layer.sessions[number] = 10.0**number
    rows = layer.rows()
    assert rows[:3, 0, 0].tolist() == [1, 10, 100]
    # the subject outside of his sessions; a subject without any; nobody
    assert rows[3:, 0, 0].tolist() == [5.5, 5.5, 5.5]


def test_deviations_start_at_nothing_and_own_matrices_alike() -> None:
    deviation, own = SessionLayer(4, S, SESSIONS, own=False), SessionLayer(4, S, SESSIONS, own=True)
    assert torch.equal(deviation.rows()[[0, 3]], deviation.matrices[[0, 0]])
    assert torch.equal(own.sessions[0], own.sessions[3])
    assert not torch.equal(own.sessions[0], own.sessions[1])


@pytest.mark.parametrize(
    "changes",
    [
        {"sessions": "own"},
        {"sessions": "deviation"},
        {"instance_norm": True},
        {"positions": "3d"},
        {"positions": "3d", "unplaced": "token"},
        {"unplaced": "token"},
    ],
    ids=str,
)
def test_each_variant_folds_and_learns(changes) -> None:
    model = build(**changes)
    x, subject, layout = some_input()
    model(x, subject, layout).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []
    model.eval()
    with torch.no_grad():
        for who in (subject, torch.full_like(subject, -1), None):
            inside = window_norm(x) if model.instance_norm else x
            plain = model.head(model.encoder(model.front(inside, who, layout)))
            torch.testing.assert_close(model(x, who, layout), plain, rtol=1e-4, atol=1e-5)
        matrix, bias = model.fold(layout=1, subject=1)
        expected = model.front(x[1:2], torch.tensor([1]), torch.tensor([1]))
        torch.testing.assert_close(matrix @ x[1] + bias[:, None], expected[0], rtol=1e-4, atol=1e-5)


def test_switched_off_the_network_is_the_published_one() -> None:
    plain = build()
    assert count_parameters(plain) == count_parameters(build(instance_norm=True))
    assert [n for n in plain.state_dict() if "session" in n or "token" in n] == []


def test_the_series_in_a_cube_is_that_of_all_triples_of_frequencies() -> None:
    basis = fourier_basis(torch.tensor([[0.3, 0.1, 0.7]]), 3)
    assert basis.shape == (1, 54)
    phase = 2 * torch.pi * (2 * 0.5 + 0 * 0.3 + 1 * 0.9) / 1.4  # kx, ky, kz = 2, 0, 1
    assert basis[0, 2 * 9 + 0 * 3 + 1].item() == pytest.approx(torch.tensor(phase).cos().item(), abs=1e-5)
    assert basis[0, 27 + 2 * 9 + 1].item() == pytest.approx(torch.tensor(phase).sin().item(), abs=1e-5)


def test_metres_are_one_scale_for_all_recordings() -> None:
    places = torch.zeros(2, 3, 3)
    places[0, :, 2] = torch.tensor([0.01, 0.05, 0.09])
    places[1, :, 2] = torch.tensor([0.05, 0.09, 0.01])
    attention = SpatialAttention(4, places, torch.ones(2, 3, dtype=torch.bool), frequencies=3).eval()
    weights = attention.weights()[attention.distinct]
    torch.testing.assert_close(weights[0], weights[1][:, [2, 0, 1]])


def test_positions_that_are_no_metres_are_refused() -> None:
    places = torch.zeros(1, 2, 3)
    places[0, 1, 0] = 45.0  # mm
    with pytest.raises(SettingsError, match=r"recording 1 has a sensor at \(45, 0, 0\) m"):
        SpatialAttention(4, places, torch.ones(1, 2, dtype=torch.bool), frequencies=3)


def test_dropout_in_a_cube_bans_neighbours_of_a_sensor_in_every_pass() -> None:
    attention = SpatialAttention(4, Layouts3D().places[:1], torch.ones(1, C, dtype=torch.bool), frequencies=3)
    banned = [(attention.weights()[0, 0] == 0).sum().item() for _ in range(30)]
    assert min(banned) >= 1
    assert (attention.eval().weights() > 0).all()


def test_a_sensor_without_a_position_is_masked_or_gets_the_token() -> None:
    masked, token = (build(unplaced=how).eval().attention for how in ("masked", "token"))
    assert (masked.weights()[masked.distinct[1]][:, -2:] == 0).all()
    weights = token.weights()[token.distinct[1]]
    assert (weights[:, -2:] > 0).all()
    torch.testing.assert_close(weights[:, -1], weights[:, -2])
    with torch.no_grad():
        token.token.fill_(30.0)
    assert token.weights()[token.distinct[1]][:, -2:].sum(1).min() > 0.99


def test_a_window_by_itself_has_mean_0_and_deviation_1_whatever_its_gain() -> None:
    x = torch.randn(B, C, 50) * 7 + 3
    x[0, 0] = 5.0
    y = window_norm(x)
    torch.testing.assert_close(y.mean(-1), torch.zeros(B, C), atol=1e-5, rtol=0)
    assert (y[0, 0] == 0).all()
    torch.testing.assert_close(y[1:].std(-1, correction=0), torch.ones(B - 1, C), atol=1e-4, rtol=0)
    torch.testing.assert_close(window_norm(100 * x)[1:], y[1:], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sessions": "own", "subjects": "none"}, "sessions own needs subjects layer"),
        ({"positions": "3d"}, "32 is too many"),
        ({"positions": "3d", "spatial_attention": False}, "read by spatial_attention"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(values, message) -> None:
    with pytest.raises(SettingsError, match=message):
        validate(ModelSettings, values, "x.yaml")
