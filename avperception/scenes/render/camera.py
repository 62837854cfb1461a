"""Renders what one camera sees: the image, and from the same polygons the class mask and who covers whom."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avperception.scenes.conditions import Condition
from avperception.scenes.render.ground import GroundPainter, Surfaces
from avperception.scenes.render.ground_plan import GroundPlan, plan_ground
from avperception.scenes.render.ground_view import GroundView
from avperception.scenes.render.lens import Lens, make_lens
from avperception.scenes.render.lighting import Light, tunnel_gain
from avperception.scenes.render.mesh import Mesh, make_mesh
from avperception.scenes.render.painter import FIRST_SOLID, MeshPainter, Silhouette
from avperception.scenes.render.sensor import expose
from avperception.scenes.render.shadows import Shadows, find_shadows
from avperception.scenes.render.sky import SkyView
from avperception.scenes.render.weather import add_glow, add_lens_drops, add_rain, mirror_on_road
from avperception.scenes.rig import Camera
from avperception.scenes.road import Road
from avperception.scenes.shapes.shape import STREET_LAMP
from avperception.scenes.solid import BACKGROUND, Solid
from avperception.types import Float32, Float64, UInt8

Ids = NDArray[np.uint16]

_LAMP_RANGE = 70.0  # m within which street lamps light anything
_VIEWS_KEPT = 16


@dataclass(frozen=True)
class Surroundings:
    """What stays the same during one condition of a scene."""

    road: Road
    surfaces: Surfaces
    panorama: UInt8
    condition: Condition
    sun_direction: Float64


@dataclass(frozen=True)
class Moment:
    """What all cameras share at one moment: the solids about, the ego vehicle's place, and the ground."""

    around: Surroundings
    solids: Sequence[Solid]
    s: float
    T_world_base: Float64
    ground: GroundPlan
    shadows: Shadows


def make_moment(around: Surroundings, solids: Sequence[Solid], s: float, T_world_base: Float64) -> Moment:
    """Lay out the moment at which the ego vehicle is at `s` metres along the road."""
    shadows = find_shadows(solids, around.condition, around.sun_direction, T_world_base[:2, 3])
    return Moment(around, solids, s, T_world_base, plan_ground(around.road, s), shadows)


@dataclass(frozen=True)
class Picture:
    """`image` (height, width, 3) BGR as the sensor gives it, and what lies behind it.

    `segmentation` (height, width) uint8 are class ids. `ideal_ids` (of the lens's ideal picture) say
    which solid of `solids` is seen in each pixel: FIRST_SOLID + its place there. `silhouettes` has, by
    that place, the actors as if nothing hid them.
    """

    image: UInt8
    segmentation: UInt8
    ideal_ids: Ids
    solids: list[Solid]
    silhouettes: dict[int, Silhouette]
    T_camera_world: Float64


class _View:
    """What depends on the camera alone."""

    def __init__(self, camera: Camera) -> None:
        self.lens = make_lens(camera)
        size = self.lens.width, self.lens.height
        self.ground = GroundView(self.lens.K, *size, camera.T_base_camera)
        self.sky = SkyView(self.lens.K, *size, camera.T_base_camera[:3, :3])
        K, (width, height) = self.lens.K, size
        self.half_view = (
            max(K[0, 2], width - K[0, 2]) / K[0, 0],
            max(K[1, 2], height - K[1, 2]) / K[1, 1],
        )
        ahead = camera.T_base_camera[:3, :3].T @ [*camera.T_base_camera[:2, 2], 0.0]
        self.horizon = float(K[1, 1] * ahead[1] / ahead[2] + K[1, 2]) if ahead[2] > 1e-6 else 0.0


_views: OrderedDict[tuple[object, ...], _View] = OrderedDict()


def view_of(camera: Camera) -> _View:
    """The parts of rendering that depend on the camera alone, kept for the cameras used last."""
    model = camera.model
    key = (
        model.width, model.height, model.distortion_model, tuple(np.ravel(model.K)), tuple(np.ravel(model.D)),
        tuple(np.ravel(camera.T_base_camera)),
    )  # fmt: skip
    if key not in _views:
        _views[key] = _View(camera)
        if len(_views) > _VIEWS_KEPT:
            _views.popitem(last=False)
    _views.move_to_end(key)
    return _views[key]


