"""Images through a lens, rectified: against the lens formulas written out in `lenses`."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lenses import LENSES, SIZE, K, distorted, fold_radius, pixels_of
from numpy.typing import NDArray
from pixels import COLOUR, GREY, encoded

from avperception.ops import cpu
from avperception.ops.placement import Placement, letterbox, stretch
from avperception.types import UNLABELLED, CameraModel, Image

BENT = [name for name in LENSES if not name.startswith("pinhole")]
NETWORK = (320, 192)
PAD = 114.0
Float64 = NDArray[np.float64]


def camera(lens: str) -> CameraModel:
    model, D = LENSES[lens]
    return CameraModel(*SIZE, K, np.array(D, float), model, "camera")


def rays_of(pixels: Float64, lens: str) -> Float64:
    """The rays x/z, y/z that the lens brings to pixels (N, 2), by Newton's method; NaN where none is."""
    model, D = LENSES[lens]
    wanted = (pixels - K[:2, 2]) / K[[0, 1], [0, 1]]
    radius = np.linspace(0, 0.999 * min(fold_radius(model, D), 20.0), 4000)
    reached = distorted(np.stack([radius, np.zeros_like(radius)], axis=1), model, D)[:, 0]
    length = np.hypot(*wanted.T)
    rays = wanted * (np.interp(length, reached, radius) / np.maximum(length, 1e-9))[:, None]
    for _ in range(4):
        miss = distorted(rays, model, D) - wanted
        steps = [(distorted(rays + 1e-6 * axis, model, D) - wanted - miss) / 1e-6 for axis in np.eye(2)]
        jacobian = np.stack(steps, axis=-1)
        rays = rays - np.linalg.solve(jacobian, miss[..., None])[..., 0]
    rays[np.abs(pixels_of(rays, model, D) - pixels).max(axis=1) > 1e-3] = np.nan
    rays[np.hypot(*rays.T) > 0.97 * fold_radius(model, D)] = np.nan
    return rays


def grid(width: int, height: int) -> Float64:
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(float)


def rays_of_window(placement: Placement, K_pinhole: Float64) -> Float64:
    """The pinhole's rays (height, width, 2) of a network's window."""
    pixels = (grid(placement.width, placement.height) + 0.5) / [placement.scale_x, placement.scale_y] - 0.5
    return (pixels - K_pinhole[:2, 2]) / K_pinhole[[0, 1], [0, 1]]


def bars(rays: Float64) -> Float64:
    """Grey values of a world of straight slanted bars, seen along rays (..., 2)."""
    return 127 + 100 * np.sin(14 * rays[..., 0] + 9 * rays[..., 1])


@cache
def seen_through(lens: str) -> Image:
    """The picture of the bars that the lens gives, black where it gives none."""
    values = bars(rays_of(grid(*SIZE).reshape(-1, 2), lens))
    grey = np.rint(np.nan_to_num(values)).astype(np.uint8).reshape(SIZE[1], SIZE[0])
    return Image(grey, "mono8", *SIZE, 1, "camera")


def tensor_of(
    image: Image, placement: Placement, sampling: cpu.SamplingMap | None = None
) -> NDArray[np.float32]:
    tensor = np.full((1, 3, NETWORK[1], NETWORK[0]), 7, np.float32)
    one, nothing = np.ones(3, np.float32), np.zeros(3, np.float32)
    how = {"colour": "rgb", "gain": one, "offset": nothing, "pad_value": PAD}
    cpu.preprocess(image, tensor, placement, **how, sampling=sampling)
    return tensor


@pytest.mark.parametrize("lens", BENT)
def test_what_is_straight_in_the_world_is_straight_in_the_tensor(lens: str) -> None:
    image, placement = seen_through(lens), stretch(SIZE, NETWORK)
    rectification = cpu.Rectification(camera(lens))
    sampling = rectification.sampling_map(placement)
    rays = rays_of_window(placement, rectification.K)
    expected = bars(rays)

    bent, straight = tensor_of(image, placement)[0, 0], tensor_of(image, placement, sampling)[0, 0]

    model, D = LENSES[lens]
    pixels = pixels_of(rays.reshape(-1, 2), model, D).reshape(rays.shape)
    sure = ((pixels > 1) & (pixels < np.array(SIZE) - 2)).all(axis=-1)
    sure &= np.hypot(*np.moveaxis(rays, -1, 0)) < 0.9 * fold_radius(model, D)
    assert sure.mean() > 0.7
    assert np.abs(straight - expected)[sure].max() < 3
    assert np.abs(bent - expected)[sure].max() > 60


