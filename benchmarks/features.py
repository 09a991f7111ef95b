"""Log-mel of ten minutes of audio against torchaudio's MelSpectrogram with the same settings.

python benchmarks/features.py
"""

from __future__ import annotations

import numpy as np
import torch
from side_by_side import side_by_side

from neurodecode.config import FeatureSettings
from neurodecode.stimuli.mel import log_mel

SECONDS = 600


def main() -> None:
    from torchaudio.transforms import MelSpectrogram

    settings = FeatureSettings()
    audio = np.random.default_rng(0).standard_normal(SECONDS * 16_000).astype(np.float32)
    transform = MelSpectrogram(16_000, n_fft=512, hop_length=128, n_mels=120, power=2.0, normalized=True)
    whole = torch.from_numpy(audio)
    medians = side_by_side(
        f"log-mel, {SECONDS} s of audio",
        {
            "torchaudio": lambda: torch.log10(transform((whole - whole.mean()) / whole.std()) + 1e-5),
            "neurodecode": lambda: log_mel(audio, settings, "noise"),
        },
    )
    print(f"{SECONDS / medians['neurodecode']:.0f} x real time on one CPU second")


if __name__ == "__main__":
    main()
