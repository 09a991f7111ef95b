"""The codebook stages: each learns, hands on to the next, goes on after a kill, and is scored beside chance."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch

from neurodecode.cli import main
from neurodecode.config import CodebookTrainSettings, TrainSettings, load_training
from neurodecode.errors import LeakageError, NeurodecodeError, SettingsError
from neurodecode.evaluation.classification import beside
from neurodecode.evaluation.runs.evaluate import evaluate
from neurodecode.files import read_json
from neurodecode.models.codebook.masked import MaskedEncoder
from neurodecode.training import codebook
from neurodecode.training.classification import classification_table, figures, judge, read_classification
from neurodecode.training.codebook import fit_codebook
from neurodecode.training.codebook_stages import load_stage
from neurodecode.training.codebook_task import TokenizerTask, moved, rate
from neurodecode.training.load import load_fold
from tests.training.codebook_cohort import WORDS, cohort
from tests.training.codebook_runs import NAMES, TWO, column, rows, settings, state, train

LONG = "training.epochs=30"  # of the masked stage: enough on any processor


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    return train("tokenizer", tmp_path_factory.mktemp("runs") / "tokenizer")


@pytest.fixture(scope="module")
def masked(tmp_path_factory, tokenizer) -> Path:
    return train("masked", tmp_path_factory.mktemp("runs") / "masked", f"start_from={tokenizer}", LONG)


@pytest.fixture(scope="module")
def words(tmp_path_factory, masked) -> Path:
    return train("classify", tmp_path_factory.mktemp("runs") / "words", f"start_from={masked}")


def test_the_tokenizer_learns_to_reconstruct_and_says_how_much_of_its_table_it_uses(tokenizer) -> None:
    loss = column(tokenizer, "valid_reconstruction")
    assert loss[-1] < 0.8 * loss[0]
    assert all(0 < value <= 1 for value in column(tokenizer, "usage"))
    assert column(tokenizer, "usage")[-1] > 0.5
    assert all(1 <= value <= 16 for value in column(tokenizer, "perplexity"))
    done = read_json(tokenizer / "fold-0" / "finished.json")
    assert done["usage"] == pytest.approx(column(tokenizer, "usage")[-1])
    info = read_json(tokenizer / "run.json")
    assert (info["kind"], info["finished"], info["sizes"]["n_chans"]) == ("codebook-tokenizer", True, [3])


def test_the_masked_stage_predicts_the_tokenizers_codes_and_does_not_keep_the_tokenizer(tokenizer, masked) -> None:
    loss, accuracy = column(masked, "valid_loss"), column(masked, "valid_accuracy")
    assert loss[-1] < 0.95 * loss[0]
    assert accuracy[-1] > 1.3 * column(masked, "valid_majority")[-1]
    model, loaded = load_stage(masked)
    assert isinstance(model, MaskedEncoder)
    assert model.codes == 16
    assert str(loaded.start_from) == str(tokenizer)
    assert {f"model.{key}" for key in model.state_dict()} == set(state(masked))


def test_the_classifier_starts_with_the_masked_encoder_and_hears_what_was_planted(masked, words) -> None:
    result = read_json(words / "evaluation" / "test.json")
    assert result["kind"] == "classification"
    assert (result["n_windows"], result["n_classes"]) == (32, 4)
    accuracy = result["metrics"]["accuracy"]
    assert accuracy["value"] > 0.8
    assert accuracy["chance"] == 0.25
    assert accuracy["majority"] < 0.5
    assert result["metrics"]["top5"]["chance"] == 1
    assert result["metrics"]["cross_entropy"]["chance"] == pytest.approx(np.log(4))
    assert result["start_from"]["task"] == "masked"
    answers = pd.read_csv(words / "evaluation" / "test_answers.csv.gz")
    assert accuracy["value"] == (answers["label"] == answers["answer"]).mean()
    assert set(answers["recording"]) == {"sub-1_run-4"}
    title, columns, table, notes = classification_table(read_classification(words))
    assert "32 test windows, 4 labels" in title
    assert len(columns) == len(table[0]) == 4
    assert notes[0].startswith("Simulated")


@pytest.mark.parametrize("start", ["tokenizer", "masked"])
def test_every_tensor_of_the_encoder_comes_from_the_earlier_stage(tmp_path, request, monkeypatch, start) -> None:
    earlier = request.getfixturevalue(start)
    began: dict[str, torch.Tensor] = {}

    class Stop(Exception):
        pass

    def keep(task, *args, **kwargs):
        began.update({k: v.clone() for k, v in task.model.encoder.state_dict().items()})
        raise Stop

    monkeypatch.setattr(codebook, "train_task", keep)
    with pytest.raises(Stop):
        train("classify", tmp_path / "run", f"start_from={earlier}")
    theirs = load_stage(earlier)[0].encoder.state_dict()
    assert began.keys() == theirs.keys()
    assert [k for k in began if not torch.equal(began[k], theirs[k])] == []


class Kill(L.Callback):
    """Ends the process's work within a chosen epoch."""

    def on_train_batch_end(self, trainer, *args) -> None:
        if trainer.current_epoch == 2 and args[-1] == 1:
            raise RuntimeError("killed")


