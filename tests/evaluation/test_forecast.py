"""Parts of the training data are nested and reach everybody, a line is forecast exactly, and a poor one is cautioned of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neurodecode.config import TrainSettings, validate
from neurodecode.config.evaluation import ForecastSettings, RidgeSettings
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.evaluation.hours import forecast as module
from neurodecode.evaluation.hours.extrapolation import Curve, extrapolate
from neurodecode.evaluation.hours.forecast import forecast, forecast_tables, same_updates
from neurodecode.evaluation.hours.subsets import block_order, part_of, training_hours, without_validation
from neurodecode.reports.forecast import forecast_figure, write_figure
from neurodecode.segments.windows import WindowIndex, build_windows
from tests.evaluation.toys import ToyFeatures, toy_settings, toy_store

RIDGE = RidgeSettings(penalties=(0.1, 1.0, 10.0))
QUICK = ForecastSettings(fractions=(0.25, 0.5, 1.0), repeats=2, bootstrap=100, ridge=RIDGE)


@pytest.fixture(scope="module")
def index() -> WindowIndex:
    made = build_windows(toy_store(ToyFeatures(0), 1.0), toy_settings())
    return made.fold("fold-0")


def test_parts_are_nested_whole_blocks_and_leave_the_test_windows(index: WindowIndex) -> None:
    order = block_order(index, seed=1)
    train = set(index.rows("train").tolist())
    blocks = index.table["block"].to_numpy()
    before: set[int] = set()
    for fraction in (0.25, 0.5, 1.0):
        part = part_of(index, order, fraction)
        rows = set(part.rows("train").tolist())
        assert before < rows <= train
        here = set(blocks[sorted(rows)].tolist())
        assert len(here) == round(fraction * len(order))
        assert all(row in rows for row in train if blocks[row] in here)  # for all listeners alike
        assert np.array_equal(part.rows("test"), index.rows("test"))
        assert np.array_equal(part.rows("valid"), index.rows("valid"))
        before = rows
    assert before == train
    assert not len(without_validation(index).rows("valid"))


def test_the_smallest_part_reaches_every_subject_and_another_draw_is_another_part(index: WindowIndex) -> None:
    first, second = (part_of(index, block_order(index, seed), 0.15) for seed in (0, 1))
    for part in (first, second):
        assert set(part.table["subject"].to_numpy()[part.rows("train")]) == {0, 1}
    assert set(first.rows("train").tolist()) != set(second.rows("train").tolist())
    assert np.array_equal(block_order(index, 0), block_order(index, 0))


def test_a_part_too_small_for_the_scope_of_the_scalers_is_refused() -> None:
    settings = toy_settings()
    scaling = settings.scaling.model_copy(update={"scope": "recording"})
    made = build_windows(toy_store(ToyFeatures(0), 1.0), settings.model_copy(update={"scaling": scaling})).fold(
        "fold-0"
    )
    order = block_order(made, 0)
    assert len(part_of(made, order, 0.25).rows("train"))  # four blocks or more: one of each stimulus comes first
    with pytest.raises(
        NeurodecodeError, match=r"0.05 of the training data is 1 of \d+ blocks, but 4 are needed for each"
    ):
        part_of(made, order, 0.05)


def test_hours_count_each_moment_once(index: WindowIndex) -> None:
    """Windows of 3 s each second: a block of 6 s has starts 0 to 3, which cover it once."""
    rows = index.rows("train")
    starts = index.table.iloc[rows].groupby(["subject", "recording"])["start"]
    covered = sum(len({s + k for s in part for k in range(index.n_times)}) for _, part in starts)
    assert training_hours(index) == pytest.approx(covered / index.sfreq / 3600 / 2)


def curve_of(means: list[float], noise: float = 0.02, hours: tuple[float, ...] = (1, 2, 4, 8)) -> Curve:
    rng = np.random.default_rng(0)
    shared = noise * rng.normal(size=400)  # the same test queries: what is hard is hard for all parts
    values = [np.tile(m + shared - shared.mean(), (2, 1)) for m in means]
    return Curve(np.array(hours, float), values, 0.1)


def test_errors_that_a_doubling_cuts_alike_are_forecast_exactly_without_caution() -> None:
    means = [1 - 0.8 * 0.9**k for k in range(4)]
    found = extrapolate(curve_of(means), np.arange(400) % 20, repeats=200, seed=0)
    assert 0.5 ** found["law"]["slope"] == pytest.approx(0.9)
    assert found["gain"]["value"] == pytest.approx(0.8 * (0.9**3 - 0.9**4))
    assert found["r2"] == pytest.approx(1.0)
    assert [f["value"] for f in found["forecasts"]] == [pytest.approx(1 - 0.8 * 0.9**k) for k in (4, 5)]
    assert [f["hours"] for f in found["forecasts"]] == [16, 32]
    assert found["check"]["value"] == pytest.approx(means[-1])
    assert found["cautions"] == []
    for entry in [*found["points"], *found["forecasts"], found["gain"]]:
        assert entry["low"] <= entry["value"] <= entry["high"]


@pytest.mark.parametrize(
    ("means", "caution"),
    [
        ([0.2, 0.4, 0.55, 0.6], "Accuracy is flattening"),
        ([0.2, 0.21, 0.25, 0.5], "rising faster than the curve"),
        ([0.3, 0.3, 0.3, 0.3], "do not show that more hours help"),
        ([0.3, 0.5, 0.2, 0.4], "do not lie on the curve"),
        ([0.1, 0.1, 0.1, 0.1], "not above chance"),
        ([0.75, 0.82, 0.89, 0.96], "near its ceiling"),
    ],
)
def test_a_poor_guide_is_cautioned_of(means: list[float], caution: str) -> None:
    found = extrapolate(curve_of(means), np.arange(400) % 20, repeats=200, seed=0)
    assert any(caution in line for line in found["cautions"])


@pytest.mark.parametrize("last", [0.99, 1.0])
def test_a_forecast_never_leaves_the_possible(last: float) -> None:
    found = extrapolate(curve_of([0.7, 0.8, 0.9, last], noise=0.0), np.arange(400) % 20, repeats=100, seed=0)
    assert all(0.9 < f["low"] <= f["value"] <= f["high"] < 1 for f in found["forecasts"])


def test_draws_that_differ_widen_the_interval() -> None:
    same, apart = curve_of([0.2, 0.3, 0.4, 0.5]), curve_of([0.2, 0.3, 0.4, 0.5])
    apart.values[0][0] += 0.1
    apart.values[0][1] -= 0.1
    widths = []
    for curve in (same, apart):
        point = extrapolate(curve, np.arange(400) % 20, repeats=300, seed=0)["points"][0]
        widths.append(point["high"] - point["low"])
    assert widths[1] > widths[0] + 0.1


def test_a_part_of_the_data_gets_as_many_updates_as_all_of_them() -> None:
    training = validate(TrainSettings, {"training": {"epochs": 8, "batch_size": 50, "steps_per_epoch": None}}, "x")
    part = same_updates(training, all_rows=1000, rows=250, draw=2)
    assert part.training.epochs == 32
    assert part.seed == training.seed + 2
    limited = validate(TrainSettings, {"training": {"epochs": 8, "batch_size": 50, "steps_per_epoch": 5}}, "x")
    assert same_updates(limited, all_rows=1000, rows=250, draw=0).training.epochs == 8


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> TrainSettings:
    import neurodecode.stimuli.features as features

    toys = ToyFeatures(0)
    monkeypatch.setattr(module, "Store", lambda path: toy_store(toys, 12.0, seed=1))
    monkeypatch.setattr(features, "compute_features", lambda *_: toys)
    model = {"spatial_channels": 6, "fourier_frequencies": 2, "hidden": 8, "depth": 1}
    training = {"epochs": 1, "batch_size": 64, "accelerator": "cpu", "learning_rate": 0.003}
    values = {"name": "toy", "segments": toy_settings().model_dump(), "model": model, "training": training}
    return validate(TrainSettings, values, "toy")


def test_a_forecast_is_written_resumed_and_shown(
    recipe: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = forecast(recipe, Path("store"), tmp_path, QUICK, progress=False)
    found = result["decoders"]["ridge"]
    values = [p["value"] for p in found["points"]]
    assert values[0] < values[-1]
    assert values[-1] > 3 * found["chance"]
    assert [p["draws"] for p in found["points"]] == [2, 2, 1]
    assert found["points"][1]["hours"] == pytest.approx(found["points"][2]["hours"] / 2, rel=0.2)
    assert json.loads((tmp_path / "forecast.json").read_text(encoding="utf-8")) == result
    assert len(list((tmp_path / "points").iterdir())) == 5
    # a point that is there is not computed again
    (tmp_path / "points" / "ridge-0.5-1.npz").unlink()
    fitted = []
    real = module._ridge
    monkeypatch.setattr(module, "_ridge", lambda part, *rest: fitted.append(part.fraction) or real(part, *rest))
    again = forecast(recipe, Path("store"), tmp_path, QUICK, progress=False)
    assert fitted == [0.5]
    assert again["decoders"] == result["decoders"]
    title, columns, rows, notes = forecast_tables(result)[0]
    assert "SIMULATED" in title
    assert [len(row) for row in rows] == [len(columns)] * 6
    assert any("A doubling of the hours leaves" in note for note in notes)
    figure = write_figure(result, tmp_path).read_text(encoding="utf-8")
    assert figure.startswith("<svg")
    assert figure == forecast_figure(result) + "\n"
    with pytest.raises(SettingsError, match="holds a forecast with training.seed=2036, not 7"):
        forecast(recipe.model_copy(update={"seed": 7}), Path("store"), tmp_path, QUICK, progress=False)


def test_the_network_is_trained_on_each_part_and_not_again(
    recipe: TrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = QUICK.model_copy(update={"repeats": 1, "network": True})
    result = forecast(recipe, Path("store"), tmp_path, settings, progress=False)
    assert set(result["decoders"]) == {"ridge", "network"}
    folds = sorted(p.parent.parent.name for p in tmp_path.glob("network/*/*/finished.json"))
    assert folds == ["0.25-0", "0.5-0", "1-0"]
    monkeypatch.setattr("neurodecode.training.fit.train_fold", lambda *a, **k: pytest.fail("trained again"))
    for path in (tmp_path / "points").glob("network-*"):
        path.unlink()
    again = forecast(recipe, Path("store"), tmp_path, settings, progress=False)
    assert again["decoders"]["network"] == result["decoders"]["network"]


def test_a_folder_with_other_things_and_parts_that_are_the_same_are_refused(
    recipe: TrainSettings, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.txt").write_text("x", encoding="utf-8")
    with pytest.raises(SettingsError, match="neither empty nor a forecast"):
        forecast(recipe, Path("store"), tmp_path / "other", QUICK, progress=False)
    close = QUICK.model_copy(update={"fractions": (0.25, 0.251, 1.0)})
    with pytest.raises(NeurodecodeError, match="some the same; use larger fractions"):
        forecast(recipe, Path("store"), tmp_path / "new", close, progress=False)


def test_a_recipe_that_limits_its_training_data_itself_is_refused(recipe: TrainSettings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="minutes: 2.0 limits what a run learns"):
        forecast(recipe.model_copy(update={"minutes": 2.0}), Path("store"), tmp_path, QUICK, progress=False)


@pytest.mark.parametrize("fractions", [[0.5, 1.0], [0.5, 0.25, 1.0], [0.1, 0.2, 0.5], [0.0, 0.5, 1.0]])
def test_fractions_ascend_and_end_with_all(fractions: list[float]) -> None:
    with pytest.raises(SettingsError, match="fraction"):
        validate(ForecastSettings, {"fractions": fractions}, "x")
