"""The report is one file that shows what was found, escapes what others wrote, and draws without a browser's help."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurodecode.config import (
    EvaluationSettings,
    PreprocessingSettings,
    SimulationSettings,
    TrainSettings,
    load_settings,
)
from neurodecode.errors import SettingsError
from neurodecode.evaluation.retrieval.tables import evaluation_table
from neurodecode.evaluation.runs.evaluate import evaluate
from neurodecode.files import read_json, write_json
from neurodecode.recordings.sources import expand_source
from neurodecode.reports import figures
from neurodecode.reports.published import published_rows
from neurodecode.reports.report import write_report
from neurodecode.simulation.simulate import simulate
from neurodecode.store.build import preprocess
from neurodecode.training.fit import fit


class Page(HTMLParser):
    """Counts tags, collects text, and refuses tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.tags, self.open = "", [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    simulate(load_settings(SimulationSettings, "tiny", "configs/simulation"), folder / "cohort")
    clean = load_settings(PreprocessingSettings, "demo", "configs/preprocessing")
    preprocess(expand_source(folder / "cohort"), folder / "store", clean, progress=False)
    training = load_settings(TrainSettings, "tiny", "configs/training")
    fit(training, folder / "store", folder / "run", progress=False)
    evaluate(folder / "run", EvaluationSettings(bootstrap=50, permutations=50), progress=False)
    return folder / "run"


def test_the_page_shows_every_part_and_needs_nothing_from_outside(run: Path) -> None:
    text = write_report(run).read_text(encoding="utf-8")
    page = Page(text)
    result = read_json(run / "evaluation" / "test.json")
    assert "Simulated data." in page.text
    assert f"{result['metrics']['top10']['value']:.3f}" in page.text
    for part in (
        "beside chance",
        "its audit",
        "Ranks",
        "Subjects",
        "Learning",
        "Sensors",
        "best candidates",
        "All settings",
    ):
        assert part in page.text, part
    for row in ("ridge", "ridge-shifted", "noise", "shuffled", "constant", "chance"):
        assert row in page.text, row
    assert result["examples"][0]["query"]["label"] in page.text
    assert page.tags.count("svg") == 5
    links = re.findall(r'(?:src|href)="([^"]*)"', text) + re.findall(r"url\(([^)]*)\)", text)
    assert all(link.startswith(("#", "data:image/png")) for link in links)
    assert "script" not in page.tags
    assert len(text) < 1_000_000


def test_identifiers_on_the_page_are_unique_and_every_reference_is_met(run: Path) -> None:
    text = write_report(run).read_text(encoding="utf-8")
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= set(names)


def test_names_that_look_like_markup_stay_names(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    result = read_json(copy / "evaluation" / "test.json")
    result["examples"][0]["query"]["label"] = "<script>alert(1)</script>"
    write_json(copy / "evaluation" / "test.json", result)
    text = write_report(copy).read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_published_figures_stand_apart_from_ours(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    write_json(copy / "published.json", [{"what": "top-10 of the paper", "value": 0.707, "source": "Table 1"}])
    text = Page(write_report(copy).read_text(encoding="utf-8")).text
    assert "Published, for comparison" in text
    assert "top-10 of the paper" in text


def test_a_published_figure_that_a_run_repeats_has_the_measured_one_beside_it(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "contrastive"  # the name of the folder is the label
    shutil.copytree(run, copy)
    figures = [
        {"what": "random", "value": "0.7 ± 0.1", "source": "table 2", "label": "chance"},
        {"what": "contrastive", "value": "55.1 ± 0.7", "source": "table 2", "label": "contrastive"},
        {"what": "regression", "value": "12.4 ± 1.2", "source": "table 2", "label": "regression"},
        {"what": "another", "value": 0.3, "source": "table 9"},
    ]
    write_json(copy / "published.json", figures)
    result = read_json(copy / "evaluation" / "test.json")
    top10 = result["metrics"]["top10"]
    rows = published_rows(copy, result)
    assert [row["measured"] for row in rows] == [
        f"{100 * top10['chance']:.1f}",
        f"{100 * top10['value']:.1f} [{100 * top10['low']:.1f}, {100 * top10['high']:.1f}]",
        "",
        "",
    ]
    assert [row["own"] for row in rows] == [False, True, False, False]
    assert {row["measured"] for row in published_rows(copy, None)} == {""}
    text = Page(write_report(copy).read_text(encoding="utf-8")).text
    assert "measured here" in text
    assert rows[1]["measured"] in text
    assert f"{result['n_candidates']:,} candidates" in text


def test_a_split_that_leaks_by_the_published_rule_is_marked_on_page_and_table(run: Path, tmp_path: Path) -> None:
    clean = Page(write_report(run).read_text(encoding="utf-8")).text
    assert "LEAKY" not in clean
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    for path in (copy / "run.json", copy / "evaluation" / "test.json"):
        content = read_json(path)
        content["split"]["audit"] |= {"sentences_shared": 12, "test_windows_repeated": 34}
        write_json(path, content)
    title, _, _, notes = evaluation_table(read_json(copy / "evaluation" / "test.json"))
    assert "test split, LEAKY, SIMULATED data" in title
    said = "12 sentences of four words or more stand on two sides; 34 of "
    assert [said in note for note in notes].count(True) == 1
    text = Page(write_report(copy).read_text(encoding="utf-8")).text
    assert text.count(said) == 2  # below the table, and where the split is told
    assert "Stimulus content shared between sides: 0 s" in " ".join(text.split())


def test_a_run_that_is_not_evaluated_says_what_to_do(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "evaluation")
    assert "Not evaluated yet" in Page(write_report(copy).read_text(encoding="utf-8")).text
    with pytest.raises(SettingsError, match="not a run"):
        write_report(tmp_path)


def test_the_same_run_gives_the_same_bytes(run: Path) -> None:
    assert write_report(run).read_bytes() == write_report(run).read_bytes()


def test_a_figure_carries_its_numbers_and_the_ink_of_the_page() -> None:
    rows = [("decoder", {"value": 0.4321, "low": 0.3, "high": 0.5}, figures.DECODER), ("x", {"value": 0.1}, "#888888")]
    svg = figures.intervals(rows, 0.1, "top-10 & more")
    assert "0.432" in svg
    assert "currentColor" in svg
    assert figures.INK not in svg
    assert 'aria-label="top-10 &amp; more"' in svg
    assert svg.startswith("<svg")


def test_text_is_as_large_in_a_small_figure_as_in_a_wide_one() -> None:
    rows = [("decoder", {"value": 0.5}, figures.DECODER)]
    assert 'style="max-width: 736px"' in figures.intervals(rows, 0.1, "top-10").split(">")[0]  # the column's 46 rem
    half = figures.learning_curves({"fold-0": {"epoch": [0], "train_loss": [2.0], "valid_loss": [1.3866]}})
    assert 'style="max-width: 491px"' in half.split(">")[0]


def test_losses_that_hardly_move_are_labelled_as_they_are_and_epochs_with_whole_numbers() -> None:
    table = {"epoch": [0, 1], "train_loss": [1000.0001, 1000.0002], "valid_loss": [1000.0001, 1000.0002]}
    svg = figures.learning_curves({"fold-0": table})
    shown = re.findall(r"<text[^>]*>([^<]*)<", svg)
    assert shown[:4] == ["1", "2", "epoch", "1000.00010"]


def test_sensor_maps_are_drawn_for_three_sensors_in_a_row() -> None:
    places = np.array([[0.0, 0.5], [0.5, 0.5], [1.0, 0.5]])
    assert "attention" in figures.topography(places, {"attention": np.array([0.5, 1.0, 1.5])})


@pytest.mark.chromium
@pytest.mark.parametrize("width", [1200, 400])
def test_a_browser_lays_the_page_out_without_sideways_scrolling(run: Path, tmp_path: Path, width: int) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    page = write_report(run).read_text(encoding="utf-8")
    # a frame of this width, since a headless window is never narrower than 500 pixels
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    probe = (
        f'<iframe id="f" src="page.html" style="width:{width}px;height:900px;border:0"></iframe><pre id="out"></pre>'
        "<script>f.onload=()=>{const d=f.contentDocument.documentElement;"
        'out.textContent="wide "+d.scrollWidth+" of "+d.clientWidth}</script>'
    )
    (tmp_path / "probe.html").write_text(probe, encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += ["--virtual-time-budget=5000", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1300,1000"]
    command += ["--dump-dom", (tmp_path / "probe.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    found = re.search(r"wide (\d+) of (\d+)", shown)
    assert found, shown[-500:]
    assert int(found[1]) <= int(found[2])