@pytest.mark.parametrize("task", ["tokenizer", "masked"])
def test_a_killed_run_ends_like_an_undisturbed_one(tmp_path, request, monkeypatch, task) -> None:
    undisturbed = request.getfixturevalue(task)
    start = [f"start_from={request.getfixturevalue('tokenizer')}", LONG] if task == "masked" else []
    whole = codebook.train_task
    monkeypatch.setattr(codebook, "train_task", lambda *a, **k: whole(*a, **k, extra=(Kill(),)))
    with pytest.raises(RuntimeError, match="killed"):
        train(task, tmp_path / "run", *start)
    assert len(rows(tmp_path / "run")) == 2
    monkeypatch.setattr(codebook, "train_task", whole)
    torch.manual_seed(99)  # whatever the new process's random state is
    train(task, tmp_path / "run", *start)
    for name in ("last.ckpt", "best.ckpt"):
        one, other = state(tmp_path / "run", name), state(undisturbed, name)
        assert one.keys() == other.keys()
        assert [k for k in one if not torch.equal(one[k], other[k])] == []
    assert rows(tmp_path / "run") == rows(undisturbed)


def test_subjects_with_different_channels_share_a_network_from_first_stage_to_last(tmp_path) -> None:
    short = "training.epochs=2"
    first = train("tokenizer", tmp_path / "tokenizer", short, subjects=TWO)
    info = read_json(first / "run.json")
    assert info["sizes"]["n_chans"] == [3, 2]
    assert info["channel_names"] == {"1": ["A1", "A2", "A3"], "2": ["B1", "C2"]}
    second = train("masked", tmp_path / "masked", short, f"start_from={first}", subjects=TWO)
    third = train("classify", tmp_path / "words", "training.epochs=8", f"start_from={second}", subjects=TWO)
    result = read_json(third / "evaluation" / "test.json")
    assert [entry["subject"] for entry in result["subjects"]] == ["1", "2"]
    assert result["metrics"]["accuracy"]["value"] > 0.6
    # one of the two alone, from the network of both
    alone = train("classify", tmp_path / "second", short, f"start_from={second}", "subjects=['2']", subjects=TWO)
    assert read_json(alone / "run.json")["sizes"]["n_chans"] == [2]


def test_columns_are_each_subjects_own_channels(tmp_path) -> None:
    from neurodecode.segments.labels import build_labels
    from neurodecode.training.codebook_data import SubjectSource

    store = cohort(TWO)
    index = build_labels(store, settings("tokenizer").labels).fold("fold-0")
    source = index.source()
    rows_of = [index.rows("train")[index.table["subject"].to_numpy()[index.rows("train")] == s][:1] for s in (0, 1)]
    batch = SubjectSource(source)[np.concatenate(rows_of)]
    for k, row in enumerate(np.concatenate(rows_of)):
        recording, start = store.recordings[index.table["recording"][row]], index.table["start"][row]
        own = recording.signal[:, start : start + 60]
        assert torch.equal(batch.signal[k, : len(own)], torch.from_numpy(own))
        assert (batch.signal[k, len(own) :] == 0).all()


def test_a_recording_without_a_channel_that_others_have_is_named(recwarn) -> None:
    from neurodecode.segments.labels import build_labels
    from neurodecode.training.codebook_data import SubjectSource

    store = cohort(TWO)
    index = build_labels(store, settings("tokenizer").labels).fold("fold-0")
    whole = SubjectSource(index.source())
    assert [str(w.message) for w in recwarn if "lacks" in str(w.message)] == []
    number = next(i for i, r in enumerate(index.recordings) if r.subject == index.subjects[0])
    lame = index.recordings[number]
    gone = whole.channels[0][0]
    source = index.source()
    column = source.layouts.names.index(gone)
    source.layouts.valid[number, column] = False
    with pytest.warns(UserWarning, match="lacks") as told:
        SubjectSource(source)
    said = [str(w.message) for w in told if "lacks" in str(w.message)]
    assert len(said) == 1
    assert said[0].startswith(f"{lame.name} lacks {gone} (1 of {len(whole.channels[0])}): other recordings")
    # without the channel nobody is told anything
    recwarn.clear()
    SubjectSource(source, {index.subjects[0]: whole.channels[0][1:], index.subjects[1]: whole.channels[1]})
    assert [str(w.message) for w in recwarn if "lacks" in str(w.message)] == []


