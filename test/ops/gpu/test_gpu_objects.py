"""Choosing objects' points, joining hidden ones and fitting boxes on the GPU, against the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from avperception.ops import cpu
from avperception.ops.queries import QUERY, Queries, are_cut
from avperception.pipeline.box_fit import Sight, fit_box, middle
from avperception.pipeline.sizes import OBJECT_SIZES

CAPACITY = 1 << 15
IMAGE = (1280, 720)
SENSOR = np.array([0.9, -0.2, 1.8])
CLASSES = ["car", "truck", "cyclist", "pedestrian", None]


@dataclass(frozen=True)
class Scene:
    """Lists of points of a sweep behind 2D boxes, as described by `describe_points`, and what is asked."""

    points: np.ndarray
    rows: np.ndarray
    offsets: np.ndarray
    pixels: np.ndarray
    distances: np.ndarray
    queries: Queries

    @property
    def positions(self) -> np.ndarray:
        return self.points[self.rows]

    @property
    def ground(self) -> np.ndarray:
        """Heights below all points of the sweep."""
        return (0.01 * self.points[:, 0]).astype(np.float32)

    def part(self, box: int) -> slice:
        return slice(self.offsets[box], self.offsets[box + 1])


def query(random: np.random.Generator, name: str | None) -> Queries:
    asked = np.zeros(1, QUERY)
    low = random.uniform([0, 0], [900, 500])
    size = random.uniform([30, 30], [380, 220])
    asked["box"] = np.round([*low, *(low + size)])
    if random.uniform() < 0.3:
        asked["box"][0, 0] = 0
    asked["image_size"], asked["focal"] = IMAGE, 800
    asked["reach"], asked["reach_per_metre"], asked["min_points"] = 0.4, 0.012, random.integers(1, 8)
    asked["longest"], asked["is_compact"] = np.inf, True
    if name is not None:
        typical = OBJECT_SIZES[name]
        asked["size"] = typical.length, typical.width, typical.height
        asked["largest"], asked["longest"] = typical.largest, typical.longest
        asked["is_compact"] = typical.compact
    asked["origin"] = 1.5, 0.1
    asked["left"], asked["right"] = np.sort(random.uniform(-1, 1, 2))[::-1]
    if random.uniform() < 0.3:
        asked["left"] = np.nan
    return asked


def scene(seed: int, counts: list[int]) -> Scene:
    """Some lists of points in clumps, walls and noise, several at one place, in the order of their rows."""
    random = np.random.default_rng(seed)
    parts, pixels, queries = [], [], []
    for number, count in enumerate(counts):
        asked = query(random, CLASSES[number % len(CLASSES)])
        box = asked["box"][0]
        clumps = random.uniform([5, -10, 0], [40, 10, 0], (random.integers(1, 6), 3))
        place = clumps[np.sort(random.integers(0, len(clumps), count))]
        place = place + random.normal(0, 1, (count, 3)) * random.choice([[0.1, 0.1, 0.5], [2, 0.05, 0.5]])
        if count > 4:
            place[count // 2 : count // 2 + 2] = place[0]
        parts.append(place.astype(np.float32))
        pixels.append(random.uniform(box[:2] - 2, box[2:] + 2, (count, 2)).astype(np.float32))
        queries.append(asked)
    positions = np.concatenate([np.zeros((0, 3), np.float32), *parts])
    distances = np.linalg.norm(positions - np.float32(1), axis=1)
    # The rows of a list rise; between them lie points of no list, those that may be hidden.
    others = (positions + random.normal(0, 0.6, positions.shape)).astype(np.float32)
    points = np.stack([positions, others], axis=1).reshape(-1, 3)
    return Scene(
        points=points,
        rows=2 * np.arange(len(positions)),
        offsets=np.cumsum([0, *counts], dtype=np.int32),
        pixels=np.concatenate([np.zeros((0, 2), np.float32), *pixels]),
        distances=distances,
        queries=np.concatenate(queries),
    )


def on_gpu(cupy: Any, sight: Scene) -> Any:
    from avperception.ops.gpu.objects import Lists

    columns = np.full((9, CAPACITY), np.nan, np.float32)
    used = columns[:, : len(sight.rows)]
    used[:3], used[3] = sight.positions.T, sight.ground[sight.rows]
    used[4:6], used[6], used[7] = sight.pixels.T, sight.distances, sight.distances
    used[8] = sight.rows.astype(np.int32).view(np.float32)
    return Lists(cupy.asarray(columns), cupy.asarray(sight.offsets))


def given_queries(cupy: Any, sight: Scene) -> Any:
    return cupy.asarray(sight.queries.view(np.uint8).copy())


def sweep_of(cupy: Any, sight: Scene) -> tuple[Any, list[Any]]:
    from avperception.ops.gpu.lenses import sweep_addresses

    arrays = [cupy.asarray(sight.points), cupy.zeros(len(sight.points), bool), cupy.asarray(sight.ground)]
    return cupy.asarray(sweep_addresses(*arrays)), arrays


def chosen_on_host(sight: Scene) -> np.ndarray:
    return cpu.object_points(
        sight.positions, sight.pixels, sight.distances, sight.distances, sight.offsets, sight.queries
    )


SCENES = {
    "one point": [1],
    "few": [0, 3, 40, 0, 7],
    "warps": [31, 32, 33, 511, 512, 513],
    "many boxes": [20 * i % 171 for i in range(60)],
    "large": [9000, 5, 4000],
    "none": [0, 0],
}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", SCENES)
def test_the_chosen_points_are_those_of_the_reference(cupy: Any, name: str, seed: int) -> None:
    from avperception.ops.gpu.objects import choose_objects

    sight = scene(seed, SCENES[name])

    chosen = choose_objects(on_gpu(cupy, sight), given_queries(cupy, sight), cupy.asarray(SENSOR))

    expected = chosen_on_host(sight)
    counts, circles = chosen.counts[:-1].get(), chosen.circles.get()
    cut = are_cut(sight.queries)
    for box in range(len(sight.queries)):
        own = np.flatnonzero(expected[sight.part(box)])
        begin = sight.offsets[box]
        np.testing.assert_array_equal(chosen.places[begin : begin + counts[box]].get(), own)
        longest = float(sight.queries["longest"][box])
        if not len(own) or not cut[box] or np.isinf(longest):
            assert circles[box, 2] == 0
            continue
        centre = middle(sight.positions[sight.part(box)][own])
        np.testing.assert_array_equal(circles[box, :3], np.float32([*centre[:2], longest**2]))
        distance = np.float32(np.linalg.norm(centre - SENSOR))
        reach = sight.queries["reach"][box] + sight.queries["reach_per_metre"][box] * distance
        assert float(chosen.reaches[box]) == reach


def test_what_has_no_room_is_left_out(cupy: Any) -> None:
    """Offsets beyond the capacity, as `points_in_boxes` gives them, stand for points that are not there."""
    from avperception.ops.gpu.objects import Lists, choose_objects

    sight = scene(3, [400, 400, 400])
    whole = on_gpu(cupy, sight)
    small = Lists(cupy.ascontiguousarray(whole.columns[:, :600]), whole.offsets)

    chosen = choose_objects(small, given_queries(cupy, sight), cupy.asarray(SENSOR))

    counts = chosen.counts[:-1].get()
    first = sight.part(0)
    assert counts[0] == np.count_nonzero(chosen_on_host(sight)[first])
    assert counts[1] <= 200 and counts[2] == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SCENES)
def test_joined_points_and_boxes_are_those_of_the_reference(cupy: Any, name: str, seed: int) -> None:
    from avperception.ops.gpu.objects import BOX, choose_objects, fit_boxes, join_hidden

    sight = scene(100 + seed, SCENES[name])
    boxes = len(sight.queries)
    lists, queries, sensor = on_gpu(cupy, sight), given_queries(cupy, sight), cupy.asarray(SENSOR)
    sweep, arrays = sweep_of(cupy, sight)
    expected = chosen_on_host(sight)
    cut = are_cut(sight.queries) & np.isfinite(sight.queries["longest"])
    hidden = [1 + 2 * np.arange(*sight.offsets[box : box + 2]) if cut[box] else [] for box in range(boxes)]
    hidden_rows = np.zeros(CAPACITY, np.int32)
    hidden_offsets = np.cumsum([0, *(len(rows) for rows in hidden)], dtype=np.int32)
    hidden_rows[: hidden_offsets[-1]] = np.concatenate(hidden)
    memory = cupy.cuda.alloc_pinned_memory(BOX.itemsize * boxes + 4 * (boxes + 4 + 2 * CAPACITY))
    found = np.frombuffer(memory, BOX, boxes)
    numbers = np.frombuffer(memory, np.int32, boxes + 3 + 2 * CAPACITY, BOX.itemsize * boxes)
    offsets, rows = numbers[: boxes + 3], numbers[boxes + 3 :]

    chosen = choose_objects(lists, queries, sensor)
    on_device = [cupy.asarray(array) for array in (hidden_rows, hidden_offsets)]
    joined = join_hidden(lists, chosen, queries, sweep, *on_device)
    host = (found.ctypes.data, offsets.ctypes.data, rows.ctypes.data)
    fit_boxes(lists, chosen, joined, on_device[1], queries, sweep, sensor, host)
    cupy.cuda.Device().synchronize()

    assert offsets[boxes + 1 :].tolist() == [len(sight.rows), hidden_offsets[-1]]
    for box in range(boxes):
        has_reach = cut[box] and expected[sight.part(box)].any()
        reach = float(chosen.reaches[box]) if has_reach else np.nan
        wanted = wanted_rows(sight, box, expected, np.asarray(hidden[box], int), reach)
        np.testing.assert_array_equal(rows[offsets[box] : offsets[box + 1]], wanted)
        if len(wanted):
            check_fit(found[box], sight, box, wanted)
    assert len(arrays) == 3  # the sweep was in memory until here


def wanted_rows(sight: Scene, box: int, expected: np.ndarray, hidden: np.ndarray, reach: float) -> np.ndarray:
    own = sight.rows[sight.part(box)][expected[sight.part(box)]]
    if not len(own) or not len(hidden):
        return own
    both = np.concatenate([own, hidden])
    is_joined = cpu.joined_points(
        sight.points[both],
        np.arange(len(both)) < len(own),
        np.array([0, len(both)], np.int32),
        np.array([reach], np.float32),
        sight.queries["longest"][box : box + 1],
    )
    return np.sort(both[is_joined])


def check_fit(found: Any, sight: Scene, box: int, rows: np.ndarray) -> None:
    asked, name = sight.queries[box], CLASSES[box % len(CLASSES)]
    left, right = (None if np.isnan(asked[side]) else float(asked[side]) for side in ("left", "right"))
    wanted = fit_box(
        sight.points[rows].astype(np.float64),
        float(middle(sight.ground[rows])),
        SENSOR,
        OBJECT_SIZES[name] if name else None,
        Sight(asked["origin"].copy(), left, right),
    )
    for value in ("center", "size", "yaw"):
        np.testing.assert_allclose(found[value], getattr(wanted, value), rtol=1e-9, atol=1e-9)
    planar = [
        [found["covariance_xx"], found["covariance_xy"]],
        [found["covariance_xy"], found["covariance_yy"]],
    ]
    np.testing.assert_allclose(planar, wanted.covariance[:2, :2], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found["yaw_variance"], wanted.covariance[5, 5], rtol=1e-9)


def test_the_sizes_of_structs_are_those_of_the_sources(cupy: Any) -> None:
    """A wrong size would not show otherwise: memory for groups and candidates is only counted in bytes."""
    from avperception.ops.gpu import objects
    from avperception.ops.gpu.module import OPTIONS
    from avperception.ops.sources import cuda_source

    for file, names in {"objects.cu": ("Group", "Candidate", "Query"), "boxes.cu": ("Box",)}.items():
        sizes = ", ".join(f"sizeof({name})" for name in names)
        probe = f'extern "C" __global__ void tell(int* sizes) {{ int own[] = {{{sizes}}}; ' + (
            f"for (int i = 0; i < {len(names)}; ++i) sizes[i] = own[i]; }}"
        )
        told = cupy.zeros(len(names), np.int32)
        module = cupy.RawModule(code=cuda_source(file) + probe, options=OPTIONS)
        module.get_function("tell")((1,), (1,), (told,))
        wanted = {
            "Group": objects.GROUP_BYTES,
            "Candidate": objects.CANDIDATE_BYTES,
            "Query": QUERY.itemsize,
            "Box": objects.BOX.itemsize,
        }
        assert told.get().tolist() == [wanted[name] for name in names]
