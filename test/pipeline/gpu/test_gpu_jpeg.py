"""JPEG images on the GPU: nvImageCodec against OpenCV, and what becomes of damaged and changing ones.

The work of these frames copies the image, without a resize, into a tensor; it needs no network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from avperception.errors import EngineError, MessageError
from avperception.ops.jpeg import JpegImage, read_header
from avperception.ops.placement import stretch
from avperception.pipeline.device import CpuDevice, Device, Frame, FrameRunner
from avperception.pipeline.device import cuda as cuda_device
from avperception.pipeline.device.cuda_errors import import_cupy
from avperception.pipeline.device.cuda_graph import HEADER_BYTES
from avperception.pipeline.device.cuda_jpeg import NvImageCodec, probe
from avperception.types import Image

UInt8 = NDArray[np.uint8]

MEAN_ERROR, LARGEST_ERROR = 0.7, 6
"""Grey values by which two sound decoders may differ.

An inverse DCT may be off by 1 in each of Y, Cb and Cr (ITU-T T.83), interpolated chroma by another 1 from
rounding; blue is Y + 1.772 (Cb - 128): 1 + 1.772 * 2 + 0.5 from the last rounding, 6 at most.
"""

SIZES = ((375, 1242), (240, 321), (17, 9))
SUBSAMPLINGS = {
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
}


@pytest.fixture(scope="module")
def cupy() -> Any:
    try:
        return import_cupy()
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def codec(cupy: Any) -> NvImageCodec:
    """NvImageCodec, if it is there."""
    found = probe()
    if isinstance(found, str):
        pytest.skip(f"nvImageCodec: {found}")
    return found


@pytest.fixture
def device(cupy: Any) -> Any:
    return cuda_device.CudaDevice()


@pytest.fixture(scope="module")
def any_runner(codec: NvImageCodec) -> FrameRunner:
    """One for images of any size: to make its decoder takes longer than to capture."""
    return copier(cuda_device.CudaDevice())


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> UInt8:
    """A picture with edges, texture and smooth parts, as cameras give them."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.integers(20, 236, (6, 8, channels), np.uint8), (width, height))
    pixels = smooth.reshape(height, width, channels).astype(np.float32)
    pixels[height // 3 : height // 2] *= 0.4
    pixels += rng.normal(0.0, 6.0, (height, width, 1))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def jpeg(pixels: UInt8, *parameters: int, stamp_ns: int = 1) -> JpegImage:
    return image_of(cv2.imencode(".jpg", pixels, list(parameters))[1], stamp_ns)


def image_of(file: UInt8, stamp_ns: int = 1) -> JpegImage:
    header = read_header(file)
    assert header is not None
    return JpegImage(file, header, stamp_ns, "front_camera_optical")


def copier(device: Device) -> FrameRunner:
    """A runner whose only result, `pixels`, is the image as float32 (1, 3, height, width), red first."""
    tensors: dict[tuple[int, int], Any] = {}

    def work(frame: Frame) -> None:
        height, width = size = frame.image.height, frame.image.width
        if size not in tensors:
            tensors.clear()
            plane = device.full((1, 3, height, width), 0)
            tensors[size] = plane.astype(np.float32)
        frame.reads(None)
        frame.ops.preprocess(
            frame.image,
            tensors[size],
            stretch((width, height), (width, height)),
            colour="rgb",
            gain=np.ones(3, np.float32),
            offset=np.zeros(3, np.float32),
            pad_value=0.0,
        )
        frame.give("pixels", tensors[size])

    return device.make_runner(work)


def run(runner: FrameRunner, image: Image) -> tuple[UInt8, dict[str, float]]:
    """Run one frame; gives its pixels (height, width, 3), red first, and the time of its stages."""
    found: dict[str, NDArray[Any]] = {}
    runner.launch(image, (image.encoding, image.width, image.height), found.__setitem__)
    stage_ms = dict(runner.wait())
    return np.rint(found["pixels"][0]).astype(np.uint8).transpose(1, 2, 0).copy(), stage_ms


def reference(image: JpegImage) -> UInt8:
    return run(copier(CpuDevice()), image_of(image.file))[0]


def assert_alike(found: UInt8, expected: UInt8) -> None:
    error = np.abs(found.astype(int) - expected)
    assert error.mean() <= MEAN_ERROR
    assert error.max() <= LARGEST_ERROR


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [40, 95])
def test_pixels_are_those_of_opencv(
    any_runner: FrameRunner, size: tuple[int, int], subsampling: str, quality: int
) -> None:
    factor = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SUBSAMPLINGS[subsampling])
    image = jpeg(picture(*size), *factor, cv2.IMWRITE_JPEG_QUALITY, quality)
    pixels, stage_ms = run(any_runner, image)
    assert "decode" in stage_ms
    assert_alike(pixels, reference(image))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[1]}x{size[0]}")