@pytest.mark.parametrize("lens", BENT)
def test_what_the_lens_does_not_show_is_padding(lens: str) -> None:
    placement = letterbox(SIZE, NETWORK, centred=True)
    image = Image(np.full((SIZE[1], SIZE[0]), 255, np.uint8), "mono8", *SIZE, 1, "camera")
    rectification = cpu.Rectification(camera(lens))
    rays = rays_of_window(placement, rectification.K)
    model, D = LENSES[lens]
    pixels = pixels_of(rays.reshape(-1, 2), model, D).reshape(rays.shape)
    in_image = ((pixels >= -0.5) & (pixels < np.array(SIZE) - 0.5)).all(axis=-1)
    expected = in_image & (np.hypot(*np.moveaxis(rays, -1, 0)) < fold_radius(model, D))

    tensor = tensor_of(image, placement, rectification.sampling_map(placement))

    window = np.full((NETWORK[1], NETWORK[0]), False)
    rows, columns = slice(placement.top, placement.top + placement.height), slice(placement.left, None)
    window[rows, columns][:, : placement.width] = expected
    assert (tensor == np.where(window, 255, PAD)).mean() > 0.999  # the rim of the lens within a thousandth
    assert set(np.unique(tensor)) <= {PAD, 255.0}
    if lens == "pincushion":
        assert not expected.all()


def test_sampling_is_bilinear_in_whole_numbers() -> None:
    """By OpenCV's documentation of fixed-point maps; written out for kernels that must give the same bits."""
    image = Image(
        np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0]), np.uint8), "mono8", *SIZE, 1, ""
    )
    placement = stretch(SIZE, NETWORK)
    sampling = cpu.Rectification(camera("pincushion")).sampling_map(placement)

    tensor = tensor_of(image, placement, sampling)[0, 0]

    x, y = np.moveaxis(sampling.corners.astype(int), -1, 0)
    down, right = np.divmod(sampling.fractions.astype(int), 32)
    pixels = np.pad(image.data.astype(int), ((0, 1), (0, 1)), mode="edge")
    upper = pixels[y, x] * (32 - right) + pixels[y, x + 1] * right
    lower = pixels[y + 1, x] * (32 - right) + pixels[y + 1, x + 1] * right
    expected = (upper * (32 - down) + lower * down + 512) >> 10
    assert (sampling.is_outside == (x < 0)).all() and 0 < sampling.is_outside.sum() < 0.5 * x.size
    np.testing.assert_array_equal(tensor, np.where(x < 0, PAD, expected))


@pytest.mark.parametrize("encoding", COLOUR + GREY)
def test_every_encoding_is_rectified_as_its_colours_are(encoding: str) -> None:
    bgr = np.random.default_rng(1).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    image, placement = encoded(bgr, encoding, with_padding=True), letterbox(SIZE, NETWORK, centred=True)
    sampling = cpu.Rectification(camera("kitti barrel")).sampling_map(placement)

    tensor = tensor_of(image, placement, sampling)

    expected = tensor_of(encoded(cpu.to_bgr(image), "bgr8"), placement, sampling)
    np.testing.assert_array_equal(tensor, expected)


@pytest.mark.parametrize("lens", BENT)
@given(x=st.integers(0, SIZE[0] - 1), y=st.integers(0, SIZE[1] - 1), centred=st.booleans())
@settings(max_examples=60, deadline=None)
def test_each_pixel_takes_the_label_of_its_ray(lens: str, x: int, y: int, centred: bool) -> None:
    placement = letterbox(SIZE, NETWORK, centred=centred)
    cell = rectification_of(lens).label_map(placement).cells[y, x].astype(int)
    K_pinhole = rectification_of(lens).K

    ray = rays_of(np.array([[x, y]], float), lens)[0]

    model, D = LENSES[lens]
    rim = np.hypot(*ray) / fold_radius(model, D)
    if np.isnan(ray).any() or rim > 0.9:
        return  # at the rim of the lens a pixel is many of the pinhole's
    wanted = (ray * K_pinhole[[0, 1], [0, 1]] + K_pinhole[:2, 2] + 0.5) * [
        placement.scale_x,
        placement.scale_y,
    ]
    extent = np.array([placement.width, placement.height])
    if (cell < 0).any():
        assert (wanted < 0.15).any() or (wanted > extent - 0.15).any()
    else:
        middle = cell - [placement.left, placement.top] + 0.5
        # Over all pixels it is 0.53 at most, and 0.94 near the rim: rays between nodes are interpolated.
        assert np.abs(middle - wanted).max() <= (0.55 if rim < 0.75 else 1.0)


