import pytest

from avperception.bags import BagTopic
from avperception.errors import BagError
from avperception.replay.plan import CameraTopics, plan_replay

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
INFO = "sensor_msgs/msg/CameraInfo"
CLOUD = "sensor_msgs/msg/PointCloud2"
TF = "tf2_msgs/msg/TFMessage"
TRUTH = "vision_msgs/msg/Detection3DArray"


def topics(**named: str) -> list[BagTopic]:
    """Topics by name, `__` for a slash."""
    return [BagTopic("/" + name.replace("__", "/"), msgtype, 1) for name, msgtype in named.items()]


def test_what_convert_kitti_writes():
    plan = plan_replay(
        topics(
            front__image_raw=IMAGE, front__camera_info=INFO, points=CLOUD, tf_static=TF, ground_truth=TRUTH
        )
    )
    assert plan.cameras == (CameraTopics("front", "/front/image_raw", False, "/front/camera_info"),)
    assert (plan.points, plan.transforms, plan.truth) == ("/points", ("/tf_static",), "/ground_truth")
    assert plan.topics == {"/front/image_raw", "/front/camera_info", "/points", "/tf_static"}
    assert plan.frame_topics == {"/points"}


def test_a_camera_alone_makes_each_image_a_frame():
    plan = plan_replay(topics(left__image_raw=IMAGE, right__image_raw=IMAGE))
    assert [camera.name for camera in plan.cameras] == ["left", "right"]
    assert plan.points is None and plan.frame_topics == {"/left/image_raw", "/right/image_raw"}


@pytest.mark.parametrize("name", ["image_raw", "image", "image_color", "image_rect", "image_rect_color"])
def test_the_names_of_image_pipeline(name: str):
    plan = plan_replay([BagTopic(f"/cam/{name}", IMAGE, 1), BagTopic("/cam/camera_info", INFO, 1)])
    assert plan.cameras == (CameraTopics("cam", f"/cam/{name}", False, "/cam/camera_info"),)


def test_raw_is_taken_before_rectified_and_before_compressed():
    names = ["/cam/image_rect_color", "/cam/image_rect", "/cam/image_raw"]
    plan = plan_replay(
        [*(BagTopic(name, IMAGE, 1) for name in names), BagTopic("/cam/image_raw/compressed", COMPRESSED, 1)]
    )
    assert plan.cameras == (CameraTopics("cam", "/cam/image_raw", False, None),)


def test_only_compressed():
    plan = plan_replay(
        [BagTopic("/cam/image_raw/compressed", COMPRESSED, 1), BagTopic("/cam/camera_info", INFO, 1)]
    )
    assert plan.cameras == (CameraTopics("cam", "/cam/image_raw/compressed", True, "/cam/camera_info"),)


def test_a_lidar_alone():
    plan = plan_replay(topics(velodyne_points=CLOUD, tf=TF))
    assert plan.cameras == () and plan.points == "/velodyne_points" and plan.transforms == ("/tf",)


def test_camera_info_must_be_beside_the_image_and_of_its_type():
    plan = plan_replay(topics(a__image_raw=IMAGE, b__image_raw=IMAGE, b__camera_info=IMAGE))
    assert [camera.info for camera in plan.cameras] == [None, None]


def test_cameras_of_one_last_name_are_told_apart_by_their_whole_namespace():
    plan = plan_replay(topics(front__stereo__image_raw=IMAGE, rear__stereo__image_raw=IMAGE))
    assert sorted(camera.name for camera in plan.cameras) == ["front_stereo", "rear_stereo"]


def test_a_camera_without_a_namespace():
    assert plan_replay(topics(image_raw=IMAGE)).cameras == (
        CameraTopics("camera", "/image_raw", False, None),
    )


def test_names_are_made_fit_for_topics_and_parameters():
    """A recording may come from anywhere; a name is a part of topics and of parameters."""
    for camera in plan_replay(topics(camera__front=IMAGE, x2__image_raw=IMAGE)).cameras:
        assert camera.name.replace("_", "a").isalnum()


@pytest.mark.parametrize(
    "name", ["/cam/depth", "/cam/image_raw/theora", "/ground_truth/cam/image_raw", "/cam/segmentation"]
)
def test_images_that_are_not_a_cameras(name: str):
    with pytest.raises(BagError, match="no camera images"):
        plan_replay([BagTopic(name, IMAGE, 1)])


def test_several_clouds_need_a_choice():
    layout = topics(top__points=CLOUD, rear__points=CLOUD)
    with pytest.raises(BagError, match=r"2 point clouds.*--points.*/rear/points, /top/points"):
        plan_replay(layout)
    assert plan_replay(layout, "/top/points").points == "/top/points"


def test_a_chosen_cloud_that_is_not_there():
    with pytest.raises(BagError, match=r"/roof.*no point cloud.*/points"):
        plan_replay(topics(points=CLOUD, front__image_raw=IMAGE), "/roof")


def test_nothing_to_replay_names_what_there_is():
    with pytest.raises(BagError, match=r"/chatter \(std_msgs/msg/String\)"):
        plan_replay(topics(chatter="std_msgs/msg/String", tf_static=TF))
    with pytest.raises(BagError, match="none"):
        plan_replay([])


def test_topics_of_a_good_name_and_another_type_are_left_alone():
    plan = plan_replay(topics(points=CLOUD, tf_static="std_msgs/msg/String", ground_truth=IMAGE))
    assert plan.transforms == () and plan.truth is None


def test_messages_of_the_results_of_an_earlier_replay_are_no_input():
    plan = plan_replay(
        [
            BagTopic("/points", CLOUD, 1),
            BagTopic("/perception/output/front/segmentation", IMAGE, 1),
            BagTopic("/perception/output/detections_3d", TRUTH, 1),
        ]
    )
    assert plan.cameras == () and plan.truth is None
