"""Each pipeline of a public study on its small tree, from raw files to the report, as `neurodecode run` does it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from neurodecode.errors import NeurodecodeError
from neurodecode.pipeline import load_pipeline, run_pipeline
from tests.recordings.studies import (
    armeni2022_tree,
    brennan2019_tree,
    broderick2019_tree,
    gwilliams2022_tree,
    libribrain_tree,
    schoffelen2019_tree,
)

# tree, options that its size needs, and what the cohort lacks (as it is said)
STUDIES: dict[str, tuple[ModuleType, list[str], str]] = {
    "gwilliams2022": (gwilliams2022_tree, [], "22 of 24 recordings are not there: sub-A0001_ses-0_task-2"),
    "schoffelen2019": (schoffelen2019_tree, [], "94 listeners are not there: A2003"),
    "broderick2019": (broderick2019_tree, ["fewest_words=40"], "377 of 380 runs are not there: Subject1_Run3"),
    "brennan2019": (brennan2019_tree, ["words=98"], "1 listeners without proc: S05"),
    "armeni2022": (armeni2022_tree, [], "28 of 30 recordings are not there: sub-001_ses-002_task-compr"),
    "libribrain": (libribrain_tree, ["audio='{task}_{session}.wav'", "processing=" + libribrain_tree.PROCESSING], ""),
}
SPLIT_SEED = {"armeni2022": 13, "libribrain": 14}  # 12 leaves a side of these few blocks empty
TINY = [
    "model.hidden=8",
    "model.depth=2",
    "model.spatial_channels=6",
    "model.fourier_frequencies=3",
    "training.epochs=1",
]
TINY += ["training.batch_size=64", "training.accelerator=cpu"]
QUICK = [
    "evaluation.bootstrap=20",
    "evaluation.permutations=20",
    "evaluation.controls=[constant]",
    "preprocessing.sfreq=40",
]


def run(name: str, root: Path, out: Path, *labels: str, **more: str) -> list[str]:
    """Run some rows of a pipeline with a tiny network; what was said."""
    sets = [f"cohort.root={root}", *QUICK, *(f"cohort.options.{option}" for option in STUDIES[name][1])]
    sets += [f"training.{label}.{setting}" for label in labels for setting in TINY]
    if name in SPLIT_SEED:
        sets += [f"training.{label}.segments.split.seed={SPLIT_SEED[name]}" for label in labels]
    pipeline = load_pipeline(name, [*sets, *(f"training.{key}={value}" for key, value in more.items())])
    pipeline = pipeline.model_copy(
        update={
            "training": {label: pipeline.training[label] for label in labels},
            "published": tuple(f for f in pipeline.published if f.label in (None, "chance", *labels)),
        }
    )
    said: list[str] = []
    assert run_pipeline(pipeline, out, say=said.append) == []
    return said


@pytest.fixture(
    scope="module",
    # recordings of 208 and 301 channels take their time
    params=[pytest.param(n, marks=[pytest.mark.slow] * (n in ("gwilliams2022", "schoffelen2019"))) for n in STUDIES],
)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, list[str]]:
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    root = STUDIES[name][0].build(folder / "root")
    return name, folder / "out", run(name, root, folder / "out", "contrastive")


def test_a_study_goes_from_raw_files_to_a_report_with_published_beside_measured(
    finished: tuple[str, Path, list[str]],
) -> None:
    name, out, said = finished
    lacking = STUDIES[name][2]
    assert [line for line in said if lacking and lacking in line and line.startswith("warning: ")] or not lacking
    counted = [line for line in said if re.fullmatch(rf"{name}: \d+ recordings found, the card expects \d+", line)]
    assert len(counted) == (name != "libribrain")  # whose card does not know how many there will be
    result = json.loads((out / "runs" / "contrastive" / "evaluation" / "test.json").read_text(encoding="utf-8"))
    assert result["n_candidates"] >= 10
    assert result["split"]["overlap"] == 0
    assert result["words"]["n_words"] > 5  # windows are anchored at words
    page = (out / "runs" / "contrastive" / "report.html").read_text(encoding="utf-8")
    assert ("Published, for comparison" in page) == (name not in ("armeni2022", "libribrain"))
    if "Published, for comparison" in page:
        rows = re.findall(r"<tr[^>]*><td>(top-10 segment accuracy[^<]*)</td><td>([^<]*)</td><td>([^<]*)</td>", page)
        measured = {what: value for what, _, value in rows}
        assert measured["top-10 segment accuracy (%), random"] == f"{1000 / result['n_candidates']:.1f}"
        assert measured["top-10 segment accuracy (%), contrastive, log-mel"].startswith(
            f"{100 * result['metrics']['top10']['value']:.1f}"
        )


def test_without_the_speech_model_the_rows_before_it_are_done_and_with_it_the_pipeline_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    from tests.stimuli.test_encoder import save

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    root, out = brennan2019_tree.build(tmp_path / "root"), tmp_path / "out"
    rows = ("regression", "contrastive", "deep-mel", "wav2vec2", "released")
    small = {"deep-mel.speech.hidden": "6", "deep-mel.speech.depth": "2", "deep-mel.speech.outputs": "8"}
    small["released.segments.split.seed"] = "14"  # blocks over a recording are few: 12 leaves two sides empty
    with pytest.raises(
        NeurodecodeError, match="hf download facebook/wav2vec2-large-xlsr-53 --local-dir FOLDER"
    ) as error:
        run("brennan2019", root, out, *rows, **small)
    assert "\n" not in str(error.value)
    done = {path.parents[1].name for path in out.rglob("evaluation/test.json")}
    assert done == {"regression", "contrastive", "deep-mel"}
    model = save(tmp_path / "model", "wav2vec2")
    for label in rows[3:]:
        small |= {f"{label}.features.encoder": str(model), f"{label}.features.layers": "[1, 2]"}
    said = run("brennan2019", root, out, *rows, **small)
    for label in rows[:3]:
        assert f"train {label}: done before" in said
    assert "train wav2vec2: not done yet" in said
    for label, what in (("wav2vec2", "article"), ("released", "its code")):
        page = (out / "runs" / label / "report.html").read_text(encoding="utf-8")
        own = rf'<tr class="main"><td>top-10 segment accuracy \(%\), contrastive, wav2vec 2.0 \({what}\)</td>'
        assert re.search(own, page)