def test_a_stage_that_saw_test_windows_is_refused(tmp_path, tokenizer) -> None:
    with pytest.raises(LeakageError, match=r"was trained on second .* of sub-1_run-2, which fold-0 tests here"):
        train("masked", tmp_path / "run", f"start_from={tokenizer}", "labels.split.test_runs=['2']")


@pytest.mark.parametrize(
    ("task", "start", "overrides", "subjects", "message"),
    [
        ("masked", "masked", [], NAMES, "is a masked run; masked needs a tokenizer's"),
        ("masked", "tokenizer", ["model.encoder.patch=30", "model.encoder.strides=[5,1,1]"], NAMES, "the tokenizer has 20"),
        ("masked", "tokenizer", [], TWO, "has no subject 2"),
        ("masked", "tokenizer", [], {"1": ("A1", "A2", "A4")}, "they differ in A3, A4"),
        ("classify", "masked", ["model.encoder.depth=2"], NAMES, r"model.encoder.depth: 2, but .* has 1"),
        ("classify", "words", [], NAMES, "give a masked or a tokenizer run"),
        ("classify", "masked", ["model.quantizer={codes: 16}"], NAMES, "needs a tokenizer run"),
        ("classify", "masked", ["labels.window.tmax=0.45"], NAMES, "55 samples at 100 Hz are no multiple"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, request, task, start, overrides, subjects, message) -> None:
    earlier = request.getfixturevalue(start)
    with pytest.raises(SettingsError, match=message) as error:
        train(task, tmp_path / "run", f"start_from={earlier}", *overrides, subjects=subjects)
    assert "\n" not in str(error.value)


def test_a_table_that_would_not_start_is_refused_and_one_that_collapses_is_called_so(tmp_path) -> None:
    with pytest.raises(SettingsError, match="k-means waits for 4000 tokens, an epoch has 192"):
        train("tokenizer", tmp_path / "one", "model.quantizer.start_tokens=4000")
    assert not (tmp_path / "one").exists()  # or the corrected settings would be refused there
    with pytest.warns(UserWarning, match="the table has collapsed"):
        train("tokenizer", tmp_path / "two", "training.epochs=1", "least_usage=1", "model.quantizer.revive_below=0",
              "model.quantizer.codes=128", "model.quantizer.start_tokens=128")  # fmt: skip


def test_a_table_that_starts_late_starts_within_an_epoch_of_the_training_or_is_refused(tmp_path) -> None:
    # an epoch has 4 steps of 16 windows of 3 tokens, and k-means waits for 64 tokens
    with pytest.raises(SettingsError, match="from step 4 of an epoch of 4 steps, beyond its end; set start_after=4"):
        train("tokenizer", tmp_path / "one", "model.quantizer.start_after=7")
    with pytest.raises(SettingsError, match="8 steps, but the whole training has 8"):
        train("tokenizer", tmp_path / "two", "model.quantizer.start_after=8", "training.epochs=2")
    run = train("tokenizer", tmp_path / "three", "model.quantizer.start_after=4", "training.epochs=2")
    table = "model.bottleneck.quantizer."
    assert [int(state(run)[table + name]) for name in ("passed", "started")] == [4, 1]


def test_a_stage_that_a_constant_answers_as_well_is_called_so_and_one_that_learns_is_not(
    tmp_path, tokenizer, masked
) -> None:
    with pytest.warns(UserWarning, match=r"the reconstruction \(error .* no better than a constant"):
        start = train("tokenizer", tmp_path / "still", "training.epochs=1", "training.learning_rate=1e-9",
                      "training.final_rate=1e-9")  # fmt: skip
    with pytest.warns(UserWarning, match="hidden codes are named no better than by their most frequent one"):
        train("masked", tmp_path / "masked", f"start_from={start}", "training.epochs=1", "training.learning_rate=1e-9",
              "training.final_rate=1e-9")  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for run in (tokenizer, masked):
            table = [{k: float(v) for k, v in row.items()} for row in rows(run)]
            codebook._warn_about_nothing(run, min(table, key=lambda row: row["valid_loss"]))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"valid_loss": 1.0, "valid_zero": 1.1, "valid_mean": 0.9}, "prediction of hidden patches .error 1.000. is no"),
        ({"valid_loss": 0.8, "valid_zero": 1.1, "valid_mean": 0.9}, ""),
        ({"valid_loss": 1.5, "valid_reconstruction": 0.9, "valid_zero": 0.9, "valid_mean": 1.0}, "reconstruction .error"),
        ({"valid_loss": 1.5, "valid_reconstruction": 0.8, "valid_zero": 0.9, "valid_mean": 1.0}, ""),
        ({"valid_loss": 0.5, "valid_cosine": 0.5, "valid_mean_embedding": 0.6}, "no better than by their mean"),
        ({"valid_loss": 0.5, "valid_cosine": 0.7, "valid_mean_embedding": 0.6}, ""),
        ({"valid_loss": 0.5, "valid_accuracy": 0.1}, ""),  # a classifier's has no majority beside it
    ],
)  # fmt: skip
def test_each_stage_is_compared_with_the_better_of_its_constant_answers(tmp_path, row, message) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        codebook._warn_about_nothing(tmp_path, row)
    assert len(caught) == bool(message)
    assert not message or re.search(message, str(caught[0].message))


