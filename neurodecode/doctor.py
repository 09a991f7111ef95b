"""`neurodecode doctor`: versions, devices, optional parts. Reads package metadata; imports torch only for devices."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys

PARTS = ("torch", "mne", "mne-bids", "braindecode", "lightning", "h5py", "numpy", "scipy", "scikit-learn", "soundfile")
OPTIONAL = {
    "transformers": "speech",
    "nibabel": "regions",
    "nilearn": "atlases",
    "dask": "cluster",
    "pyriemann": "riemann",
    "distributed": "cluster",
    "hypothesis": "test",
    "pytest": "test",
}


def version(package: str) -> str | None:
    """Installed version of a package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def examine() -> dict[str, dict[str, str]]:
    """What is here, section by section."""
    machine = {
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "cores": str(os.cpu_count()),
        "free disk": f"{shutil.disk_usage('.').free / 1e9:.0f} GB",
    }
    parts = {name: version(name) or "missing; pip install neurodecode" for name in PARTS}
    optional = {
        name: version(name) or f"not installed; pip install 'neurodecode[{extra}]'" for name, extra in OPTIONAL.items()
    }
    return {"machine": machine, "devices": _devices(), "parts": parts, "optional": optional}


def _devices() -> dict[str, str]:
    if importlib.util.find_spec("torch") is None:
        return {"cpu": "torch is missing"}
    import torch

    found = {"cpu": f"{torch.get_num_threads()} threads"}
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(i)
            found[f"cuda:{i}"] = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    else:
        found["cuda"] = "none found; everything runs on the CPU"
    return found
