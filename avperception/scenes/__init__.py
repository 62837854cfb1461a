"""A synthetic road whose sensors are rendered, with ground truth exact to the millimetre.

>>> from avperception.scenes import Scene
>>> scene = Scene(seed=7, condition="night")
>>> picture = scene.picture("front", 2.0)  # doctest: +SKIP
>>> boxes = scene.boxes("front", picture)  # doctest: +SKIP
"""

from avperception.scenes.actors import OBJECT_CLASSES
from avperception.scenes.conditions import CONDITIONS, MIXED
from avperception.scenes.recording import RecordingSummary, write_recording
from avperception.scenes.rig import Camera, Lidar, Rig, default_rig, mounted, pinhole
from avperception.scenes.scene import Frame, Scene
from avperception.scenes.solid import SEGMENTATION_CLASSES
from avperception.scenes.truth import BoxTruth, LaneTruth, ObjectTruth
from avperception.scenes.world import ROADS

__all__ = [
    "CONDITIONS",
    "MIXED",
    "OBJECT_CLASSES",
    "ROADS",
    "SEGMENTATION_CLASSES",
    "BoxTruth",
    "Camera",
    "Frame",
    "LaneTruth",
    "Lidar",
    "ObjectTruth",
    "RecordingSummary",
    "Rig",
    "Scene",
    "default_rig",
    "mounted",
    "pinhole",
    "write_recording",
]