def test_labels_that_training_lacks_do_not_matter_before_the_last_stage(tmp_path) -> None:
    store = cohort(NAMES)
    store.recordings[3].events["label"] = "unheard"
    short = "training.epochs=1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebook, "Store", lambda path: store)
        run = fit_codebook(settings("tokenizer", short), Path("fake-store"), tmp_path / "run", progress=False)
        assert read_json(run / "run.json")["split"]["counts"]["test"] == 32
        with pytest.raises(NeurodecodeError, match="labels that no training window has: unheard"):
            fit_codebook(settings("classify", short), Path("fake-store"), tmp_path / "words", progress=False)


def test_pretraining_may_take_whole_recordings_but_no_sample_of_a_tested_run(tmp_path) -> None:
    store = cohort(NAMES)
    store.recordings[0].bad_spans = np.array([[5.0, 6.0]])
    store.recordings[1].events = store.recordings[1].events.iloc[:0]  # no event tells its side
    short = "training.epochs=1"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebook, "Store", lambda path: store)
        run = fit_codebook(settings("tokenizer", short, "stride=0.3"), Path("x"), tmp_path / "run", progress=False)
        start = f"start_from={run}"
        fit_codebook(settings("classify", short, start), Path("x"), tmp_path / "words", progress=False)
        with pytest.raises(LeakageError, match="was trained on second"):
            fit_codebook(
                settings("classify", short, start, "labels.split.test_runs=['1']"), Path("x"), tmp_path / "leak"
            )
    table = pd.read_csv(run / "fold-0" / "windows.csv.gz")
    assert table.groupby("recording")["split"].unique().map(list).tolist() == [
        ["train"],
        ["train"],
        ["valid"],
        ["test"],
    ]
    clean, first = table[table["recording"] == 1]["start"], table[table["recording"] == 0]["start"]
    n_samples = store.recordings[1].n_samples
    assert clean.tolist() == list(range(0, n_samples - 60 + 1, 30))
    assert first.tolist() == [start for start in clean if start + 60 <= 500 or start >= 600]
    for task, override, message in (
        ("classify", [], "stand around events"),
        ("tokenizer", ["labels.split.rule=paper"], "stride needs whole runs"),
    ):
        with pytest.raises(SettingsError, match=message):
            settings(task, "stride=1", *override)


def test_a_finished_run_is_kept_and_other_settings_are_refused(tokenizer) -> None:
    before = (tokenizer / "run.json").read_bytes()
    train("tokenizer", tokenizer)
    assert (tokenizer / "run.json").read_bytes() == before
    with pytest.raises(SettingsError, match="holds a run with seed=1, not 2"):
        train("tokenizer", tokenizer, "seed=2")


def test_the_aligners_commands_say_in_one_line_that_they_cannot_read_such_a_run(words) -> None:
    from neurodecode.config import EvaluationSettings

    for read in (
        lambda: evaluate(words, EvaluationSettings()),
        lambda: load_fold(words, "fold-0"),
    ):
        with pytest.raises(SettingsError, match="a run of the codebook task classify") as error:
            read()
        assert "\n" not in str(error.value)


