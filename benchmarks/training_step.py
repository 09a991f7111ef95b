"""What a layout costs: spatial attention once a layout and step against once a window; folded against plain inference.

The network is the paper's (27 subjects, 208 sensors, 343 samples, 1,024 outputs). Also: batches gathered by index
arithmetic against windows cut one by one.

python benchmarks/training_step.py [windows a batch, 32 by default]
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from side_by_side import side_by_side

from neurodecode.config import ModelSettings
from neurodecode.models.aligner import Aligner
from neurodecode.models.layers.spatial_attention import fourier_basis
from neurodecode.objectives.clip import ClipLoss

SUBJECTS, SENSORS, TIMES, OUTPUTS = 27, 208, 343, 1024


class OnceAWindow(torch.nn.Module):
    """The same attention, computed for every window of the batch."""

    def __init__(self, attention: torch.nn.Module) -> None:
        super().__init__()
        self.attention, self.distinct = attention, attention.distinct

    def forward(self, x: torch.Tensor, layout: torch.Tensor) -> torch.Tensor:
        own = self.attention
        row = own.distinct[layout]
        basis = fourier_basis(own.positions[row], own.frequencies, own.margin)  # [B, C, 2 K²]
        scores = torch.einsum("of,bcf->boc", own.heads, basis)
        scores = scores.masked_fill(~own.allowed()[row][:, None], float("-inf"))
        return torch.bmm(scores.softmax(-1), x)


def main() -> None:
    windows = int(sys.argv[1]) if len(sys.argv) > 1 else 32
    torch.manual_seed(0)
    positions = torch.rand(1, SENSORS, 2).expand(SUBJECTS, -1, -1).contiguous()
    arguments = ModelSettings().model_dump(exclude={"kind"})
    model = Aligner(SENSORS, OUTPUTS, TIMES, 120.0, n_subjects=SUBJECTS, positions=positions, **arguments)
    loss = ClipLoss()
    x, y = torch.randn(windows, SENSORS, TIMES), torch.randn(windows, OUTPUTS, TIMES)
    subject = torch.arange(windows) % SUBJECTS

    def step() -> None:
        model.train()
        model.zero_grad()
        loss(model(x, subject, subject), y).backward()

    attention = model.attention

    def once_a_window() -> None:
        model.attention = OnceAWindow(attention)  # type: ignore[assignment]
        step()
        model.attention = attention

    side_by_side(
        f"training step, {windows} windows", {"attention once a window": once_a_window, "once a layout": step}, 3
    )

    @torch.inference_mode()
    def plain() -> None:
        model.eval()
        model.head(model.encoder(model.front(x, subject, subject)))

    @torch.inference_mode()
    def folded() -> None:
        model.eval()
        model(x, subject, subject)

    side_by_side(f"inference, {windows} windows", {"plain": plain, "linear part folded": folded}, 3)

    signal = np.random.default_rng(0).standard_normal((SENSORS, 120 * 600), dtype=np.float32)
    starts = np.random.default_rng(1).integers(0, signal.shape[1] - 361, 256)

    def one_by_one() -> torch.Tensor:
        cut = [torch.from_numpy(signal[:, s : s + 361].copy()) for s in starts]
        cut = [(c - c[:, :61].mean(1, keepdim=True)).clamp(-20, 20) for c in cut]
        return torch.stack(cut)

    def together() -> torch.Tensor:
        batch = torch.from_numpy(np.stack([signal[:, s : s + 361] for s in starts]))
        return (batch - batch[:, :, :61].mean(-1, keepdim=True)).clamp_(-20, 20)

    side_by_side("a batch of 256 windows: cut, baseline, clamp", {"window by window": one_by_one, "together": together})


if __name__ == "__main__":
    main()
