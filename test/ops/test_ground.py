import numpy as np
import pytest
from builders import LIDAR_HEIGHT, Sweep, block, car, cast_sweep, lidar_mount, pedestrian

from avperception.bags.kitti_dataset import LIDAR_HEIGHT_M, KittiDataset
from avperception.ops import cpu

SENSOR = np.array([0.0, 0.0, LIDAR_HEIGHT])
CLEARANCE = 0.2


def heights(points: np.ndarray, sensor: np.ndarray = SENSOR) -> np.ndarray:
    return cpu.ground_height(points, sensor, 100.0, 0.08, 0.15)


def in_base(sweep: Sweep) -> np.ndarray:
    return cpu.transform_points(sweep.cloud.points_lidar, lidar_mount())


def judged_ground(points: np.ndarray) -> np.ndarray:
    return points[:, 2] - heights(points) < CLEARANCE


@pytest.mark.parametrize("slope", [0.0, 0.05, -0.05, 0.07])
def test_a_bare_plane_is_all_ground_at_its_own_height(slope: float) -> None:
    points = in_base(cast_sweep([], slope=slope, half_angle=180))

    found = heights(points)

    assert found.dtype == np.float32 and found.shape == (len(points),)
    assert np.hypot(points[:, 0], points[:, 1]).max() > 70
    assert np.quantile(np.abs(found - slope * points[:, 0]), 0.99) < 0.15
    assert (points[:, 2] - found < CLEARANCE).mean() > 0.995


@pytest.mark.parametrize("slope", [0.0, 0.05, -0.05])
def test_a_box_on_the_ground_stands_out_and_the_ground_round_it_does_not(slope: float) -> None:
    x = 18.0
    thing = block("car", x, 2.0, 0.3, (4, 1.8, 1.5), lift=slope * x)
    sweep = cast_sweep([thing], slope=slope)
    points = in_base(sweep)
    above = points[:, 2] - slope * points[:, 0]

    ground = judged_ground(points)

    assert ground[(sweep.owner == 0) & (above > 0.4)].sum() == 0
    assert ground[sweep.owner == -1].mean() > 0.99


def test_the_ground_in_an_objects_shadow_is_not_lifted() -> None:
    """A bus hides 20 m of road; a wall stands where the road would come into view again."""
    things = [block("bus", 12, 0, 0, (3, 6, 2.6)), block("wall", 40, 0, 0, (0.5, 30, 4))]
    sweep = cast_sweep(things)
    points = in_base(sweep)

    ground = judged_ground(points)

    assert ground[(sweep.owner == 1) & (points[:, 2] > 0.6)].sum() == 0
    assert np.abs(heights(points)[sweep.owner == 1]).max() < 0.6


def test_points_below_the_ground_do_not_lower_it() -> None:
    """Mirrored in a puddle, a part of the returns lies deep under the road."""
    sweep = cast_sweep([car(15, 0)])
    points = in_base(sweep)
    mirrored = points[::50].copy()
    mirrored[:, 2] -= 3.0
    both = np.concatenate([points, mirrored])

    ground = judged_ground(both)

    assert ground[: len(points)][sweep.owner == -1].mean() > 0.99
    assert ground[: len(points)][(sweep.owner == 0) & (points[:, 2] > 0.5)].sum() == 0
    assert ground[len(points) :].all()


def test_the_sensor_may_stand_anywhere_in_the_target_frame() -> None:
    points = in_base(cast_sweep([car(15, 0)], half_angle=180))
    shift = np.array([40.0, -25.0, 12.0])

    moved = heights((points + shift).astype(np.float32), SENSOR + shift)

    np.testing.assert_allclose(moved - shift[2], heights(points), atol=2e-2)


def test_few_objects_close_by_do_not_raise_the_start() -> None:
    things = [pedestrian(4, 1.5), pedestrian(5, -1), car(9, 3), car(9, -3)]
    sweep = cast_sweep(things)
    points = in_base(sweep)

    ground = judged_ground(points)

    assert ground[sweep.owner == -1].mean() > 0.99
    assert ground[(sweep.owner >= 0) & (points[:, 2] > 0.45)].mean() < 0.01


def test_an_empty_sweep_gives_nothing() -> None:
    assert heights(np.zeros((0, 3), np.float32)).shape == (0,)


@pytest.mark.parametrize(
    "points",
    [
        [[10, 0, 0.1]],
        [[0, 0, 0]],
        [[90, 1, 2.0], [80, 40, 1.0]],
        [[200, 0, 1.0]],
        [[-5, -1e-9, 0], [-5, 0, 0]],
    ],
    ids=["one", "below the sensor", "far only", "beyond the range", "on the seam"],
)
def test_sparse_sweeps_give_finite_heights(points: list[list[float]]) -> None:
    found = heights(np.array(points, np.float32))

    assert found.shape == (len(points),) and np.isfinite(found).all()


@pytest.mark.parametrize("frame", ["000000", "000001", "000002"])
def test_labelled_objects_of_kitti_stand_out_of_the_ground(frame: str, shared_dir) -> None:
    data = KittiDataset(shared_dir / "data" / "kitti" / "training")
    T_camera0_lidar = data.calibration(frame).T_camera0_lidar
    points_lidar = np.ascontiguousarray(data.sweep(frame)[:, :3])
    mount = lidar_mount(LIDAR_HEIGHT_M)
    points = cpu.transform_points(points_lidar, mount)

    ground = points[:, 2] - heights(points, mount[:3, 3]) < CLEARANCE

    in_camera0 = points_lidar @ T_camera0_lidar[:3, :3].T + T_camera0_lidar[:3, 3]
    judged = 0
    for label in data.labels(frame):
        offset = in_camera0 - label.bottom
        cosine, sine = np.cos(label.rotation_y), np.sin(label.rotation_y)
        along = offset[:, 0] * cosine - offset[:, 2] * sine
        across = offset[:, 0] * sine + offset[:, 2] * cosine
        up = -offset[:, 1]
        length, width, height = label.size
        # From 0.4 m on: a label's bottom and the road below differ by a decimetre or two.
        body = (np.abs(along) < length / 2) & (np.abs(across) < width / 2) & (up > 0.4) & (up < height)
        if body.sum() >= 5:
            judged += 1
            assert ground[body].mean() < 0.05, f"{label.class_name} at {label.bottom}"
    assert judged
    # The other way round: most of what is low and near is ground.
    low = (np.abs(points[:, 2]) < 0.1) & (np.hypot(points[:, 0], points[:, 1]) < 15)
    assert ground[low].mean() > 0.95
