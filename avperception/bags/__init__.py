"""rosbag2 recordings without ROS: read them, write them, make them from other data."""

from avperception.bags.conversion import ConversionSummary
from avperception.bags.definitions import typestore
from avperception.bags.kitti import convert_kitti
from avperception.bags.reader import BagReader
from avperception.bags.storage import BagMessage, BagTopic
from avperception.bags.video import convert_video
from avperception.bags.writer import BagWriter

__all__ = [
    "BagMessage",
    "BagReader",
    "BagTopic",
    "BagWriter",
    "ConversionSummary",
    "convert_kitti",
    "convert_video",
    "typestore",
]