class CameraRenderer:
    """Renders one camera of one scene."""

    def __init__(self, camera: Camera, road: Road, surfaces: Surfaces) -> None:
        self.camera = camera
        self._view = view_of(camera)
        self._ground = GroundPainter(self._view.ground, road, surfaces)
        self._lens = self._view.lens

    @property
    def lens(self) -> Lens:
        """The camera's lens."""
        return self._view.lens

    def render(self, moment: Moment, rng: np.random.Generator, drops_rng: np.random.Generator) -> Picture:
        """Render one moment; `rng` gives noise and rain, `drops_rng` the drops on the lens, which stay."""
        lens, condition = self._lens, moment.around.condition
        T_camera_world = np.asarray(
            np.linalg.inv(moment.T_world_base @ self.camera.T_base_camera), np.float64
        )
        mesh = make_mesh(moment.solids, T_camera_world, self._view.half_view, float(lens.K[0, 0]))
        light = _light(moment, self.camera)
        picture = np.empty((lens.height, lens.width, 3), np.uint8)
        ids = np.full((lens.height, lens.width), BACKGROUND, np.uint16)
        yaw = float(np.arctan2(moment.T_world_base[1, 0], moment.T_world_base[0, 0]))
        self._view.sky.paint(picture, moment.around.panorama, yaw, light.gain)
        self._paint_ground(picture, ids, moment, T_camera_world, light)
        in_view = None if lens.maps is None else lens.in_view
        size = (lens.width, lens.height)
        painter = MeshPainter(mesh, light.shade(mesh), lens.K, size, condition, in_view)
        painter.paint(picture, ids)
        self._add_weather(picture, ids, mesh, condition, rng, drops_rng)
        image = expose(lens.distorted(picture), condition, rng)
        classes = _class_table(mesh)[lens.distorted_labels(ids)]
        return Picture(image, classes, ids, mesh.solids, painter.silhouettes, T_camera_world)

    def _paint_ground(
        self, picture: UInt8, ids: Ids, moment: Moment, T_camera_world: Float64, light: Light
    ) -> None:
        if self._view.ground.top >= len(ids):
            return  # it looks at the sky only
        shade = np.full(ids.shape, 255, np.uint8)
        moment.shadows.paint(shade, T_camera_world, self._lens.K)
        self._ground.paint(picture, ids, shade, moment.ground, T_camera_world)
        self._ground.light(picture, ids, shade, light, moment.T_world_base)

    def _add_weather(
        self,
        picture: UInt8,
        ids: Ids,
        mesh: Mesh,
        condition: Condition,
        rng: np.random.Generator,
        drops_rng: np.random.Generator,
    ) -> None:
        if condition.wet:
            mirror_on_road(picture, ids, self._view.horizon, condition.wet)
        if condition.lamps > 0 and len(mesh.solid):
            dark = 1.0 - min(float(np.mean(condition.ambient)), 0.9)
            add_glow(picture, ids, mesh, self._lens.K, 0.25 + 0.5 * dark)
        if condition.rain:
            add_rain(picture, condition.rain, rng)
            add_lens_drops(picture, condition.rain, drops_rng)


def _light(moment: Moment, camera: Camera) -> Light:
    around, T_world_base, T_base_camera = moment.around, moment.T_world_base, camera.T_base_camera
    eye = (T_world_base @ T_base_camera)[:3, 3]
    tunnel = around.road.tunnel
    span = (tunnel.s0, tunnel.s1) if tunnel else None
    by_day = max(around.condition.sun) > 0.4
    posts = [solid for solid in moment.solids if STREET_LAMP in solid.shape.lamp]
    if by_day:
        posts = [solid for solid in posts if span and span[0] < solid.s < span[1]]
    lamps = [_lamp_position(solid) - eye for solid in posts]
    near = np.array([lamp for lamp in lamps if np.linalg.norm(lamp) < _LAMP_RANGE], np.float32).reshape(-1, 3)
    T_base_eye = np.column_stack([T_world_base[:3, :3].T, T_base_camera[:3, 3]]).astype(np.float32)
    gain = around.condition.gain * tunnel_gain(moment.s, span)
    return Light(around.condition, around.sun_direction, near, T_base_eye, span, gain)


def _lamp_position(solid: Solid) -> Float32:
    shape = solid.shape
    first = int(np.flatnonzero(shape.lamp == STREET_LAMP)[0])
    middle = shape.points[shape.starts[first] : shape.starts[first + 1]].mean(axis=0)
    return np.asarray(solid.rotation @ middle + solid.position, np.float32)


def _class_table(mesh: Mesh) -> UInt8:
    """Class id of every picture id."""
    table = np.zeros(FIRST_SOLID + len(mesh.solids), np.uint8)
    table[:FIRST_SOLID] = np.arange(FIRST_SOLID)
    table[FIRST_SOLID:] = [solid.mask_class for solid in mesh.solids]
    return table
