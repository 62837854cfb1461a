from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from avperception.ops import cpu

SIZE = (1280, 720)


def random_pixels(seed: int, cameras: int, count: int, seen: float = 0.3) -> np.ndarray:
    """Pixels (C, N, 2), NaN where a camera sees nothing; some are whole, as edges of boxes are."""
    random = np.random.default_rng(seed)
    pixels = random.uniform(0, SIZE, (cameras, count, 2)).astype(np.float32)
    pixels[:, ::7] = np.round(pixels[:, ::7])
    pixels[random.uniform(size=(cameras, count)) >= seen] = np.nan
    return pixels


def random_boxes(seed: int, count: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    corners = np.sort(np.round(random.uniform(-50, 1300, (count, 2, 2))), axis=1)
    return corners.reshape(count, 4).astype(np.float32)


def offsets_of(counts: Sequence[int]) -> np.ndarray:
    return np.cumsum([0, *counts], dtype=np.int32)


def gathered(
    gpu: Any, cupy: Any, pixels: np.ndarray, boxes: np.ndarray, counts: Sequence[int], capacity: int = 1 << 20
) -> tuple[np.ndarray, np.ndarray]:
    from avperception.ops.gpu.gather import points_in_boxes

    rows, offsets = points_in_boxes(
        cupy.asarray(pixels), cupy.asarray(boxes), cupy.asarray(offsets_of(counts)), capacity
    )
    offsets = offsets.get()
    return rows[: min(int(offsets[-1]), capacity)].get(), offsets


@pytest.mark.parametrize("count", [1, 31, 32, 33, 255, 256, 257, 1024, 1025, 30_000])
@pytest.mark.parametrize("counts", [(1,), (20,), (3, 0, 5), (0, 0, 70, 1, 0)])
def test_the_lists_are_those_of_the_reference(
    gpu: Any, cupy: Any, count: int, counts: tuple[int, ...]
) -> None:
    pixels, boxes = random_pixels(count, len(counts), count), random_boxes(count, sum(counts))

    rows, offsets = gathered(gpu, cupy, pixels, boxes, counts)

    begins = offsets_of(counts)
    expected = [
        own
        for camera in range(len(counts))
        for own in cpu.points_in_boxes(pixels[camera], boxes[begins[camera] : begins[camera + 1]])
    ]
    np.testing.assert_array_equal(offsets, offsets_of([len(own) for own in expected]))
    np.testing.assert_array_equal(rows, np.concatenate(expected))


def test_unused_room_for_boxes_counts_for_nothing(gpu: Any, cupy: Any) -> None:
    pixels, boxes = random_pixels(2, 3, 5000), random_boxes(2, 64)
    boxes[9:] = [0, 0, 2000, 2000]

    rows, offsets = gathered(gpu, cupy, pixels, boxes, (4, 0, 5))

    expected, used = gathered(gpu, cupy, pixels, boxes[:9], (4, 0, 5))
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(offsets[:10], used)
    assert (offsets[10:] == used[-1]).all()


def test_the_edges_of_a_box_belong_to_it(gpu: Any, cupy: Any) -> None:
    below, above = np.nextafter(np.float32(10), np.float32(0)), np.nextafter(np.float32(20), np.float32(99))
    pixels = np.array([[[10, 10], [20, 20], [below, 15], [15, above], [10, 20]]], np.float32)

    rows, _ = gathered(gpu, cupy, pixels, np.array([[10, 10, 20, 20]], np.float32), [1])

    assert rows.tolist() == [0, 1, 4]


@pytest.mark.parametrize(
    "box", [[5, 5, 5, 5], [20, 20, 10, 10], [np.nan, 0, 9, 9], [-np.inf, -np.inf, np.inf, np.inf]]
)
def test_boxes_without_area_turned_round_or_without_end(gpu: Any, cupy: Any, box: list[float]) -> None:
    pixels = random_pixels(3, 1, 5000)
    boxes = np.array([box, [0, 0, 100, 100]], np.float32)

    rows, offsets = gathered(gpu, cupy, pixels, boxes, [2])

    expected = cpu.points_in_boxes(pixels[0], boxes)
    assert offsets.tolist() == [0, len(expected[0]), len(expected[0]) + len(expected[1])]
    np.testing.assert_array_equal(rows, np.concatenate(expected))


def test_more_boxes_than_a_detector_gives(gpu: Any, cupy: Any) -> None:
    counts = (1024, 3, 600)
    pixels, boxes = random_pixels(5, 3, 3000, seen=0.9), random_boxes(5, sum(counts))

    rows, offsets = gathered(gpu, cupy, pixels, boxes, counts, capacity=1 << 22)

    expected = [
        own
        for camera, part in enumerate(np.split(boxes, offsets_of(counts)[1:-1]))
        for own in cpu.points_in_boxes(pixels[camera], part)
    ]
    np.testing.assert_array_equal(offsets, offsets_of([len(own) for own in expected]))
    np.testing.assert_array_equal(rows, np.concatenate(expected))


@pytest.mark.parametrize("capacity", [1, 100, 4096])
def test_what_does_not_fit_is_counted_and_what_fits_is_right(gpu: Any, cupy: Any, capacity: int) -> None:
    pixels, boxes = random_pixels(6, 2, 9000, seen=1.0), random_boxes(6, 30)

    rows, offsets = gathered(gpu, cupy, pixels, boxes, (10, 20), capacity)

    whole, all_offsets = gathered(gpu, cupy, pixels, boxes, (10, 20))
    np.testing.assert_array_equal(offsets, all_offsets)
    np.testing.assert_array_equal(rows, whole[:capacity])
    assert offsets[-1] > capacity


def test_a_gather_repeats(gpu: Any, cupy: Any) -> None:
    pixels, boxes = random_pixels(7, 6, 120_000), random_boxes(7, 120)

    first, again = (gathered(gpu, cupy, pixels, boxes, [20] * 6) for _ in range(2))

    np.testing.assert_array_equal(first[0], again[0])


@pytest.mark.parametrize("count", [1, 257, 20_000])
def test_hidden_points_around_a_place_are_those_of_the_reference(gpu: Any, cupy: Any, count: int) -> None:
    from avperception.ops.gpu.gather import hidden_around
    from avperception.ops.gpu.lenses import sweep_addresses

    random = np.random.default_rng(count)
    counts = (2, 0, 4)
    pixels = random_pixels(count, len(counts), count)
    points = random.normal(0, 15, (count, 3)).astype(np.float32)
    points[::11] = np.nan
    is_ground = random.uniform(size=count) < 0.4
    circles = random.uniform(0, 10, (sum(counts), 4)).astype(np.float32)
    on_gpu = [cupy.asarray(array) for array in (points, is_ground, points[:, 2])]
    sweep = sweep_addresses(*on_gpu)

    rows, offsets = hidden_around(
        *(cupy.asarray(array) for array in (pixels, sweep, circles, offsets_of(counts))), 1 << 20
    )

    begins = offsets_of(counts)
    expected = [
        own
        for camera in range(len(counts))
        for own in cpu.points_around(
            points, ~is_ground & np.isnan(pixels[camera, :, 0]), circles[begins[camera] : begins[camera + 1]]
        )
    ]
    np.testing.assert_array_equal(offsets.get(), offsets_of([len(own) for own in expected]))
    np.testing.assert_array_equal(rows[: int(offsets[-1])].get(), np.concatenate(expected))


def test_gathered_points_come_with_all_that_fusion_needs(gpu: Any, cupy: Any) -> None:
    from avperception.ops.gpu.gather import describe_points
    from avperception.ops.gpu.lenses import pack_lens, sweep_addresses

    random = np.random.default_rng(8)
    counts, count, capacity = (3, 0, 2), 4000, 50_000
    points = random.normal(0, 15, (count, 3)).astype(np.float32)
    ground = random.normal(0, 1, count).astype(np.float32)
    pixels, boxes = random_pixels(8, 3, count), random_boxes(8, 5)
    transforms = [np.vstack([random.normal(0, 1, (3, 4)), [0, 0, 0, 1]]) for _ in counts]
    lenses = np.stack([pack_lens(np.eye(3), np.zeros(0), "plumb_bob", *SIZE, T) for T in transforms])
    rows, offsets = gathered(gpu, cupy, pixels, boxes, counts)
    total = len(rows)
    room = np.concatenate([rows, np.full(capacity - total, -5, np.int32)])

    on_gpu = [cupy.asarray(array) for array in (points, np.zeros(count, bool), ground)]
    given = (room, offsets, offsets_of(counts), lenses, sweep_addresses(*on_gpu), pixels)
    described = describe_points(*(cupy.asarray(array) for array in given))

    assert described.shape == (9, capacity)
    columns = described[:, :total].get()  # the rest holds nothing
    np.testing.assert_array_equal(columns[8, :total].view(np.int32), rows)
    np.testing.assert_array_equal(columns[:3, :total].T, points[rows])
    np.testing.assert_array_equal(columns[3, :total], ground[rows])
    camera_of_box = np.repeat(np.arange(3), counts)
    for box, camera in enumerate(camera_of_box):
        part = slice(offsets[box], offsets[box + 1])
        in_camera = cpu.transform_points(points[rows[part]], transforms[camera])
        np.testing.assert_array_equal(columns[4:6, part].T, pixels[camera, rows[part]])
        np.testing.assert_array_equal(columns[6, part], in_camera[:, 2])
        np.testing.assert_array_equal(columns[7, part], np.linalg.norm(in_camera, axis=1))