@cache
def rectification_of(lens: str) -> cpu.Rectification:
    """Made once for all examples, and its maps with it."""
    return cpu.Rectification(camera(lens))


@pytest.mark.parametrize("lens", BENT)
def test_a_mask_of_the_tensor_comes_back_to_where_the_image_had_it(lens: str) -> None:
    """Bright and dark bars in the image, told apart in the tensor, brought back over the image."""
    image, placement = seen_through(lens), letterbox(SIZE, NETWORK, centred=True)
    rectification = cpu.Rectification(camera(lens))
    tensor = tensor_of(image, placement, rectification.sampling_map(placement))
    labels = np.where(tensor[0, 0] > 127, 3, 5).astype(np.uint8)

    mask = cpu.distort_labels(labels, rectification.label_map(placement))

    assert mask.shape == (SIZE[1], SIZE[0]) and mask.dtype == np.uint8
    shown = mask != UNLABELLED
    clear = shown & (np.abs(image.data.astype(float) - 127) > 25)
    assert shown.mean() > 0.5 and clear.sum() > 0.6 * shown.sum()
    # At the rim of the image a pixel's label may be that of a network pixel whose centre is padding.
    assert (mask[clear] == np.where(image.data[clear] > 127, 3, 5)).mean() > 0.998


@pytest.mark.parametrize("lens", BENT)
@given(
    centre=st.tuples(st.floats(250, 1030), st.floats(150, 570)),
    size=st.tuples(st.floats(4, 300), st.floats(4, 250)),
)
@settings(max_examples=60, deadline=None)
def test_a_box_goes_round_all_that_the_lens_makes_of_it(
    lens: str, centre: tuple[float, float], size: tuple[float, float]
) -> None:
    half, K_pinhole = np.array(size) / 2, rectification_of(lens).K
    box = np.concatenate([centre - half, centre + half])

    (found,) = rectification_of(lens).boxes_to_original(box[None].astype(np.float32))

    model, D = LENSES[lens]
    points = np.linspace(0, 1, 200)
    within = np.stack(np.meshgrid(points, points), axis=-1).reshape(-1, 2)
    rays = (box[:2] + within * (box[2:] - box[:2]) - 0.5 - K_pinhole[:2, 2]) / K_pinhole[[0, 1], [0, 1]]
    if np.hypot(*rays.T).max() > 0.98 * fold_radius(model, D):
        return
    bent = pixels_of(rays, model, D) + 0.5
    expected = np.clip([*bent.min(axis=0), *bent.max(axis=0)], 0, [*SIZE, *SIZE])
    np.testing.assert_allclose(found, expected, atol=0.6)


@pytest.mark.parametrize("lens", BENT)
def test_boxes_of_any_kind_stay_in_the_image(lens: str) -> None:
    rectification = cpu.Rectification(camera(lens))
    axis = rectification.K[:2, 2] + 0.5
    boxes = np.array([[0, 0, *SIZE], [0, 0, 1, 1], [1279, 719, 1280, 720], [*axis, *axis]], np.float32)

    found = rectification.boxes_to_original(boxes)

    assert found.dtype == np.float32 and found.shape == (4, 4) and np.isfinite(found).all()
    assert (found >= 0).all() and (found <= [*SIZE, *SIZE]).all()
    assert (found[:, 2:] >= found[:, :2]).all()
    np.testing.assert_allclose(found[3], np.tile(K[:2, 2] + 0.5, 2), atol=1e-3)
    assert rectification.boxes_to_original(boxes[:0]).shape == (0, 4)


