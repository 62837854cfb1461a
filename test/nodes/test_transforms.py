import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from stamped_transforms import SECOND, no_tf2, tf2_tree, transform

from avperception.errors import TransformError
from avperception.nodes.transforms import Pytransform3dTree, TransformTimeError, TransformTree


@pytest.fixture(
    params=[
        pytest.param(Pytransform3dTree, id="pytransform3d"),
        pytest.param(tf2_tree, id="tf2", marks=no_tf2),
    ]
)
def tree(request: pytest.FixtureRequest) -> TransformTree:
    """Both trees must give the same answers."""
    return request.param()


def matrix(xyz: tuple[float, float, float], yaw: float = 0.0) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_euler("z", yaw).as_matrix()
    T[:3, 3] = xyz
    return T


def test_a_static_chain_and_its_inverse(tree: TransformTree):
    tree.add(transform("base_link", "mast", (1, 2, 3), yaw=np.pi / 2), static=True)
    tree.add(transform("mast", "lidar", (0.5, 0, 0.25), yaw=-0.3), static=True)
    expected = matrix((1, 2, 3), np.pi / 2) @ matrix((0.5, 0, 0.25), -0.3)
    np.testing.assert_allclose(tree.lookup("base_link", "lidar", 5 * SECOND), expected, atol=1e-12)
    inverse = tree.lookup("lidar", "base_link", 5 * SECOND)
    np.testing.assert_allclose(inverse, np.linalg.inv(expected), atol=1e-12)
    # The lidar's own origin is, by hand: 1, 2 + 0.5 (turned to the left), 3 + 0.25.
    np.testing.assert_allclose(tree.lookup("base_link", "lidar", 0)[:3, 3], [1, 2.5, 3.25], atol=1e-12)


def test_siblings_meet_at_their_parent(tree: TransformTree):
    tree.add(transform("base_link", "camera", (2, 0, 1)), static=True)
    tree.add(transform("base_link", "lidar", (0, 0, 1.5)), static=True)
    np.testing.assert_allclose(tree.lookup("camera", "lidar", 1), matrix((-2, 0, 0.5)), atol=1e-12)


def test_a_frame_in_itself_is_the_identity(tree: TransformTree):
    tree.add(transform("base_link", "lidar"), static=True)
    np.testing.assert_array_equal(tree.lookup("lidar", "lidar", 1), np.eye(4))


def test_the_newest_static_transform_counts(tree: TransformTree):
    tree.add(transform("base_link", "lidar", (1, 0, 0)), static=True)
    tree.lookup("base_link", "lidar", SECOND)
    tree.add(transform("base_link", "lidar", (7, 0, 0)), static=True)
    assert tree.lookup("base_link", "lidar", SECOND)[0, 3] == 7.0


def test_a_static_transform_holds_at_any_time(tree: TransformTree):
    tree.add(transform("base_link", "lidar", (1, 0, 0), stamp_ns=9 * SECOND), static=True)
    for stamp_ns in (0, 1, 9 * SECOND, 2**60):
        assert tree.lookup("base_link", "lidar", stamp_ns)[0, 3] == 1.0


STEP = SECOND // 10
"""Between the moving transforms of these tests."""


@pytest.fixture
def moving_tree(tree: TransformTree) -> TransformTree:
    """odom to base_link: 1 m and 0.2 rad per 0.1 s from 100 s on; the lidar stands on base_link."""
    for index in range(5):
        stamp_ns = 100 * SECOND + index * STEP
        tree.add(transform("odom", "base_link", (index, 0, 0), 0.2 * index, stamp_ns), static=False)
    tree.add(transform("base_link", "lidar", (0, 0, 2)), static=True)
    return tree


def test_at_a_known_time_a_moving_transform_is_what_was_sent(moving_tree: TransformTree):
    for index in range(5):
        T = moving_tree.lookup("odom", "lidar", 100 * SECOND + index * STEP)
        np.testing.assert_allclose(T, matrix((index, 0, 2), 0.2 * index), atol=1e-7)


