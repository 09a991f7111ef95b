"""Tables beside the main one: what answers another question than single windows against all candidates.

In: the dict of `evaluate` or `ensemble`. Out: for each part that was asked for, a title, columns, rows and notes, all
strings. Each pool has its own chance in the row below it, and nothing here stands in the main table.
"""

from __future__ import annotations

from typing import Any

from neurodecode.evaluation.retrieval.tables import COLUMNS, WORD_COLUMNS, cell, figure_text, signed

Table = tuple[str, list[str], list[list[str]], list[str]]
WORD_TOP = ("top1", "top5", "top10")


def tables_apart(result: dict[str, Any]) -> list[Table]:
    """Tables of pools, sentence pooling, word repeats and ensemble members; only those that there are."""
    made = [_members(result), _pools(result), _sentences(result), _word_repeats(result)]
    return [table for table in made if table is not None]


def _row(label: str, metrics: dict[str, Any]) -> list[str]:
    return [label, *(cell(metric, metrics[metric]) for metric in COLUMNS)]


def _chance(label: str, metrics: dict[str, Any]) -> list[str]:
    return [label, *(figure_text(metric, metrics[metric]["chance"]) for metric in COLUMNS)]


def _pools(result: dict[str, Any]) -> Table | None:
    pools = result.get("pools")
    if not pools:
        return None
    rows, notes = [], []
    for pool in pools:
        name = pool_name(pool)
        if not pool["n_queries"]:
            notes.append(f"{name}: no query has two candidates in it.")
            continue
        rows.append(_row(name, pool["metrics"]))
        if "ridge" in pool["controls"]:
            rows.append(_row("  ridge", pool["controls"]["ridge"]["metrics"]))
        rows.append(_chance("  chance", pool["metrics"]))
        if pool["kind"] != "random":
            notes.append(f"{name}: {pool['n_queries']} windows, {pool['n_candidates']:g} candidates (median).")
        if pool["n_candidates"] <= 10:
            notes.append(f"{name}: with {pool['n_candidates']:g} candidates top-10 says nothing.")
    if any(pool["kind"] == "random" for pool in pools):
        notes.append("Random pools hold the true candidate; figures are the exact mean over all pools of that size.")
    return "Single windows, other candidate pools", ["", *COLUMNS.values()], rows, notes


def pool_name(pool: dict[str, Any]) -> str:
    """A pool as tables name it."""
    if pool["kind"] == "random":
        return f"random pool of {pool['size']}"
    return "same story" if pool["kind"] == "story" else f"same story, within {pool['seconds']:g} s"


def _sentences(result: dict[str, Any]) -> Table | None:
    found = result.get("sentence_pooled")
    if found is None:
        if not _asked(result, "sentence"):
            return None
        return "Sentence pooling", [""], [["no stimulus has sentence events"]], []
    controls = found["controls"]
    rows = [
        _row("decoder, sentence pooled", found["metrics"]),
        _row("  random groups instead", controls["random-groups"]["metrics"]),
        _row("  (single windows)", result["metrics"]),
    ]
    if "ridge" in controls:
        rows.append(_row("ridge, sentence pooled", controls["ridge"]["metrics"]))
    rows.append(_chance("chance", found["metrics"]))
    notes = [
        f"{found['n_sentences']} sentences; a window shares its sentence with {found['windows_per_sentence'] - 1:.3g} "
        "others on average. Not single-trial figures: the borders of sentences are given, and more signal is read."
    ]
    if found["without_sentence"]:
        notes.append(f"{found['without_sentence']} windows have no sentence and answer alone.")
    metric = "top10" if result["n_candidates"] > 20 else "top1"
    own, control = found["metrics"][metric], controls["random-groups"]["metrics"][metric]
    if own["value"] <= control["value"]:
        notes.append(f"Sentences help no more than random groups do ({COLUMNS[metric]}).")
    return "Sentence pooling: windows lean on the other windows of their sentence", ["", *COLUMNS.values()], rows, notes


def _word_repeats(result: dict[str, Any]) -> Table | None:
    found = result.get("word_repeats")
    if found is None:
        if not _asked(result, "word_repeats"):
            return None
        why = "no subject heard a word twice" if result.get("words") else "windows are not anchored at words"
        return "Word repeats", [""], [[f"none: {why}"]], []
    controls = found["controls"]
    rows = [
        ["mean over occasions", *(cell(m, found["metrics"][m]) for m in WORD_TOP)],
        ["  random groups instead", *(cell(m, controls["random-groups"]["metrics"][m]) for m in WORD_TOP)],
        ["  (the same windows, single)", *(cell(m, controls["single"]["metrics"][m]) for m in WORD_TOP)],
        ["most frequent words", *(cell(m, controls["majority"]["metrics"][m]) for m in WORD_TOP)],
        ["chance", *(figure_text(m, found["metrics"][m]["chance"]) for m in WORD_TOP)],
    ]
    gain = found["against_single"]["top10"]
    notes = [
        f"{found['n_queries']} pairs of subject and word, {found['windows_per_word']:.3g} windows each, "
        f"{found['n_words']} words; [95 % interval over {found['over']}]. Each word counts once, however often it was heard.",
        f"Mean over occasions minus single windows: top-10 {signed('top10', gain['difference'])} "
        f"[{signed('top10', gain['low'])}, {signed('top10', gain['high'])}].",
    ]
    title = "Word repeats: one answer a word from all occasions at which a subject heard it"
    return title, ["", *(WORD_COLUMNS[m] for m in WORD_TOP)], rows, notes


def _members(result: dict[str, Any]) -> Table | None:
    ensemble = result.get("ensemble")
    if ensemble is None:
        return None
    rows = [_row(f"ensemble of {len(ensemble['members'])}", result["metrics"])]
    rows += [_row(f"  {member['label']}", member["metrics"]) for member in ensemble["members"]]
    rows.append(_row("  (mean of the members)", ensemble["mean"]))
    rows.append(_chance("chance", result["metrics"]))
    notes = ["Probabilities of the members are averaged."]
    if "against_mean" in ensemble:  # not in files of earlier versions
        gain = ensemble["against_mean"]
        p = (
            ""
            if gain["wilcoxon_p"] is None
            else f", Wilcoxon p = {gain['wilcoxon_p']:.3g} over {gain['n_subjects']} subjects"
        )
        notes.append(f"Ensemble minus the mean of its members, window by window: {_gain(gain)}{p}.")
    best = ensemble["against_best"]
    notes.append(
        f"Against the best member ({best['member']}): {_gain(best)}; the best is chosen on these windows, so this "
        "comparison is hard on the ensemble."
    )
    return "Members of the ensemble", ["", *COLUMNS.values()], rows, notes


def _gain(gain: dict[str, Any]) -> str:
    metric = gain["metric"]
    low, high = signed(metric, gain["low"]), signed(metric, gain["high"])
    return f"{COLUMNS[metric]} {signed(metric, gain['difference'])} [{low}, {high}]"


def _asked(result: dict[str, Any], what: str) -> bool:
    """Whether a kind of pooling was asked for (files of earlier versions do not say)."""
    settings = result.get("provenance", {}).get("evaluation", {})
    return bool(settings.get("pooling", {}).get(what, False))
