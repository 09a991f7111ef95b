"""The released layout of Du-IN goes from pickles to a table and a report with one command, and goes on where it was killed."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from neurodecode.config import PipelineSettings
from neurodecode.errors import NeurodecodeError, SettingsError
from neurodecode.files import read_json
from neurodecode.pipeline import issue_line, load_pipeline, run_pipeline, training_settings
from neurodecode.pipeline.settings import ranking_settings
from neurodecode.reports.report import write_report
from neurodecode.training import codebook
from tests.recordings.studies.duin2024_tree import build, run_folder

TINY = [
    "preprocessing.sfreq=100",
    "cohort.options.channels=all",
    "common.training={epochs: 1, warmup: 0, accelerator: cpu, batch_size: 16}",
    "training.tokenizer.base=duin_tiny_tokenizer",
    "training.tokenizer.model.quantizer={codes: 8, start_tokens: 32}",
    "training.masked.base=duin_tiny_masked",
]


def loaded(root: Path, name: str = "duin2024", *more: str) -> PipelineSettings:
    labels = {"duin2024": ("scratch", "vqvae", "mae"), "duin2024_multi": ("scratch", "poms", "all")}[name]
    tiny = [*TINY, *(f"training.{label}.base=duin_tiny_classify" for label in labels), f"cohort.root={root}"]
    return load_pipeline(name, [*tiny, *more])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("duin") / "tree", runs=(1, 2, 3))


@pytest.fixture(scope="module")
def finished(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    out = tmp_path_factory.mktemp("duin") / "out"
    said: list[str] = []
    assert run_pipeline(loaded(root, "duin2024", "seeds=[1, 2]"), out, say=said.append) == []
    return out, said


def test_each_patient_has_a_chain_of_its_own_and_each_classifier_its_seeds(finished) -> None:
    out, _ = finished
    runs = sorted(path.parent.relative_to(out / "runs").as_posix() for path in (out / "runs").rglob("run.json"))
    patients = ("sub-001", "sub-002")
    expected = [f"{label}/{p}" for label in ("masked", "tokenizer") for p in patients]
    expected += [f"{k}/{p}/seed-{s}" for k in ("mae", "scratch", "vqvae") for p in patients for s in (1, 2)]
    assert runs == sorted(expected)
    info = read_json(out / "runs" / "mae" / "sub-002" / "seed-2" / "run.json")
    assert (info["subjects"], info["settings"]["seed"]) == (["002"], 2)
    assert info["start_from"]["run"] == (out / "runs" / "masked" / "sub-002").resolve().as_posix()
    assert read_json(out / "runs" / "scratch" / "sub-001" / "seed-1" / "run.json")["start_from"] is None
    # one split for all stages: what is tested was never seen
    masked = pd.read_csv(out / "runs" / "masked" / "sub-002" / "fold-0" / "windows.csv.gz")
    assert masked.groupby("run")["split"].unique().map(list).to_dict() == {1: ["train"], 2: ["valid"], 3: ["test"]}
    assert all((out / "runs" / run / "report.html").is_file() for run in runs)
    for run, said in (
        ("tokenizer/sub-001", ("reconstruction error", "each channel&#39;s mean", "perplexity")),
        ("masked/sub-001", ("hidden codes named", "the most frequent code")),
        ("mae/sub-001/seed-1", ("macro-F1", "Most confused", "How often the right label was named")),
        ("scratch/sub-001/seed-1", (">lda<", ">ridge<")),
    ):
        page = (out / "runs" / run / "report.html").read_text(encoding="utf-8")
        assert [words for words in said if words not in page] == []


def test_the_summary_holds_means_over_seeds_and_over_patients_beside_what_was_published(finished) -> None:
    out, _ = finished
    summary = read_json(out / "summary.json")
    assert summary["subjects"] == ["001", "002"]
    mae = summary["labels"]["mae"]
    for patient in ("001", "002"):
        answers = [
            pd.read_csv(out / "runs" / "mae" / f"sub-{patient}" / f"seed-{s}" / "evaluation" / "test_answers.csv.gz")
            for s in (1, 2)
        ]
        values = [(table["label"] == table["answer"]).mean() for table in answers]
        assert mae["subjects"][patient]["accuracy"]["value"] == pytest.approx(sum(values) / 2)
        assert mae["subjects"][patient]["accuracy"]["n_seeds"] == 2
    means = [row["accuracy"]["value"] for row in mae["subjects"].values()]
    assert mae["cohort"]["accuracy"]["value"] == pytest.approx(sum(means) / 2)
    assert mae["cohort"]["accuracy"]["se"] == pytest.approx(abs(means[0] - means[1]) / 2)
    assert mae["published"]["cohort"] == "62.70 ± 4.69"
    assert [(c["base"], c["label"]) for c in summary["comparisons"]] == [("scratch", "vqvae"), ("scratch", "mae")]
    assert all("difference" in found for found in summary["comparisons"])
    beside = read_json(out / "runs" / "scratch" / "sub-001" / "seed-1" / "evaluation" / "test_baselines.json")
    assert (
        summary["baselines"]["lda"]["subjects"]["001"]["accuracy"]["value"]
        == beside["baselines"]["lda"]["subjects"]["001"]
    )
    assert set(summary["baselines"]["lda"]["subjects"]) == {"001", "002"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "62.70 ± 4.69" in page
    assert "78.60 ± 0.79" in page
    assert not re.search(r"(src|href)=\"https?:", page)
    # a reader sees the question, the number of labels, the pretraining beside constant answers, and pages that exist
    assert summary["title"] == load_pipeline("duin2024").title
    assert f"{summary['title']}. 2 subjects tested, 4 labels, 3 kinds of classifier." in page
    links = re.findall(r'href="(runs/[^"]+)"', page)
    assert len(links) == 4 + 12
    assert [link for link in links if not (out / link).is_file()] == []
    curve = pd.read_csv(out / "runs" / "masked" / "sub-001" / "fold-0" / "metrics.csv")
    kept = curve.loc[curve["valid_loss"].idxmin()]
    row = page[page.index("runs/masked/sub-001/report.html") :].partition("</tr>")[0]
    assert f"hidden codes named {kept['valid_accuracy']:.3f}" in row
    assert f"the most frequent code {kept['valid_majority']:.3f}" in row
    # a flat signal holds nothing: the tokenizers of both patients are told of, at the top and in their rows
    assert page.count("the codes hold nothing of the signal") == 2
    assert "pretraining runs did no better than a constant answer" in page
    # of four labels the right one is always among five: no card boasts of it
    single = (out / "runs" / "mae" / "sub-002" / "seed-2" / "report.html").read_text(encoding="utf-8")
    cards = re.findall(r'<div class="soft small">([^<]+)</div>\s*<div class="value">', single)
    assert cards == ["accuracy", "balanced accuracy"]
    assert "1 subject (002)" in single
    curve = single[single.index('aria-label="accuracy"') :].partition("</svg>")[0]
    assert ">chance<" in curve


def test_running_again_trains_nothing(root, finished, monkeypatch) -> None:
    out, _ = finished
    monkeypatch.setattr(codebook, "train_task", None)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.ckpt")}
    said: list[str] = []
    run_pipeline(loaded(root, "duin2024", "seeds=[1, 2]"), out, say=said.append)
    stages = [line for line in said if line.split()[0] in ("train", "evaluate", "report")]
    assert len(stages) == 2 * 8 * 2 + 2
    assert [line for line in stages if not line.endswith(": done before")] == []
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.ckpt")} == before


def test_a_patient_that_cannot_be_trained_stops_all_or_is_named_and_left_out(root, tmp_path) -> None:
    lame = build(tmp_path / "tree", patients=("001",), runs=(1, 2, 3))
    build(lame, patients=("002",), runs=(1, 2))
    settings = loaded(lame, "duin2024", "seeds=[1]")
    with pytest.raises(NeurodecodeError, match=r"^tokenizer sub-002: fold-0: .*needs three runs of a subject"):
        run_pipeline(settings, tmp_path / "stop", say=lambda line: None)
    failed = run_pipeline(settings, tmp_path / "out", on_error="continue", say=lambda line: None)
    assert [line.split(":")[0] for line in failed] == [
        "tokenizer sub-002",
        "masked sub-002",
        "scratch sub-002 seed-1",
        "vqvae sub-002 seed-1",
        "mae sub-002 seed-1",
    ]
    assert "not trained, since masked/sub-002 failed" in failed[-1]
    assert read_json(tmp_path / "out" / "summary.json")["subjects"] == ["001"]


def test_one_pretraining_serves_all_patients_goes_on_when_killed_and_reaches_what_follows(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    whole, calls = codebook.train_task, []

    def counted(task, settings, data, rows, folder, **more):
        calls.append(folder.parent.relative_to(out / "runs").as_posix())
        if len(calls) == 3:
            raise RuntimeError("killed")
        return whole(task, settings, data, rows, folder, **more)

    monkeypatch.setattr(codebook, "train_task", counted)
    with pytest.raises(RuntimeError, match="killed"):
        run_pipeline(loaded(root, "duin2024_multi", "seeds=[]"), out, say=lambda line: None)
    assert run_pipeline(loaded(root, "duin2024_multi", "seeds=[]"), out, say=lambda line: None) == []
    single = [f"{label}/sub-00{patient}" for patient in (1, 2) for label in ("scratch", "poms")]
    assert calls == ["tokenizer", "masked", "all", "all", *single]
    info = read_json(out / "runs" / "poms" / "sub-002" / "run.json")
    assert info["start_from"]["run"] == (out / "runs" / "masked").resolve().as_posix()
    assert info["settings"]["model"]["encoder"]["front"] == "own"
    summary = read_json(out / "summary.json")
    counts = {label: len(entry["runs"]) for label, entry in summary["labels"].items()}
    assert counts == {"scratch": 2, "poms": 2, "all": 1}
    assert list(summary["labels"]["all"]["subjects"]) == ["001", "002"]

    calls[:] = ["before"] * 3
    said: list[str] = []
    run_pipeline(loaded(root, "duin2024_multi", "seeds=[]", "training.masked.seed=5"), out, say=said.append)
    assert calls[3:] == ["masked", "all", "poms/sub-001", "poms/sub-002"]
    assert "  the run that was there (seed was 1) is now masked.before-1" in said
    assert "  the run that was there (masked, with which it began, was another) is now sub-001.before-1" in said
    summary = read_json(out / "summary.json")
    assert len(summary["labels"]["poms"]["runs"]) == 2  # what was put aside does not count


def test_a_file_that_is_missing_or_cut_short_is_named_once(tmp_path) -> None:
    tree = build(tmp_path / "tree", patients=("001",), runs=(1, 2, 3))
    data = run_folder(tree, "001", 2) / "data"
    whole = data.read_bytes()
    for damage, message in (
        (None, "no such file; get it again"),
        (whole[:100_000], "ends early (100000 bytes); get it again"),
    ):
        data.unlink() if damage is None else data.write_bytes(damage)
        with pytest.raises(NeurodecodeError, match=re.escape(message)) as error:
            run_pipeline(loaded(tree), tmp_path / "out", say=lambda line: None)
        assert str(error.value).count(str(data)) == 1
        issue = {"file": f"{data} (sub-001_task-words_run-2)", "error": f"{data}: {message}"}
        assert issue_line(issue) == f"{data}: {message}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.mae.start_from=maskd"], "training.mae.start_from: maskd is neither a label of this pipeline"),
        (["training.masked.start_from=mae"], "mae does not stand before masked; put it there"),
        (["training.mae.start_from=vqvae"], "vqvae is a classifier"),
        (["each_subject=[tokenizer]"], "tokenizer is trained once a subject, masked once over all"),
        (["each_subject=[tokeniser]"], "each_subject names tokeniser: the labels are tokenizer, masked"),
        (["seeds=[1, 1]"], "each may stand there once"),
        (["common.labels.split.rule=runs"], "training.tokenizer: labels.split.rule: 'runs' is not allowed"),
        (["training.mae.training.epoch=3"], "did you mean epochs"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(root, tmp_path, overrides, message) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)) as error:
        run_pipeline(loaded(root, "duin2024", *overrides), tmp_path / "out", say=lambda line: None)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_the_published_pipelines_have_one_split_and_the_paper_s_as_an_alternative() -> None:
    for name in ("duin2024", "duin2024_multi"):
        stages = training_settings(load_pipeline(name))
        assert {stage.labels.split.rule for stage in stages.values()} == {"run"}
        assert stages["scratch"].start_from is None
        other = training_settings(load_pipeline(name, ["common.labels.split.rule=paper"]))
        assert {stage.labels.split.rule for stage in other.values()} == {"paper"}
        assert load_pipeline(name).seeds == (42, 0, 1, 2, 3, 4)
    single = load_pipeline("duin2024")
    assert single.published_accuracy["mae"].subjects["012"] == "48.54 ± 0.56"
    assert single.published_accuracy["scratch"].subjects["007"] == "59.63 ± 2.20"


def test_the_pipeline_for_own_recordings_keeps_one_split_and_a_baseline_and_asks_for_the_folder(tmp_path) -> None:
    settings = load_pipeline("words_bids")
    stages = training_settings(settings)
    assert [str(stage.start_from) for stage in stages.values()] == ["None", "tokenizer", "None", "masked"]
    assert {(stage.labels.event, stage.labels.split.rule) for stage in stages.values()} == {("word", "run")}
    assert (stages["tokenizer"].stride, stages["masked"].stride, stages["mae"].stride) == (2.0, 2.0, None)
    ranking = ranking_settings(settings)
    assert ranking is not None
    assert ranking.labels == stages["mae"].labels  # it sees the training windows of the runs that read it
    with pytest.raises(SettingsError, match=r"own: the folder of the data is not known \(--set cohort.root=FOLDER\)"):
        run_pipeline(settings, tmp_path / "out", say=lambda line: None)
    assert not (tmp_path / "out").exists()


def test_the_demonstration_ranks_channels_and_puts_scratch_and_linear_methods_beside_pretraining(
    tmp_path, monkeypatch
) -> None:
    small = ["words.runs=3", "words.repetitions=2", "words.count=4", "words.conversation_seconds=20", "channels=24"]
    changed = [f"cohort.options.{option}" for option in small]
    changed += ["cohort.expected_recordings=8", "seeds=[0]"]
    stages = ("tokenizer", "masked", "scratch", "mae")
    changed += [f"training.{label}.training={{epochs: 1, warmup: 0}}" for label in stages]
    changed += ["training.tokenizer.model.quantizer={codes: 8, start_tokens: 32}"]
    monkeypatch.chdir(tmp_path)  # a relative folder, as people give it
    out = Path("out")
    assert run_pipeline(load_pipeline("demo_words", changed), out, say=lambda line: None) == []
    page = (out / "report.html").read_text(encoding="utf-8")
    stages_and_classifiers = ["tokenizer", "masked", "scratch/seed-0", "mae/seed-0"]
    assert re.findall(r'href="([^"]*)/report.html"', page) == [f"runs/{name}" for name in stages_and_classifiers]
    assert "published" not in page.partition("<body>")[2]
    # and the page finds its runs when the folder has been moved
    moved = write_report(out.rename("moved")).read_text(encoding="utf-8")
    assert moved == page
    out = Path("moved")
    summary = read_json(out / "summary.json")
    assert (summary["simulated"], list(summary["labels"]), summary["rules"]) == (True, ["scratch", "mae"], ["run"])
    assert [(c["base"], c["label"]) for c in summary["comparisons"]] == [("scratch", "mae")]
    assert set(summary["baselines"]) == {"lda", "ridge"}
    # every stage reads the ranked channels of the patient
    ranked = pd.read_csv(out / "channels" / "channels.tsv", sep="\t", dtype={"subject": str})
    for run in ("tokenizer", "masked", "scratch/seed-0", "mae/seed-0"):
        chosen = read_json(out / "runs" / run / "fold-0" / "channels.json")
        assert list(chosen) == ["01", "02"]
        for subject, names in chosen.items():
            best = ranked[ranked["subject"] == subject].sort_values("rank")["name"][: len(names)]
            assert set(names) == set(best)