@pytest.mark.parametrize("lens", BENT)
def test_the_pinhole_sees_the_original_from_edge_to_edge(lens: str) -> None:
    """With the lens's own K it would lose what a wide lens is there for; of a fisheye it loses some."""
    rectification = cpu.Rectification(camera(lens))
    (cx, cy), (width, height) = K[:2, 2], SIZE
    edges = np.array([(0.5, cy), (width - 1.5, cy), (cx, 0.5), (cx, height - 1.5)])
    rays = rays_of(edges, lens)

    seen = rays * rectification.K[[0, 1], [0, 1]] + rectification.K[:2, 2]

    zoom = rectification.K[[0, 1], [0, 1]] / K[[0, 1], [0, 1]]
    assert (zoom > 0.69).all()
    for axis, rows in ((0, (0, 1)), (1, (2, 3))):
        along = seen[rows, axis]
        if np.isfinite(along).all() and zoom[axis] > 0.71:
            np.testing.assert_allclose(along, [0, SIZE[axis] - 1], atol=2)
        elif np.isfinite(along).all():
            assert along[0] < 0 and along[1] > SIZE[axis] - 1 and lens.endswith("fisheye")
    cells = rectification.label_map(stretch(SIZE, NETWORK)).cells
    middle = cells[2:-2, round(cx)]
    assert (middle >= 0).all() and middle[0, 1] <= 1 and middle[-1, 1] >= NETWORK[1] - 2


def test_a_principal_point_outside_of_the_image_is_no_error() -> None:
    middle = np.array([[600.0, 0, -40.0], [0, 590.0, 359.5], [0, 0, 1]])
    own = replace(camera("four coefficients"), K=middle)

    rectification = cpu.Rectification(own)

    np.testing.assert_allclose(rectification.K, middle, rtol=0.3, atol=60)
    assert (rectification.label_map(stretch(SIZE, NETWORK)).cells >= 0).mean() > 0.5


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("model", ["plumb_bob", "equidistant", "rational_polynomial"])
@pytest.mark.parametrize("value", [-1e300, -1e9, -30.0, 30.0, 1e9, 1e300])
def test_coefficients_that_no_lens_has_show_little_and_break_nothing(model: str, value: float) -> None:
    count = {"plumb_bob": 5, "equidistant": 4, "rational_polynomial": 8}[model]
    rectification = cpu.Rectification(
        replace(camera("fisheye"), D=np.full(count, value), distortion_model=model)
    )
    placement = stretch(SIZE, NETWORK)
    boxes = np.array([[0, 0, *SIZE], [600, 300, 700, 400]], np.float32)

    corners = rectification.sampling_map(placement).corners
    cells = rectification.label_map(placement).cells
    found = rectification.boxes_to_original(boxes)

    assert np.isfinite(rectification.K).all() and np.isfinite(found).all()
    assert corners.min() >= -1 and (corners.reshape(-1, 2).max(axis=0) < SIZE).all()
    assert cells.min() >= -1 and (cells.reshape(-1, 2).max(axis=0) < NETWORK).all()


def test_a_rectification_is_known_again_by_the_values_of_its_camera() -> None:
    own = camera("fisheye")
    rectification = cpu.Rectification(own)
    placement = stretch(SIZE, NETWORK)

    assert rectification.is_of(replace(own, K=own.K.copy(), D=own.D.copy(), frame_id="other"))
    for change in ({"K": 1.01 * own.K}, {"D": own.D + 0.01}, {"width": 1281}, {"D": own.D[:2]}):
        assert not rectification.is_of(replace(own, **change))
    assert not rectification.is_of(replace(own, distortion_model="plumb_bob"))
    assert rectification.sampling_map(placement) is rectification.sampling_map(stretch(SIZE, NETWORK))
    assert rectification.label_map(placement) is rectification.label_map(stretch(SIZE, NETWORK))


@pytest.mark.parametrize("size", [(1, 1), (2, 700), (700, 2), (33, 17)])
def test_images_of_strange_sizes_are_no_error(size: tuple[int, int]) -> None:
    middle = np.array([[50.0, 0, (size[0] - 1) / 2], [0, 50.0, (size[1] - 1) / 2], [0, 0, 1]])
    own = CameraModel(*size, middle, np.array([-0.2, 0.03, 0.0, 0.0, 0.0]), "plumb_bob", "camera")
    rectification, placement = cpu.Rectification(own), stretch(size, NETWORK)
    image = Image(np.full((size[1], size[0]), 80, np.uint8), "mono8", *size, 1, "camera")

    tensor = tensor_of(image, placement, rectification.sampling_map(placement))
    mask = cpu.distort_labels(np.full(NETWORK[::-1], 4, np.uint8), rectification.label_map(placement))

    assert set(np.unique(tensor)) <= {80.0, PAD} and (tensor == 80).any()
    assert mask.shape == size[::-1] and set(np.unique(mask)) <= {4, UNLABELLED} and (mask == 4).any()
