from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avperception.pipeline.duplicates import merge_duplicates
from avperception.types import Detection3D

FRACTION = 0.8


def box(
    x: float, score: float = 0.9, name: str = "car", rows: range = range(10), camera: str = "front"
) -> Detection3D:
    size = {"car": (4.3, 1.85, 1.6), "truck": (7.0, 2.5, 2.9), "person": (0.7, 0.65, 1.75)}[name]
    return Detection3D(
        class_id=len(name),
        class_name=name,
        score=score,
        center=np.array([x, 0.0, 0.8]),
        size=np.array(size),
        yaw=0.0,
        covariance=np.eye(6),
        cameras=(camera,),
        point_indices=np.arange(rows.start, rows.stop),
    )


def test_nothing_gives_nothing() -> None:
    assert merge_duplicates([], FRACTION) == ()


def test_what_two_cameras_see_in_one_place_is_one_object_of_both() -> None:
    seen = [box(10, 0.9, rows=range(10)), box(10.5, 0.6, rows=range(20, 50), camera="left")]

    (one,) = merge_duplicates(seen, FRACTION)

    assert one.cameras == ("front", "left")
    assert one.score == 0.9
    assert one.point_count == 30 and one.center[0] == 10.5  # the geometry with more points behind it


def test_what_shares_points_is_one_object_however_its_boxes_lie() -> None:
    apart = [box(10, 0.9, rows=range(10)), box(13, 0.8, rows=range(10, 20))]
    sharing = [box(10, 0.9, rows=range(10)), box(13, 0.8, rows=range(4, 14))]

    assert len(merge_duplicates(apart, FRACTION)) == 2
    assert len(merge_duplicates(sharing, FRACTION)) == 1


def test_a_person_may_stand_where_a_car_is_but_a_truck_may_not() -> None:
    assert len(merge_duplicates([box(10), box(10, 0.8, "person")], FRACTION)) == 2
    (one,) = merge_duplicates([box(10), box(10, 0.8, "truck")], FRACTION)
    assert one.class_name == "car"


def test_a_third_box_is_compared_with_the_geometry_that_stayed() -> None:
    first, larger = box(10, 0.9, rows=range(5)), box(11, 0.8, rows=range(10, 40))
    near_the_larger = box(12, 0.7, rows=range(50, 55))  # 2 m from the first, 1 m from the larger one

    (one,) = merge_duplicates([first, larger, near_the_larger], FRACTION)

    assert one.center[0] == 11 and one.score == 0.9
    assert len(merge_duplicates([first, near_the_larger], FRACTION)) == 2


def one_after_the_other(detections: list[Detection3D], fraction: float) -> list[Detection3D]:
    """The rule as it reads, each detection against each that was kept."""

    def is_same(a: Detection3D, b: Detection3D) -> bool:
        if ("person" in (a.class_name, b.class_name)) and a.class_name != b.class_name:
            return False
        distance = abs(float(a.center[0] - b.center[0]))
        common = len(set(a.point_indices) & set(b.point_indices))
        return distance < fraction * min(a.size[1], b.size[1]) or (
            distance <= max(a.size[0], b.size[0]) and common > 0.5 * min(a.point_count, b.point_count)
        )

    kept: list[Detection3D] = []
    for detection in detections:
        place = next((i for i, other in enumerate(kept) if is_same(detection, other)), None)
        if place is None:
            kept.append(detection)
            continue
        named = kept[place]
        shaped = detection if detection.point_count > named.point_count else named
        kept[place] = replace(
            shaped,
            class_id=named.class_id,
            class_name=named.class_name,
            score=named.score,
            cameras=tuple(dict.fromkeys(named.cameras + detection.cameras)),
        )
    return kept


@pytest.mark.parametrize("fraction", [0.0, FRACTION, 2.0])
@given(
    found=st.lists(
        st.tuples(
            st.integers(0, 60), st.sampled_from(["car", "truck", "person"]), st.integers(0, 30),
            st.integers(1, 20), st.sampled_from(["front", "left", "right"]),
        ),
        max_size=25,
    )
)  # fmt: skip
def test_the_rule_holds_for_any_crowd(found: list[tuple[int, str, int, int, str]], fraction: float) -> None:
    detections = [
        box(place / 4, 1 - 0.01 * i, name, range(first, first + count), camera)
        for i, (place, name, first, count, camera) in enumerate(found)
    ]

    merged = merge_duplicates(detections, fraction)
    expected = one_after_the_other(detections, fraction)

    assert [(d.center[0], d.score, d.class_name, d.cameras, d.point_count) for d in merged] == [
        (d.center[0], d.score, d.class_name, d.cameras, d.point_count) for d in expected
    ]