def test_a_file_with_a_task_trains_a_stage_and_any_other_the_aligner() -> None:
    assert isinstance(load_training("tiny"), TrainSettings)
    assert settings("masked").model.kind == "codebook-masked"
    for overrides, message in (
        (["model.kind=codebook-tokenizer"], "task classify trains codebook-classifier"),
        (["training.control=noise"], "the codebook stages have none"),
        (["labels.window.shift=0.1"], "set it to 0"),
    ):
        with pytest.raises(SettingsError, match=message):
            settings("classify", *overrides)
    with pytest.raises(SettingsError) as error:
        settings("classify", "model.hiden=[4]")
    assert str(error.value) == (
        "duin_tiny_classify: model.hiden is not a setting; did you mean hidden? (allowed here: encoder, head_dropout, "
        "hidden, kind, output, quantizer)"
    )
    with pytest.raises(SettingsError, match=r": model.encoder.depth: 0 is not allowed"):
        settings("masked", "model.encoder.depth=0")
    with pytest.raises(SettingsError, match="masked needs start_from"):
        settings("masked", "start_from=null")


def test_the_published_rate_rises_by_epochs_and_falls_by_half_a_cosine() -> None:
    published = load_training("duin_tokenizer")
    assert isinstance(published, CodebookTrainSettings)
    values = [3e-4 * rate(published, epoch) for epoch in range(400)]
    assert values[0] == pytest.approx(3e-4 / 40)
    assert values[39] == values[40] == pytest.approx(3e-4)
    assert values[-1] == pytest.approx(5e-5)
    assert values[40:] == sorted(values[40:], reverse=True)


def test_a_moved_window_is_filled_up_with_zeros_and_one_that_stays_is_whole() -> None:
    signal = torch.arange(1.0, 6.0).expand(3, 2, 5)
    found = moved(signal, torch.tensor([0, 2, -1]))
    expected = [[1, 2, 3, 4, 5], [0, 0, 1, 2, 3], [2, 3, 4, 5, 0]]
    for window, values in zip(found, expected):
        assert window.tolist() == [values, values]


