"""Names that people use find the labels that atlases write."""

from __future__ import annotations

import pytest

from neurodecode.channels.areas import matching
from neurodecode.errors import SettingsError


@pytest.mark.parametrize(
    ("name", "label", "inside"),
    [
        ("vSMC", "ctx-lh-precentral", True),
        ("vSMC", "ctx_rh_G_and_S_subcentral", True),
        ("vSMC", "Central Opercular Cortex", True),
        ("vSMC", "wm-lh-precentral", False),
        ("vSMC", "ctx_lh_S_precentral-sup-part", True),
        ("vSMC", "ctx-lh-paracentral", False),
        ("STG", "ctx-rh-superiortemporal", True),
        ("STG", "Superior Temporal Gyrus, posterior division", True),
        ("STG", "ctx_lh_G_temp_sup-Lateral", True),
        ("STG", "ctx_lh_S_temporal_sup", False),
        ("STG", "Temporal_Sup_L", True),
        ("left STG", "superior-temporal-left", True),
        ("STG", "superior temporal sulcus", False),
        ("MTG", "middle-temporal-right", True),
        ("IFG", "inferior-frontal-left", True),
        ("IFG", "inferior frontal sulcus", False),
        ("STS", "ctx_lh_S_temporal_sup", True),
        ("Heschl", "ctx_lh_G_temp_sup-G_T_transv", True),
        ("STG", "ctx_lh_G_temp_sup-G_T_transv", False),
        ("stg", "STG", True),
        ("left STG", "ctx-rh-superiortemporal", False),
        ("left STG", "ctx-lh-superiortemporal", True),
        ("right STG", "STG", False),
        ("wm-lh-precentral", "wm-lh-precentral", True),
        ("Hippocampus", "Left-Hippocampus", True),
        ("hippo", "Left-Hippocampus", False),
    ],
)
def test_a_name_takes_its_labels_and_no_others(name: str, label: str, inside: bool) -> None:
    if inside:
        assert matching([label, ""], [name]) == [True, False]
    else:
        with pytest.raises(SettingsError, match="no channel lies in"):
            matching([label, ""], [name])


def test_a_name_without_a_channel_is_refused_with_the_regions_there_are() -> None:
    with pytest.raises(SettingsError, match="no channel lies in IFG; there are STG, insula; groups are vSMC, STG"):
        matching(["STG", "insula", ""], ["IFG"])
