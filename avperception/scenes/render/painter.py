"""Paints a mesh back to front: colours and textures into the picture, the solids' numbers into the ids."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.scenes.conditions import Condition
from avperception.scenes.render.mesh import Mesh
from avperception.scenes.render.outlines import SUBPIXEL_BITS, Outline, clip_near, project, to_subpixels
from avperception.scenes.shapes.shape import Indices, Texture
from avperception.scenes.textures import MEAN_GREY, grain_patch
from avperception.types import Float32, Float64, UInt8

Ids = NDArray[np.uint16]

FIRST_SOLID = 8
"""Id of the first solid of a mesh; lower ids are classes of the ground."""

_GRAIN_SCALE = 90.0  # texture pixels per metre of an object's surface
_GRAIN_MINIMUM = 22  # pixels of height below which grain cannot be seen
_LARGE_TEXTURE = 6000  # pixels from which half the resolution will do
_SPECK = 1.2  # pixels: smaller polygons are left out
_TEXTURE_MINIMUM = 18  # pixels a side below which a plain colour will do


@dataclass(frozen=True)
class Silhouette:
    """An actor's outline as if nothing hid it: its convex `hull` (N, 2) in pixels, on the picture or not, the
    `window` x0 y0 x1 y1 of the picture that holds it, and how many pixels of the view it covers.
    """

    hull: Float32
    window: tuple[int, int, int, int]
    area: int


class MeshPainter:
    """Paints one mesh; `colours` (P, 3) are the polygons' in the light of the moment.

    `in_view` (height, width) says which pixels count, None for all. After painting, `silhouettes` has
    those of the actors by their places in the mesh.
    """

    def __init__(
        self, mesh: Mesh, colours: Float32, K: Float64, size: tuple[int, int], condition: Condition,
        in_view: UInt8 | None = None,
    ) -> None:  # fmt: skip
        self.silhouettes: dict[int, Silhouette] = {}
        self._in_view = in_view
        self._mesh, self._K, self._condition = mesh, K, condition
        self._width, self._height = size
        self._light = colours
        self._pixels = np.zeros((len(mesh.points_camera), 2), np.float32)
        ahead = mesh.points_camera[:, 2] > 1e-3
        self._pixels[ahead] = project(mesh.points_camera[ahead], K)
        self._fixed = to_subpixels(self._pixels)
        self._shown = np.flatnonzero(mesh.visible & self._on_picture())
        shown = map(tuple, colours[self._shown].tolist())
        self._colours = dict(zip(self._shown.tolist(), shown, strict=True))

    def _on_picture(self) -> NDArray[np.bool_]:
        starts = self._mesh.starts[:-1]
        if not len(starts):
            return np.zeros(0, bool)
        x, y = np.ascontiguousarray(self._pixels.T)
        left, right = np.minimum.reduceat(x, starts), np.maximum.reduceat(x, starts)
        top, bottom = np.minimum.reduceat(y, starts), np.maximum.reduceat(y, starts)
        shown = (right > -1) & (left < self._width) & (bottom > -1) & (top < self._height)
        shown &= (right - left > _SPECK) | (bottom - top > _SPECK)
        return np.asarray(shown | self._mesh.clipped)

    def paint(self, picture: UInt8, ids: Ids) -> None:
        """Paint everything, the farthest solid first."""
        shown = self._shown
        solids = self._mesh.solid[shown]
        first = np.flatnonzero(np.diff(solids, prepend=-1))
        for begin, end in pairwise([*first.tolist(), len(shown)]):
            self._paint_solid(picture, ids, int(solids[begin]), shown[begin:end])

    def _paint_solid(self, picture: UInt8, ids: Ids, number: int, polygons: Indices) -> None:
        mesh = self._mesh
        label = FIRST_SOLID + number
        for i in polygons.tolist():
            outline = self._outline(i)
            if outline is None:
                continue
            cv2.fillConvexPoly(picture, outline, self._colours[i], cv2.LINE_AA, SUBPIXEL_BITS)
            if mesh.is_face[i]:
                cv2.fillConvexPoly(ids, outline, label, cv2.LINE_8, SUBPIXEL_BITS)
            if i in mesh.textures:
                self._paint_texture(picture, i, outline, mesh.textures[i])
        if mesh.solids[number].track_id:
            self._note_silhouette(ids, number)
        if mesh.solids[number].shape.grain > 0:
            self._add_grain(picture, ids, number, polygons)

    def _note_silhouette(self, ids: Ids, number: int) -> None:
        """Measure an actor just painted, before anything nearer is painted over it."""
        mesh, first = self._mesh, slice(*np.searchsorted(self._mesh.solid, (number, number + 1)))
        if mesh.clipped[first].any():
            shown = np.arange(first.start, first.stop)[mesh.visible[first]].tolist()
            outlines = [outline for outline in map(self._outline, shown) if outline is not None]
            points = np.concatenate(outlines)
        else:
            points = self._fixed[mesh.starts[first.start] : mesh.starts[first.stop]]
        hull = cv2.convexHull(points)[:, 0].astype(np.float32) / (1 << SUBPIXEL_BITS)
        x0, y0, x1, y1 = window = self._window(hull)
        if x1 > x0 and y1 > y0:
            own = cv2.inRange(ids[y0:y1, x0:x1], FIRST_SOLID + number, FIRST_SOLID + number)
            area = cv2.countNonZero(own if self._in_view is None else own & self._in_view[y0:y1, x0:x1])
            self.silhouettes[number] = Silhouette(hull, window, area)

    def _outline(self, i: int) -> Outline | None:
        mesh = self._mesh
        first, end = mesh.starts[i], mesh.starts[i + 1]
        if not mesh.clipped[i]:
            return self._fixed[first:end]
        outline = clip_near(mesh.points_camera[first:end])
        return to_subpixels(project(outline, self._K)) if len(outline) > 2 else None

    def _paint_texture(self, picture: UInt8, i: int, outline: NDArray[np.int32], texture: Texture) -> None:
        x0, y0, x1, y1 = self._window(outline / (1 << SUBPIXEL_BITS))
        if x1 - x0 < _TEXTURE_MINIMUM or y1 - y0 < _TEXTURE_MINIMUM:
            return
        quad = self._mesh.points_camera[self._mesh.starts[i] :][:4].astype(np.float64)
        area = cv2.contourArea(outline.astype(np.float32)) / (1 << 2 * SUBPIXEL_BITS)
        shrink = np.sqrt(texture.levels[0].shape[0] * texture.levels[0].shape[1] / max(area, 1.0))
        level = int(np.clip(np.log2(max(shrink, 1.0)) + 0.3, 0, len(texture.levels) - 1))
        tile = texture.levels[level]
        height, width = tile.shape[:2]
        right, down = (quad[1] - quad[0]) / width, (quad[0] - quad[3]) / height
        onto = self._K @ np.stack([right, down, quad[3]], axis=1)
        onto = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1.0]]) @ onto
        patch = _warped(tile, onto, (x1 - x0, y1 - y0), coarse=shrink < 1 or area > _LARGE_TEXTURE)
        patch = cv2.transform(patch, self._lighting(i))
        mask = np.zeros(patch.shape[:2], np.uint8)
        shift = np.array([x0, y0]) << SUBPIXEL_BITS
        cv2.fillConvexPoly(mask, (outline - shift).astype(np.int32), 255, cv2.LINE_8, SUBPIXEL_BITS)
        cv2.copyTo(patch, mask, picture[y0:y1, x0:x1])

    def _lighting(self, i: int) -> Float32:
        """(3, 4): factors that light a texture as the polygon's own colour is lit, and its haze."""
        fog = np.asarray(self._condition.fog, np.float32)
        distance = np.linalg.norm(self._mesh.centres[i])
        haze = 1 - np.float32(np.exp(-self._condition.fog_density * distance))
        factor = (self._light[i] - haze * fog) / np.maximum(self._mesh.albedo[i], 1.0)
        return np.column_stack([np.diag(factor), haze * fog]).astype(np.float32)

    def _add_grain(self, picture: UInt8, ids: Ids, number: int, polygons: Indices) -> None:
        starts = self._mesh.starts
        points = np.concatenate(
            [
                self._pixels[starts[i] : starts[i + 1]]
                for i in (polygons if len(polygons) < 12 else polygons[::3])
            ]
        )
        x0, y0, x1, y1 = self._window(points, margin=2)
        if y1 - y0 < _GRAIN_MINIMUM or x1 - x0 < 4 or self._mesh.clipped[polygons].any():
            return
        solid = self._mesh.solids[number]
        depth = float(np.linalg.norm(self._mesh.centres[polygons[0]]))
        scale = self._K[0, 0] / max(depth, 0.5) / _GRAIN_SCALE
        anchor = points.min(axis=0)
        onto = np.array([[scale, 0, anchor[0] - x0], [0, scale, anchor[1] - y0]])
        steps = round(20 * solid.shape.grain * float(np.exp(-self._condition.fog_density * depth)))
        if steps == 0:
            return
        tile = grain_patch((solid.track_id + int(abs(solid.x))) % 6, steps / 20)
        patch = cv2.warpAffine(
            tile, onto, (x1 - x0, y1 - y0), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_WRAP
        )
        window = picture[y0:y1, x0:x1]
        textured = cv2.multiply(window, patch, scale=1 / MEAN_GREY)
        own = cv2.inRange(ids[y0:y1, x0:x1], FIRST_SOLID + number, FIRST_SOLID + number)
        cv2.copyTo(textured, own, window)

    def _window(self, points: NDArray[np.floating[Any]], margin: int = 1) -> tuple[int, int, int, int]:
        low, high = points.min(axis=0), points.max(axis=0)
        x0, y0 = max(int(low[0]) - margin, 0), max(int(low[1]) - margin, 0)
        x1, y1 = min(int(high[0]) + margin + 1, self._width), min(int(high[1]) + margin + 1, self._height)
        return x0, y0, x1, y1


def _warped(tile: UInt8, onto: Float64, size: tuple[int, int], *, coarse: bool) -> UInt8:
    """A tile seen in perspective; `coarse`: at half the resolution, then enlarged."""
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_REPLICATE
    if not coarse:
        return np.asarray(cv2.warpPerspective(tile, onto, size, flags=flags, borderMode=border), np.uint8)
    half = (size[0] + 1) // 2, (size[1] + 1) // 2
    smaller = np.array([[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1.0]]) @ onto
    picture = cv2.warpPerspective(tile, smaller, half, flags=flags, borderMode=border)
    picture = cv2.resize(picture, (2 * half[0], 2 * half[1]), interpolation=flags)
    return np.asarray(picture[: size[1], : size[0]], np.uint8)
