"""What stands beside the road: houses, walls, trees, lamp posts, signs, and the tunnel."""

from __future__ import annotations

import numpy as np

from avperception.scenes.road import Road, Tunnel
from avperception.scenes.shapes import building, palette, street
from avperception.scenes.shapes.shape import STREET_LAMP, Shape
from avperception.scenes.solid import Solid

_TUNNEL_RING = 6.0  # m of tunnel built in one piece


class Background:
    """Builds the solids of one scene between two places on the road."""

    def __init__(self, road: Road, s0: float, s1: float, *, lit: bool, rng: np.random.Generator) -> None:
        self._road, self._s0, self._s1, self._lit, self._rng = road, s0, s1, lit, rng
        self._solids: list[Solid] = []

    def furniture(self) -> list[Solid]:
        """Lamp posts, signs and other things at the kerb, in the way of whoever walks there."""
        self._solids = []
        for side in (-1.0, 1.0):
            self._line_kerb(side)
        return self._solids

    def scenery(self) -> list[Solid]:
        """Everything beyond the pavement, and the tunnel."""
        self._solids = []
        for side in (-1.0, 1.0):
            if self._road.urban:
                self._line_with_houses(side)
            else:
                self._line_with_nature(side)
        if self._road.tunnel is not None:
            self._build_tunnel(self._road.tunnel)
        return self._solids

    def _place(self, shape: Shape, s: float, d: float, turn: float = 0.0) -> None:
        tunnel = self._road.tunnel
        if tunnel is not None and tunnel.s0 - 12.0 < s < tunnel.s1 + 12.0:
            return
        self._put(shape, s, d, self._road.verge_height, turn)

    def _put(self, shape: Shape, s: float, d: float, z: float, turn: float = 0.0) -> None:
        x, y, heading = self._road.line.pose(s, d)
        self._solids.append(Solid(shape, float(x), float(y), z, float(heading) + turn, s))

    def _line_kerb(self, side: float) -> None:
        rng, road = self._rng, self._road
        d = side * (road.half_road + (0.45 if road.pavement else 0.9))
        facing = 0.0 if side < 0 else np.pi
        s = self._s0 + rng.uniform(0, 10)
        while s < self._s1:
            chance = rng.random()
            if chance < 0.22:
                self._place(street.make_furniture("lamp_post", rng), s, d, facing)
            elif chance < 0.5:
                self._place(street.make_tree(rng), s, d, rng.uniform(0, 6.28))
            else:
                kind = str(rng.choice(["sign", "sign", "traffic_light", "bollard", "bin", "pillar", "box"]))
                self._place(street.make_furniture(kind, rng), s, d, facing + rng.normal(0, 0.06))
            s += rng.uniform(5.0, 14.0) if road.urban else rng.uniform(10.0, 30.0)

    def _line_with_houses(self, side: float) -> None:
        rng, road = self._rng, self._road
        s = self._s0
        while s < self._s1:
            length, depth = rng.uniform(8.0, 16.0), rng.uniform(7.0, 11.0)
            set_back = rng.choice([0.9, rng.uniform(1.5, 7.0)])
            d = side * (road.half_paved + set_back + 0.5 * depth)
            if rng.random() < 0.85:
                house = building.make_building(length, depth, rng, lit_windows=self._lit)
                self._place(house, s + 0.5 * length, d)
            else:
                self._fill_gap(side, s, length)
            if set_back > 2.5:
                self._fence(side, s, length)
            s += length + rng.uniform(0.8, 3.5)

    def _fill_gap(self, side: float, s: float, length: float) -> None:
        rng, edge = self._rng, self._road.half_paved
        for _ in range(int(rng.integers(2, 5))):
            place = s + rng.uniform(0, length)
            self._place(street.make_tree(rng), place, side * (edge + rng.uniform(3.5, 12.0)))
        kind = str(rng.choice(["container", "shelter", "box"]))
        self._place(street.make_furniture(kind, rng), s + 0.5 * length, side * (edge + 1.4))

    def _fence(self, side: float, s: float, length: float) -> None:
        rng = self._rng
        hedge = bool(rng.random() < 0.5)
        wall = building.make_wall(length, rng.uniform(0.7, 2.0), rng, hedge=hedge)
        self._place(wall, s + 0.5 * length, side * (self._road.half_paved + 0.7))

    def _line_with_nature(self, side: float) -> None:
        rng, road = self._rng, self._road
        edge = road.half_road
        rail = rng.random() < 0.4
        for s in np.arange(self._s0, self._s1, 4.0).tolist():
            if rail:
                self._place(street.make_guard_rail(4.0), s, side * (edge + 3.2))
            if rng.random() < 0.45:
                self._place(
                    street.make_tree(rng), s + rng.uniform(0, 4), side * (edge + rng.uniform(4.5, 24.0))
                )
            if rng.random() < 0.35:
                self._place(
                    street.make_bush(rng), s + rng.uniform(0, 4), side * (edge + rng.uniform(3.6, 10.0))
                )
            if rng.random() < 0.07:
                wall = building.make_wall(3.9, rng.uniform(0.9, 1.8), rng, hedge=True)
                self._place(wall, s, side * (edge + rng.uniform(4.0, 8.0)))
        for s in np.arange(self._s0, self._s1, 45.0).tolist():
            if rng.random() < 0.5:
                house = building.make_building(rng.uniform(9, 14), 9.0, rng, lit_windows=self._lit)
                self._place(house, s + rng.uniform(0, 30), side * (edge + rng.uniform(26.0, 36.0)))

    def _build_tunnel(self, tunnel: Tunnel) -> None:
        rng = self._rng
        brick, grey = int(rng.integers(48)), palette.masonry(rng)
        half, height, length = tunnel.half_width, tunnel.height, _TUNNEL_RING
        wall = building.make_slab((length * 1.01, 0.5, height), grey, picture=brick)
        dark = building.make_slab((length, 2 * half + 1.0, 0.5), (95, 98, 100))
        lit = building.make_slab((length, 2 * half + 1.0, 0.5), (95, 98, 100), lamp=STREET_LAMP)
        for number, s in enumerate(np.arange(tunnel.s0 + 0.5 * length, tunnel.s1, length).tolist()):
            for side in (-1.0, 1.0):
                self._put(wall, s, side * (half + 0.25), 0.0)
            self._put(lit if number % 2 == 0 else dark, s, 0.0, height)
        wing = building.make_slab((0.6, 16.0, height + 3.0), grey, picture=brick)
        lintel = building.make_slab((0.6, 2 * half, 3.0), grey, picture=brick)
        for s in (tunnel.s0 - 0.3, tunnel.s1 + 0.3):
            for side in (-1.0, 1.0):
                self._put(wing, s, side * (half + 8.0), 0.0)
            self._put(lintel, s, 0.0, height)
