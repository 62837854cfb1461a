"""Train the package's own detector and segmenter on synthetic scenes, and write them to engines/.

    python tools/train_demo_networks.py --out engines

It needs PyTorch, onnx and onnxruntime besides the package, and a GPU to be done in minutes. The same
seed on the same GPU and versions gives the same networks. Training, validation and evaluation use
seeds of scenes that never overlap (see SEEDS). Beside each network it writes a training record.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from avperception.evaluation.boxes_2d import BoxScore2D, TrueBoxes2D
from avperception.evaluation.masks import MaskScore
from avperception.ops import cpu
from avperception.scenes.actors import OBJECT_CLASSES
from avperception.scenes.solid import SEGMENTATION_CLASSES
from avperception.types import Detections2D
from tools.demo_networks.blocks import parameter_bytes, set_seed
from tools.demo_networks.data import EMPTY, HEIGHT, OBJECT, WIDTH, Pictures, render
from tools.demo_networks.detector import STRIDES, Detector, decode_boxes, grid
from tools.demo_networks.export import export_onnx
from tools.demo_networks.losses import detection_loss, segmentation_loss
from tools.demo_networks.segmenter import Segmenter
from tools.demo_networks.training import augment, train

SEEDS = {"training": 1_000_000, "validation": 2_000_000}
"""First seed of each set; users' and tests' scenes have smaller ones."""


def main() -> None:
    """Render, train, score, export."""
    arguments = _arguments()
    set_seed(arguments.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    start = time.monotonic()
    training = _render("training", arguments.scenes, arguments.pictures)
    validation = _render("validation", max(2, arguments.scenes // 16), arguments.pictures)
    rendered_s = time.monotonic() - start
    common = {
        "seed": arguments.seed,
        "data": {
            "scenes": arguments.scenes,
            "pictures": len(training),
            "held_out_pictures": len(validation),
            "first_seeds": SEEDS,
            "rendered_in_s": round(rendered_s, 1),
        },
        "gpu": torch.cuda.get_device_name() if device.type == "cuda" else "none (CPU)",
        "versions": {
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "command": " ".join(["python", *sys.argv]),
    }
    data = _on_device(training, device)
    arguments.out.mkdir(parents=True, exist_ok=True)
    makers = {"detector": _make_detector, "segmenter": _make_segmenter}
    for role in arguments.networks:
        begin = time.monotonic()
        print(f"{role}:", flush=True)
        network, record = makers[role](data, validation, arguments, device)
        _write(
            network,
            role,
            {**common, **record, "trained_in_s": round(time.monotonic() - begin, 1)},
            arguments.out,
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("engines"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=480)
    parser.add_argument("--pictures", type=int, default=24, help="of each scene")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--networks", nargs="+", default=["detector", "segmenter"])
    return parser.parse_args()


def _render(name: str, scenes: int, pictures: int) -> Pictures:
    start = time.monotonic()
    made = render(range(SEEDS[name], SEEDS[name] + scenes), pictures)
    print(f"{name}: {len(made)} pictures in {time.monotonic() - start:.0f} s", flush=True)
    return made


def _on_device(pictures: Pictures, device: torch.device) -> dict[str, Tensor]:
    arrays = {"images": pictures.images, "masks": pictures.masks, "objects": pictures.objects}
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def _make_detector(
    data: dict[str, Tensor], validation: Pictures, arguments: argparse.Namespace, device: torch.device
) -> tuple[nn.Module, dict[str, Any]]:
    network = Detector(len(OBJECT_CLASSES)).to(device)
    cells, strides = grid(HEIGHT, WIDTH, device)
    # Cyclists are rare, and a small one looks like a pedestrian: car, truck, cyclist, pedestrian.
    weights = torch.tensor([1.0, 1.5, 4.0, 1.0], device=device)

    def loss_of(module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        images, objects = augment(data["images"][rows], generator), data["objects"][rows].clone()
        if torch.rand((), generator=generator, device=device) < 0.5:
            images = images.flip(3)
            mirrored = objects.clone()
            mirrored[..., 0], mirrored[..., 2] = WIDTH - objects[..., 2], WIDTH - objects[..., 0]
            objects = torch.where(objects[..., 5:] == EMPTY, objects, mirrored)
        output = module(images.contiguous(memory_format=torch.channels_last)).float()
        boxes = decode_boxes(output, cells, strides)
        return detection_loss(output, boxes, objects, cells, strides, weights)

    trained, losses = _train(network, loss_of, data, arguments, device, learning_rate=2e-3)
    scores = _score_detector(trained, validation, device)
    return trained, {"losses": losses, "held_out_ap50": scores, "strides": STRIDES}


def _make_segmenter(
    data: dict[str, Tensor], validation: Pictures, arguments: argparse.Namespace, device: torch.device
) -> tuple[nn.Module, dict[str, Any]]:
    network = Segmenter(len(SEGMENTATION_CLASSES)).to(device)
    # Thin and rare classes weigh more: road, lane line, vehicle, person, background.
    weights = torch.tensor([1.0, 3.0, 1.5, 4.0, 1.0], device=device)

    def loss_of(module: nn.Module, rows: Tensor, generator: torch.Generator) -> Tensor:
        images, masks = augment(data["images"][rows], generator), data["masks"][rows]
        if torch.rand((), generator=generator, device=device) < 0.5:
            images, masks = images.flip(3), masks.flip(2)
        logits = module(images.contiguous(memory_format=torch.channels_last)).float()
        return segmentation_loss(logits, masks, weights)

    trained, losses = _train(network, loss_of, data, arguments, device, learning_rate=3e-3)
    score = MaskScore(SEGMENTATION_CLASSES)
    with torch.no_grad():
        for image, mask in zip(validation.images, validation.masks, strict=True):
            labels = trained(_input(image, device)).argmax(dim=1)[0].to(torch.uint8).cpu().numpy()
            score.add(labels, SEGMENTATION_CLASSES, mask)
    print(f"  held out: mean IoU {score.miou():.3f}, {score.iou()}", flush=True)
    return trained, {"losses": losses, "held_out_iou": score.iou(), "held_out_miou": score.miou()}


def _train(
    network: nn.Module,
    loss_of: Any,
    data: dict[str, Tensor],
    arguments: argparse.Namespace,
    device: torch.device,
    learning_rate: float,
) -> tuple[nn.Module, list[float]]:
    network = network.to(memory_format=torch.channels_last)
    print(f"  {parameter_bytes(network) / 1e6:.2f} MB of weights", flush=True)
    trained, losses = train(
        network,
        len(data["images"]),
        loss_of,
        epochs=arguments.epochs,
        batch=arguments.batch,
        learning_rate=learning_rate,
        seed=arguments.seed,
        device=device,
    )
    return trained, [round(loss, 4) for loss in losses]


def _score_detector(network: nn.Module, validation: Pictures, device: torch.device) -> dict[str, float]:
    """AP50 of the objects that were asked for, through the package's own decoder and suppression."""
    cells, strides = cpu.yolox_grid(HEIGHT, WIDTH, STRIDES)
    score = BoxScore2D(OBJECT_CLASSES)
    for image, rows in zip(validation.images, validation.objects, strict=True):
        with torch.no_grad():
            output = network(_input(image, device))[0].cpu().numpy()
        boxes, scores, ids = cpu.decode_yolox(output, cells, strides, 0.01)
        kept = cpu.non_maximum_suppression(boxes, scores, ids, 0.5, 1024)
        real = rows[rows[:, 5] != EMPTY]
        truth = TrueBoxes2D(
            real[:, :4], tuple(OBJECT_CLASSES[int(c)] for c in real[:, 4]), real[:, 5] == OBJECT
        )
        score.add(Detections2D(boxes[kept], scores[kept], ids[kept], OBJECT_CLASSES), truth)
    found = score.ap50()
    print(f"  held out: AP50 {found}", flush=True)
    return found


def _input(image: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(image.copy()).to(device).permute(2, 0, 1)[None].float() / 255


def _write(network: nn.Module, role: str, record: dict[str, Any], out: Path) -> None:
    path = out / f"demo_{role}.onnx"
    output = {"detector": "output", "segmenter": "logits"}[role]
    difference = export_onnx(network, HEIGHT, WIDTH, output, path)
    record = {
        "network": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "onnxruntime_max_difference": difference,
        **record,
    }
    (out / f"demo_{role}.training.json").write_text(json.dumps(record, indent=2) + "\n")
    print(
        f"  {path}: {path.stat().st_size / 1e6:.2f} MB, ONNX Runtime differs by {difference:.1e}", flush=True
    )


if __name__ == "__main__":
    main()
