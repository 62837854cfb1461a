"""Labelled pictures of synthetic scenes, rendered by all cores and kept in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from avperception.scenes.actors import OBJECT_CLASSES
from avperception.scenes.conditions import CONDITIONS
from avperception.scenes.rig import CAMERA_NAMES
from avperception.scenes.scene import Scene
from avperception.scenes.truth import BoxTruth
from avperception.scenes.world import ROADS

HEIGHT, WIDTH = 544, 960
SCENE_SECONDS = 30.0
MAX_OBJECTS = 48

MIN_VISIBLE = 0.3
MIN_HEIGHT = 7.0
MAX_DISTANCE = 70.0
"""An object more hidden, lower [px] or farther [m] is neither taught nor held against the network."""

OBJECT, IGNORED, EMPTY = 1.0, 0.0, -1.0


@dataclass(frozen=True)
class Pictures:
    """`images` (N, H, W, 3) uint8 RGB, `masks` (N, H, W) uint8 class ids, `objects` (N, M, 6) float32:
    x1 y1 x2 y2 pixels, class, and whether it is an object, ignored or an empty row.
    """

    images: np.ndarray
    masks: np.ndarray
    objects: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def render(seeds: Sequence[int], pictures_per_scene: int) -> Pictures:
    """Render scenes of these seeds, their conditions, roads and cameras in turn."""
    jobs = [(number, seed, pictures_per_scene) for number, seed in enumerate(seeds)]
    with ProcessPoolExecutor(os.cpu_count(), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        parts = list(pool.map(_render_scene, jobs, chunksize=1))
    return Pictures(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _render_scene(job: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    number, seed, count = job
    condition = list(CONDITIONS)[number % len(CONDITIONS)]
    road = ROADS[number // len(CONDITIONS) % len(ROADS)]
    scene = Scene(seed, condition, road, SCENE_SECONDS)
    # Two of four pictures look ahead: what is far and small is there.
    cameras = [CAMERA_NAMES[0], CAMERA_NAMES[1], CAMERA_NAMES[0], CAMERA_NAMES[2]]
    images, masks, objects = [], [], []
    for index, t in enumerate(np.linspace(0.5, SCENE_SECONDS - 0.5, count)):
        camera = cameras[index % len(cameras)]
        picture = scene.picture(camera, float(t))
        images.append(picture.image[..., ::-1])
        masks.append(picture.segmentation)
        objects.append(_rows(scene.boxes(camera, picture)))
    return np.stack(images), np.stack(masks), np.stack(objects)


def _rows(boxes: Sequence[BoxTruth]) -> np.ndarray:
    rows = np.full((MAX_OBJECTS, 6), EMPTY, np.float32)
    nearest = sorted(boxes, key=lambda box: float(np.linalg.norm(box.center_camera)))
    for row, box in zip(rows, nearest, strict=False):
        asked = (
            box.visible >= MIN_VISIBLE
            and box.box[3] - box.box[1] >= MIN_HEIGHT
            and np.linalg.norm(box.center_camera) <= MAX_DISTANCE
        )
        row[:4] = box.box
        row[4] = OBJECT_CLASSES.index(box.class_name)
        row[5] = OBJECT if asked else IGNORED
    return rows