def test_a_grey_image(any_runner: FrameRunner, size: tuple[int, int]) -> None:
    image = jpeg(picture(*size, channels=1))
    pixels, stage_ms = run(any_runner, image)
    assert "decode" in stage_ms
    assert_alike(pixels, reference(image))


def test_an_image_of_full_hd(any_runner: FrameRunner) -> None:
    image = jpeg(picture(1080, 1920))
    pixels, stage_ms = run(any_runner, image)
    assert "decode" in stage_ms
    assert_alike(pixels, reference(image))


def test_a_progressive_image(any_runner: FrameRunner) -> None:
    image = jpeg(picture(480, 640), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    pixels, stage_ms = run(any_runner, image)
    assert "decode" in stage_ms
    assert_alike(pixels, reference(image))


def test_frame_after_frame_shows_its_own_image(codec: NvImageCodec, device: Any) -> None:
    runner = copier(device)
    images = [jpeg(picture(240, 320, seed=seed), stamp_ns=seed) for seed in range(6)]
    expected = [reference(image) for image in images]
    for turn in (0, 3, 1, 5, 5, 2, 4, 0):
        assert_alike(run(runner, images[turn])[0], expected[turn])
    assert runner.captures == 1


@pytest.mark.parametrize("mapped", [False, True])
def test_of_the_host_only_the_header_is_read(codec: NvImageCodec, mapped: bool) -> None:
    runner: Any = copier(cuda_device.CudaDevice(mapped=mapped))
    image = jpeg(picture(480, 640))
    pixels, _ = run(runner, image)
    assert runner.graph.upload_bytes == HEADER_BYTES
    assert_alike(pixels, reference(image))


def test_without_graphs_it_is_the_same(codec: NvImageCodec) -> None:
    image = jpeg(picture(480, 640))
    pixels, stage_ms = run(copier(cuda_device.CudaDevice(graphs=False)), image)
    assert {"decode", "upload"} <= set(stage_ms)
    assert_alike(pixels, reference(image))


def test_another_size_is_captured_once(codec: NvImageCodec, device: Any) -> None:
    runner = copier(device)
    small, large = jpeg(picture(120, 160)), jpeg(picture(240, 320))
    for image, captures in [(small, 1), (small, 1), (large, 2), (large, 2), (small, 3)]:
        assert_alike(run(runner, image)[0], reference(image))
        assert runner.captures == captures


def test_raw_and_jpeg_images_of_one_size_are_told_apart(codec: NvImageCodec, device: Any) -> None:
    runner = copier(device)
    image = jpeg(picture(120, 160))
    raw = Image(image.data, "bgr8", 160, 120, 1, "")
    assert_alike(run(runner, image)[0], reference(image))
    np.testing.assert_array_equal(run(runner, raw)[0], reference(image))
    assert_alike(run(runner, image)[0], reference(image))
    assert runner.captures == 3


def without_tables(file: UInt8) -> UInt8:
    """The file without its Huffman tables, as some cameras send it: the standard's own are meant."""
    content = file.tobytes()
    while (place := content.find(b"\xff\xc4")) >= 0:
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        content = content[:place] + content[place + 2 + length :]
    return np.frombuffer(content, np.uint8)


def test_what_nvimagecodec_cannot_decode_opencv_does(codec: NvImageCodec, device: Any) -> None:
    runner = copier(device)
    sound = jpeg(picture(240, 320))
    bare = image_of(without_tables(sound.file))
    run(runner, sound)
    pixels, stage_ms = run(runner, bare)
    assert_alike(pixels, reference(sound))
    assert "decode_on_host" in stage_ms and "decode" not in stage_ms
    assert_alike(run(runner, sound)[0], reference(sound))


def damaged(file: UInt8, seed: int) -> UInt8:
    """The file with a few bytes of its scan changed."""
    rng = np.random.default_rng(seed)
    changed = file.copy()
    scan = file.tobytes().index(b"\xff\xda") + 14
    places = rng.integers(scan, file.size - 2, rng.integers(1, 30))
    changed[places] = rng.integers(0, 256, places.size)
    return changed


@pytest.mark.parametrize("progressive", [0, 1])
def test_damaged_images_are_decoded_or_refused_and_the_next_is_sound(
    codec: NvImageCodec, device: Any, progressive: int
) -> None:
    runner = copier(device)
    sound = jpeg(picture(480, 640), cv2.IMWRITE_JPEG_PROGRESSIVE, progressive)
    expected = reference(sound)
    for seed in range(40):
        image = image_of(damaged(sound.file, seed))
        try:
            assert run(runner, image)[0].shape == expected.shape
        except MessageError as error:
            assert error.reason == "undecodable", error  # noqa: PT017
    assert_alike(run(runner, sound)[0], expected)
    assert runner.captures == 1


def test_an_undecodable_image_of_another_size_costs_no_capture(codec: NvImageCodec, device: Any) -> None:
    runner = copier(device)
    sound = jpeg(picture(120, 160))
    run(runner, sound)
    broken = jpeg(picture(240, 320)).file.copy()
    broken[broken.tobytes().index(b"\xff\xc0") + 12] = 3  # a quantization table that is not there
    for _ in range(3):
        with pytest.raises(MessageError) as caught:
            run(runner, image_of(broken))
        assert caught.value.reason == "undecodable"
    assert_alike(run(runner, sound)[0], reference(sound))
    assert runner.captures == 1


def test_without_nvimagecodec_opencv_decodes(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_device, "probe", lambda: "not installed")
    image = jpeg(picture(120, 160))
    pixels, stage_ms = run(copier(device), image)
    np.testing.assert_array_equal(pixels, reference(image))
    assert "decode_on_host" in stage_ms
    assert device.jpeg_decoder.startswith("OpenCV (nvImageCodec is not used: not installed")


def test_the_device_says_what_decodes(codec: NvImageCodec, device: Any) -> None:
    assert device.jpeg_decoder == f"nvImageCodec {codec.version}"


def test_nothing_is_allocated_from_frame_to_frame(codec: NvImageCodec, device: Any, cupy: Any) -> None:
    runner: Any = copier(device)
    images = [jpeg(picture(480, 640, seed=seed)) for seed in range(3)]
    for image in images * 2:
        run(runner, image)
    pool, (free, _) = runner.graph.memory.device_bytes, cupy.cuda.runtime.memGetInfo()
    for image in images * 10:
        run(runner, image)
    assert runner.graph.memory.device_bytes == pool
    assert cupy.cuda.runtime.memGetInfo()[0] == free


def test_cameras_side_by_side_while_one_changes_its_size(codec: NvImageCodec, device: Any) -> None:
    steady = [jpeg(picture(240, 320, seed=seed)) for seed in range(3)]
    expected = [reference(image) for image in steady]
    sizes = [jpeg(picture(100 + 4 * i, 160)) for i in range(20)]
    failures: list[BaseException] = []

    def camera(frames: Callable[[], None]) -> threading.Thread:
        def body() -> None:
            try:
                frames()
            except BaseException as error:  # handed to the main thread
                failures.append(error)

        return threading.Thread(target=body)

    def change() -> None:
        runner = copier(device)
        for image in sizes:
            run(runner, image)

    def keep(number: int) -> Callable[[], None]:
        def frames() -> None:
            runner = copier(device)
            for _ in range(40):
                assert_alike(run(runner, steady[number])[0], expected[number])

        return frames

    threads = [camera(change), *(camera(keep(number)) for number in range(3))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