def test_between_two_times_it_is_interpolated(moving_tree: TransformTree):
    T = moving_tree.lookup("odom", "lidar", 100 * SECOND + STEP + STEP // 4)
    yaw = Rotation.from_matrix(T[:3, :3]).as_euler("zyx")
    np.testing.assert_allclose(yaw, [0.25, 0, 0], atol=1e-6)
    np.testing.assert_allclose(T[:3, 3], [1.25, 0, 2], atol=1e-9)


def test_a_rotation_is_interpolated_over_the_shorter_arc(tree: TransformTree):
    """A quaternion and its negative are one rotation: publishers change the sign as they like."""
    for index, sign in enumerate((1.0, -1.0)):
        message = transform("odom", "base_link", yaw=0.4 * index, stamp_ns=(10 + index) * SECOND)
        message.transform.rotation.z *= sign
        message.transform.rotation.w *= sign
        tree.add(message, static=False)
    T = tree.lookup("odom", "base_link", 10 * SECOND + SECOND // 2)
    np.testing.assert_allclose(T, matrix((0, 0, 0), 0.2), atol=1e-9)


# -- two times, and what does not move between them ------------------------------------------------------


def test_between_two_times_the_way_of_the_vehicle_counts(moving_tree: TransformTree):
    """A camera's image of 50 ms before the sweep: the camera was half a metre behind, turned by 0.1 rad."""
    moving_tree.add(transform("base_link", "camera", (2, 0, 1)), static=True)
    image_ns, sweep_ns = 100 * SECOND + STEP, 100 * SECOND + STEP + STEP // 2
    T = moving_tree.lookup_between("camera", image_ns, "base_link", sweep_ns, "odom")
    mount = matrix((2, 0, 1))
    expected = np.linalg.inv(matrix((1, 0, 0), 0.2) @ mount) @ matrix((1.5, 0, 0), 0.3)
    np.testing.assert_allclose(T, expected, atol=1e-9)
    at_once = moving_tree.lookup_between("camera", sweep_ns, "base_link", sweep_ns, "odom")
    np.testing.assert_allclose(at_once, np.linalg.inv(mount), atol=1e-9)


@pytest.mark.parametrize("late", ["target", "source"])
def test_between_two_times_of_which_one_is_not_known_yet(moving_tree: TransformTree, late: str):
    times = {"target": 100 * SECOND, "source": 100 * SECOND, late: 101 * SECOND}
    with pytest.raises(TransformTimeError):
        moving_tree.lookup_between("lidar", times["target"], "base_link", times["source"], "odom")


def test_a_fixed_frame_that_nobody_publishes_is_told_from_one_that_is_late(moving_tree: TransformTree):
    with pytest.raises(TransformError, match="map") as caught:
        moving_tree.lookup_between("lidar", 100 * SECOND, "base_link", 100 * SECOND + STEP, "map")
    assert not isinstance(caught.value, TransformTimeError)


@given(
    st.lists(st.tuples(*[st.floats(-50, 50)] * 3, *[st.floats(-3, 3)] * 3), min_size=2, max_size=6),
    st.floats(0, 1),
    st.floats(0, 1),
)
@settings(max_examples=50, deadline=None)
def test_there_and_back_is_the_identity(poses: list[tuple[float, ...]], first: float, second: float):
    tree = Pytransform3dTree()
    for index, pose in enumerate(poses):
        message = transform("odom", "base_link", pose[:3], stamp_ns=(10 + index) * SECOND)
        rotation = message.transform.rotation
        rotation.x, rotation.y, rotation.z, rotation.w = Rotation.from_euler("xyz", pose[3:]).as_quat()
        tree.add(message, static=False)
    tree.add(transform("base_link", "camera", (1, 2, 3), yaw=0.3), static=True)
    a_ns, b_ns = (round((10 + share * (len(poses) - 1)) * SECOND) for share in (first, second))
    there = tree.lookup_between("camera", a_ns, "base_link", b_ns, "odom")
    back = tree.lookup_between("base_link", b_ns, "camera", a_ns, "odom")
    np.testing.assert_allclose(there @ back, np.eye(4), atol=1e-6)
    np.testing.assert_allclose(there[:3, :3] @ there[:3, :3].T, np.eye(3), atol=1e-6)


def test_a_transform_out_of_order_finds_its_place(tree: TransformTree):
    for index in (0, 2, 1):
        tree.add(transform("odom", "base_link", (index**2, 0, 0), 0.0, (10 + index) * SECOND), static=False)
    assert tree.lookup("odom", "base_link", 11 * SECOND)[0, 3] == pytest.approx(1.0)
    assert tree.lookup("odom", "base_link", 11 * SECOND + SECOND // 2)[0, 3] == pytest.approx(2.5)


@pytest.mark.parametrize("offset_ns", [-1, -SECOND, 4 * STEP + 1, 3600 * SECOND])
def test_a_time_before_or_after_is_refused_and_named(moving_tree: TransformTree, offset_ns: int):
    with pytest.raises(TransformError, match="lidar"):
        moving_tree.lookup("odom", "lidar", 100 * SECOND + offset_ns)
    # What does not move is known all the same.
    assert moving_tree.lookup("base_link", "lidar", 100 * SECOND + offset_ns)[2, 3] == 2.0


def test_a_lookup_that_failed_works_once_the_transform_has_come(moving_tree: TransformTree):
    wanted = 100 * SECOND + 5 * STEP
    with pytest.raises(TransformError):
        moving_tree.lookup("odom", "base_link", wanted)
    moving_tree.add(transform("odom", "base_link", (5, 0, 0), 1.0, wanted), static=False)
    assert moving_tree.lookup("odom", "base_link", wanted)[0, 3] == pytest.approx(5.0)


def test_a_single_moving_transform_is_known_at_its_own_time_only(tree: TransformTree):
    tree.add(transform("odom", "base_link", (3, 0, 0), 0.0, 10 * SECOND), static=False)
    assert tree.lookup("odom", "base_link", 10 * SECOND)[0, 3] == pytest.approx(3.0)
    with pytest.raises(TransformError):
        tree.lookup("odom", "base_link", 10 * SECOND + 1)


def test_a_transform_sent_twice_does_no_harm(moving_tree: TransformTree):
    """Two publishers of one transform, or one that repeats itself: tf2 ignores the repetition."""
    repeated = transform("odom", "base_link", (2, 0, 0), 0.4, 100 * SECOND + 2 * STEP)
    moving_tree.add(repeated, static=False)
    for offset_ns in (STEP, 2 * STEP, 2 * STEP + STEP // 2):
        T = moving_tree.lookup("odom", "base_link", 100 * SECOND + offset_ns)
        assert T[0, 3] == pytest.approx(offset_ns / STEP, abs=0.03)


def test_only_ten_seconds_of_moving_transforms_are_kept(tree: TransformTree):
    for index in range(30):
        tree.add(transform("odom", "base_link", (index, 0, 0), 0.0, (100 + index) * SECOND), static=False)
    assert tree.lookup("odom", "base_link", 120 * SECOND)[0, 3] == pytest.approx(20.0)
    with pytest.raises(TransformError):
        tree.lookup("odom", "base_link", 110 * SECOND)


def test_transforms_that_start_again_much_earlier_count_from_there(moving_tree: TransformTree):
    """A recording that loops without a clock that tells so."""
    for index in range(3):
        stamp_ns = 50 * SECOND + index * STEP
        moving_tree.add(transform("odom", "base_link", (7 + index, 0, 0), 0.0, stamp_ns), static=False)
    assert moving_tree.lookup("odom", "base_link", 50 * SECOND + STEP)[0, 3] == pytest.approx(8.0)
    with pytest.raises(TransformTimeError):
        moving_tree.lookup("odom", "base_link", 100 * SECOND)


def test_a_frame_that_gets_another_parent_hangs_on_that_one(tree: TransformTree):
    tree.add(transform("left_mast", "camera", (1, 0, 0)), static=True)
    tree.add(transform("right_mast", "camera", (5, 0, 0)), static=True)
    assert tree.lookup("right_mast", "camera", SECOND)[0, 3] == 5.0
    with pytest.raises(TransformError):
        tree.lookup("left_mast", "camera", SECOND)


def test_frames_in_a_circle_harm_no_other(tree: TransformTree):
    tree.add(transform("base_link", "lidar", (1, 0, 0)), static=True)
    for parent, child in (("a", "b"), ("b", "c"), ("c", "a")):
        tree.add(transform(parent, child), static=True)
    assert tree.lookup("base_link", "lidar", SECOND)[0, 3] == 1.0
    with pytest.raises(TransformError) as caught:
        tree.lookup("base_link", "a", SECOND)
    assert "\n" not in str(caught.value)


def test_when_the_clock_jumps_back_what_moved_later_is_forgotten(moving_tree: TransformTree):
    moving_tree.restart(50 * SECOND)
    assert moving_tree.lookup("base_link", "lidar", SECOND)[2, 3] == 2.0
    with pytest.raises(TransformError):
        moving_tree.lookup("odom", "base_link", 100 * SECOND)


def test_transforms_of_the_new_time_that_came_before_the_clock_told_are_kept(moving_tree: TransformTree):
    """A recording loops: /tf and /clock are different topics, and come in any order."""
    for index in range(2):
        stamp_ns = 50 * SECOND + index * STEP
        moving_tree.add(transform("odom", "base_link", (7 + index, 0, 0), 0.0, stamp_ns), static=False)
    moving_tree.restart(50 * SECOND)
    moving_tree.add(transform("odom", "base_link", (9, 0, 0), 0.0, 50 * SECOND + 2 * STEP), static=False)
    for index in range(3):
        found = moving_tree.lookup("odom", "base_link", 50 * SECOND + index * STEP)
        assert found[0, 3] == pytest.approx(7 + index)
    with pytest.raises(TransformTimeError):
        moving_tree.lookup("odom", "base_link", 100 * SECOND)


def test_a_frame_that_starts_again_leaves_the_others_alone(moving_tree: TransformTree):
    moving_tree.add(transform("base_link", "turntable", (1, 0, 0), 0.0, 100 * SECOND), static=False)
    moving_tree.add(transform("base_link", "turntable", (2, 0, 0), 0.0, 50 * SECOND), static=False)
    assert moving_tree.lookup("base_link", "turntable", 50 * SECOND)[0, 3] == pytest.approx(2.0)
    assert moving_tree.lookup("odom", "base_link", 100 * SECOND + STEP)[0, 3] == pytest.approx(1.0)


@pytest.mark.parametrize("frames", [("base_link", "lidar"), ("map", "lidar"), ("base_link", "")])
def test_an_unknown_frame_is_named_in_one_line(tree: TransformTree, frames: tuple[str, str]):
    tree.add(transform("base_link", "camera"), static=True)
    with pytest.raises(TransformError) as caught:
        tree.lookup(*frames, SECOND)
    assert frames[0] in str(caught.value) and frames[1] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_frames_that_are_known_are_listed(tree: TransformTree):
    tree.add(transform("base_link", "velodyne"), static=True)
    with pytest.raises(TransformError, match="base_link, velodyne"):
        tree.lookup("base_link", "lidar", SECOND)


def test_frames_without_a_connection(tree: TransformTree):
    tree.add(transform("base_link", "camera"), static=True)
    tree.add(transform("map", "odom"), static=True)
    with pytest.raises(TransformError):
        tree.lookup("base_link", "odom", SECOND)


def test_frames_without_a_connection_are_told_from_a_time_that_fails(moving_tree: TransformTree):
    """Else each frame would be waited for, where a vehicle moves in odometry and a camera is not mounted."""
    moving_tree.add(transform("mast", "camera"), static=True)
    for frames in (("camera", "lidar"), ("lidar", "camera")):
        with pytest.raises(TransformError, match="frames known: base_link, camera, ") as caught:
            moving_tree.lookup(*frames, 200 * SECOND)
        assert not isinstance(caught.value, TransformTimeError)


def test_what_a_clock_that_jumped_back_made_forgotten_is_not_connected(moving_tree: TransformTree):
    moving_tree.restart(50 * SECOND)
    with pytest.raises(TransformError) as caught:
        moving_tree.lookup("odom", "base_link", 50 * SECOND)
    assert not isinstance(caught.value, TransformTimeError)


def test_a_frame_that_was_fixed_stays_so_when_the_clock_jumps_back(tree: TransformTree):
    tree.add(transform("base_link", "mast", (1, 0, 0), stamp_ns=100 * SECOND), static=False)
    tree.add(transform("base_link", "mast", (2, 0, 0)), static=True)
    tree.restart(99 * SECOND)
    for stamp_ns in (50 * SECOND, 100 * SECOND):
        assert tree.lookup("base_link", "mast", stamp_ns)[0, 3] == pytest.approx(2.0)


def broken(message: TransformStamped, how: str) -> TransformStamped:
    if how == "zero":
        message.transform.rotation.w = message.transform.rotation.z = 0.0
    elif how == "nan":
        message.transform.rotation.x = float("nan")
    else:
        message.transform.translation.y = float("inf")
    return message


@pytest.mark.parametrize("static", [True, False], ids=["static", "moving"])
@pytest.mark.parametrize("how", ["zero", "nan", "inf"])
def test_a_transform_that_is_none_is_refused_and_harms_no_other(tree: TransformTree, how: str, static: bool):
    tree.add(transform("base_link", "lidar", (1, 0, 0)), static=True)
    for index in range(2):
        stamp_ns = (10 + index) * SECOND
        with pytest.raises(TransformError, match="camera"):
            tree.add(broken(transform("base_link", "camera", stamp_ns=stamp_ns), how), static=static)
    assert tree.lookup("base_link", "lidar", 10 * SECOND)[0, 3] == 1.0


@pytest.mark.parametrize("frames", [("lidar", "lidar"), ("/lidar", "lidar"), ("", "lidar"), ("lidar", "")])
def test_a_transform_of_less_than_two_frames_is_refused_and_harms_no_other(
    tree: TransformTree, frames: tuple[str, str]
):
    tree.add(transform("base_link", "lidar", (1, 0, 0)), static=True)
    with pytest.raises(TransformError, match="publisher"):
        tree.add(transform(*frames, (5, 0, 0)), static=True)
    assert tree.lookup("base_link", "lidar", SECOND)[0, 3] == 1.0


def test_a_quaternion_that_is_nearly_a_unit_one_is_normalised(tree: TransformTree):
    message = transform("base_link", "lidar", yaw=0.5)
    message.transform.rotation.z *= 1.001
    message.transform.rotation.w *= 1.001
    tree.add(message, static=True)
    R = tree.lookup("base_link", "lidar", SECOND)[:3, :3]
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-9)


def test_a_quaternion_that_is_far_from_a_unit_one_is_normalised(tree: TransformTree):
    message = transform("base_link", "mast", yaw=0.5)
    message.transform.rotation.z *= 3
    message.transform.rotation.w *= 3
    tree.add(message, static=True)
    tree.add(transform("mast", "lidar", (10, 0, 0)), static=True)
    expected = matrix((0, 0, 0), 0.5) @ matrix((10, 0, 0))
    np.testing.assert_allclose(tree.lookup("base_link", "lidar", SECOND), expected, atol=1e-9)


def test_leading_slashes_of_ros_1_are_forgiven(tree: TransformTree):
    tree.add(transform("/base_link", "/lidar", (1, 0, 0)), static=True)
    assert tree.lookup("base_link", "/lidar", SECOND)[0, 3] == 1.0
    assert tree.lookup("/base_link", "lidar", SECOND)[0, 3] == 1.0
    assert tree.lookup_between("/base_link", SECOND, "/lidar", 2 * SECOND, "/base_link")[0, 3] == 1.0