def test_the_command_line_trains_a_stage_and_prints_its_figures(tmp_path, capsys, monkeypatch) -> None:
    for module in (codebook, beside):
        monkeypatch.setattr(module, "Store", lambda path: cohort(NAMES))
    run = str(tmp_path / "run")
    short = ["--set", "training.epochs=2", "--set", "shift=0.05"]
    with pytest.raises(SystemExit) as ended:
        main(["train", "duin_tiny_classify", "--store", "x", "--out", run, *short])
    assert ended.value.code == 0
    assert f"next: neurodecode evaluate {run}" in capsys.readouterr().out.replace("\n", "")
    for arguments, code, words in (
        (["evaluate", run], 0, "balanced accuracy"),
        (["evaluate", run, "--split", "valid"], 2, "a classifier is scored on test windows only"),
        (["report", run], 0, "report.html"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        said = capsys.readouterr()
        assert ended.value.code == code
        assert words in said.out + said.err


def test_vectors_are_not_decayed() -> None:
    from neurodecode.models.codebook.build import build_tokenizer

    chosen = settings("tokenizer")
    task = TokenizerTask(build_tokenizer(chosen.model, n_chans=3), chosen, 1)  # type: ignore[arg-type]
    groups = task.configure_optimizers()["optimizer"].param_groups
    assert {p.ndim > 1 for p in groups[0]["params"]} == {True}
    assert {p.ndim > 1 for p in groups[1]["params"]} == {False}
    assert (groups[0]["weight_decay"], groups[1]["weight_decay"]) == (0.05, 0.0)
    assert sum(len(g["params"]) for g in groups) == len(list(task.model.parameters()))


def test_answers_are_judged_beside_the_training_labels_frequencies() -> None:
    logits = torch.tensor([[3.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 2.0], [9.0, 0.0, 0.0]])
    counts = np.tile([1, 8, 1], (4, 1))
    judged = judge(logits, np.array([0, 1, 2, -1]), counts)
    assert judged["right"].tolist() == [True, False, True, False]
    assert judged["majority_right"].tolist() == [False, True, False, False]
    assert np.isnan(judged["loss"]).tolist() == [False, False, False, True]
    assert judged["majority_loss"][1] == pytest.approx(-np.log(9 / 13))
    names = np.array(["a", "b", "c"])
    named = {key: names[judged.pop(key)] for key in ("answer", "majority_answer")}
    table = pd.DataFrame({"label": ["a", "a", "c", "x"], "classes": 3, **named, **judged})
    found = figures(table)
    assert found["accuracy"]["value"] == 0.5
    assert found["balanced_accuracy"]["value"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert found["cross_entropy"]["value"] == pytest.approx(np.nanmean(judged["loss"]))
    # answers a, a, c, a of labels a, a, c, x
    assert found["macro_f1"]["value"] == pytest.approx((2 * 2 / (2 + 3) + 1 + 0) / 3)
    assert found["macro_f1"]["majority"] == 0  # names b, which is never asked
    assert found["macro_f1"]["chance"] == pytest.approx(
        (2 * 0.5 / 3 / (0.5 + 1 / 3) + 2 * (2 * 0.25 / 3 / (0.25 + 1 / 3))) / 3
    )


def test_words_of_the_cohort_are_balanced() -> None:
    labels = cohort(NAMES).recordings[0].events["label"]
    assert labels.value_counts().to_dict() == dict.fromkeys(WORDS, 8)


def rest(seconds: int = 30):
    """Two recordings of one subject in which nothing is marked."""
    store = cohort(NAMES)
    store.recordings = store.recordings[:2]
    for recording in store.recordings:
        recording.events = recording.events.iloc[:0]
        recording.signal = recording.signal[:, : seconds * 100]
    return store


def test_recordings_without_events_can_be_pretrained_on_and_their_ends_validate(tmp_path) -> None:
    short = ("training.epochs=1", "stride=0.3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codebook, "Store", lambda path: rest(20))
        run = fit_codebook(settings("tokenizer", *short), Path("x"), tmp_path / "run", progress=False)
        second = fit_codebook(
            settings("masked", *short, f"start_from={run}"), Path("x"), tmp_path / "masked", progress=False
        )
        with pytest.raises(SettingsError, match="no recording has an event of kind word.*set stride=4"):
            fit_codebook(settings("tokenizer"), Path("x"), tmp_path / "none", progress=False)
    table = pd.read_csv(run / "fold-0" / "windows.csv.gz")
    for _, rows_of in table.groupby("recording"):
        sides = rows_of.groupby("split")["start"]
        assert set(rows_of["split"]) == {"train", "valid"}
        assert sides.max()["train"] + 60 <= 1800 <= sides.min()["valid"]  # samples of 2000: no sample on both sides
    split = read_json(second / "run.json")["split"]
    assert (split["rule"], split["counts"]["test"]) == ("time", 0)
    assert split["dropped"] == {"strided window lies across the border of training and validation": 2}


def test_a_classifier_of_every_run_starts_from_pretraining_fold_by_fold_or_is_told_how(tmp_path, tokenizer) -> None:
    every = ("training.epochs=1", "labels.split.rule=leave-one-run-out")
    with pytest.raises(LeakageError, match="fold by fold too, with --set labels.split.rule=leave-one-run-out"):
        train("classify", tmp_path / "refused", *every, f"start_from={tokenizer}")
    assert not (tmp_path / "refused").exists()  # said before any fold was trained
    first = train("tokenizer", tmp_path / "tokenizer", *every)
    run = train("classify", tmp_path / "words", *every, f"start_from={first}")
    assert read_json(run / "evaluation" / "test.json")["n_windows"] == 4 * 32
    assert set(read_json(run / "run.json")["start_from"]["checkpoints"]) == {f"fold-{k}" for k in (1, 2, 3, 4)}


def test_a_run_whose_start_was_trained_anew_is_refused(tmp_path) -> None:
    first = train("tokenizer", tmp_path / "tokenizer", "training.epochs=1")
    train("classify", tmp_path / "words", "training.epochs=1", f"start_from={first}")
    shutil.rmtree(first)
    train("tokenizer", first, "training.epochs=1", "seed=2")
    with pytest.raises(SettingsError, match="trained anew since"):
        train("classify", tmp_path / "words", "training.epochs=1", f"start_from={first}")


def test_a_reconstruction_stands_beside_a_silent_answer_and_the_mean(tokenizer) -> None:
    zero, mean = column(tokenizer, "valid_zero"), column(tokenizer, "valid_mean")
    assert zero[0] == pytest.approx(1, abs=0.2)  # standardised by training windows
    assert zero == [zero[0]] * len(zero)
    assert 0.5 * zero[0] < mean[0] < zero[0]
    assert column(tokenizer, "valid_reconstruction")[-1] < mean[0]
