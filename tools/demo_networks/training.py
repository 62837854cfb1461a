"""The training loop that both networks share."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

EMA_DECAY = 0.9995
WARM_UP_STEPS = 300


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Turn uint8 images (B, H, W, 3) into (B, 3, H, W) from 0 to 1, with random light, colour and noise."""
    count, device = len(images), images.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator, device=device)

    x = images.permute(0, 3, 1, 2).float().div_(255)
    x = x.pow(uniform(0.75, 1.35, 1, 1, 1)) * uniform(0.7, 1.3, 1, 1, 1) * uniform(0.9, 1.1, 3, 1, 1)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = (x - mean) * uniform(0.75, 1.3, 1, 1, 1) + mean
    x = x + torch.randn(x.shape, generator=generator, device=device) * uniform(0.0, 0.025, 1, 1, 1)
    return x.clamp_(0, 1)


def train(
    network: nn.Module,
    count: int,
    loss_of: Callable[[nn.Module, Tensor, torch.Generator], Tensor],
    *,
    epochs: int,
    batch: int,
    learning_rate: float,
    seed: int,
    device: torch.device,
) -> tuple[nn.Module, list[float]]:
    """Train on `count` samples; `loss_of` gets the network, the rows of a batch and the random generator.

    AdamW with warm-up and a cosine to zero; gives the moving average of the weights and each epoch's
    mean loss.
    """
    generator = torch.Generator(device=device).manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=0.02)
    steps_per_epoch = count // batch
    steps = epochs * steps_per_epoch

    def schedule(step: int) -> float:
        warm = min(1.0, (step + 1) / WARM_UP_STEPS)
        return warm * (0.5 + 0.5 * math.cos(math.pi * min(1.0, step / steps)))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule)
    average = copy.deepcopy(network).eval()
    losses = []
    for epoch in range(epochs):
        network.train()
        start = time.monotonic()
        order = torch.randperm(count, generator=generator, device=device)
        total = torch.zeros((), device=device)
        for step in range(steps_per_epoch):
            rows = order[step * batch : (step + 1) * batch]
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                loss = loss_of(network, rows, generator)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimiser.step()
            scheduler.step()
            total += loss.detach()
            _follow(average, network, epoch * steps_per_epoch + step)
        losses.append(float(total / steps_per_epoch))
        print(
            f"  epoch {epoch + 1:3d} of {epochs}: loss {losses[-1]:.4f}, {time.monotonic() - start:.1f} s",
            flush=True,
        )
    return average, losses


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, step: int) -> None:
    decay = min(EMA_DECAY, (1 + step) / (10 + step))
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new.to(kept.dtype), 1 - decay)
        else:
            kept.copy_(new)
