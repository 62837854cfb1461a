"""Message definitions: the ROS 2 Jazzy set that rosbags brings, and vision_msgs 4.1, which it does not.

The field lines are facts of the wire format; the RIHS01 hash of each type follows from them.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat
from rosbags.typesys import Stores, TypesysError, get_types_from_idl, get_types_from_msg, get_typestore

if TYPE_CHECKING:
    from rosbags.interfaces.typing import Typesdict
    from rosbags.typesys.store import Typestore

VISION_MSGS: dict[str, str] = {
    "Point2D": "float64 x\nfloat64 y",
    "Pose2D": "Point2D position\nfloat64 theta",
    "BoundingBox2D": "Pose2D center\nfloat64 size_x\nfloat64 size_y",
    "BoundingBox2DArray": "std_msgs/Header header\nBoundingBox2D[] boxes",
    "BoundingBox3D": "geometry_msgs/Pose center\ngeometry_msgs/Vector3 size",
    "BoundingBox3DArray": "std_msgs/Header header\nBoundingBox3D[] boxes",
    "ObjectHypothesis": "string class_id\nfloat64 score",
    "ObjectHypothesisWithPose": "ObjectHypothesis hypothesis\ngeometry_msgs/PoseWithCovariance pose",
    "Classification": "std_msgs/Header header\nObjectHypothesis[] results",
    "Detection2D": (
        "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox2D bbox\nstring id"
    ),
    "Detection2DArray": "std_msgs/Header header\nDetection2D[] detections",
    "Detection3D": (
        "std_msgs/Header header\nObjectHypothesisWithPose[] results\nBoundingBox3D bbox\nstring id"
    ),
    "Detection3DArray": "std_msgs/Header header\nDetection3D[] detections",
    "VisionClass": "uint16 class_id\nstring class_name",
    "LabelInfo": "std_msgs/Header header\nVisionClass[] class_map\nfloat32 threshold",
    "VisionInfo": ("std_msgs/Header header\nstring method\nstring database_location\nint32 database_version"),
}
"""vision_msgs 4.1: name of the message and its fields, in the language of .msg files."""


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """The types that the package writes: ROS 2 Jazzy and vision_msgs; shared, so never change it."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types: Typesdict = {}
    for name, text in VISION_MSGS.items():
        types.update(get_types_from_msg(text, f"vision_msgs/msg/{name}"))
    store.register(types)
    return store


def typestore_with(definitions: Iterable[tuple[str, MessageDefinition]]) -> Typestore:
    """The types of `typestore()`, those of a recording above them: pairs of message type and its definition.

    A recording is read by the definitions it carries, so one made with another ROS distribution or
    with another vision_msgs is read right. A definition that cannot be parsed is left out.
    """
    known = typestore().fielddefs
    recorded: Typesdict = {}
    for msgtype, definition in definitions:
        with suppress(TypesysError, ValueError, AssertionError):
            recorded.update(_parse(msgtype, definition))
    if all(name in known and known[name][1] == fields for name, (_, fields) in recorded.items()):
        return typestore()
    store = get_typestore(Stores.EMPTY)
    fixed = store.fielddefs.keys()  # time and duration, which rosbags does not let redefine
    types = {name: fields for name, fields in {**known, **recorded}.items() if name not in fixed}
    try:
        store.register(types)
    except (TypesysError, SyntaxError, NameError):  # damaged definitions that do parse
        return typestore()
    return store


def _parse(msgtype: str, definition: MessageDefinition) -> Typesdict:
    if definition.format == MessageDefinitionFormat.MSG:
        return get_types_from_msg(definition.data, msgtype)
    if definition.format == MessageDefinitionFormat.NONE:
        return {}
    types: Typesdict = {}
    for section in definition.data.split("=" * 80 + "\n"):
        text = section.split("\n", 1)[-1] if section.startswith("IDL: ") else section
        if text.strip():
            types.update(get_types_from_idl(text))
    return types
