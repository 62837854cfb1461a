import subprocess
import sys

from avperception.drawing.palette import class_bgr, class_rgb


def test_colours_are_whole_bytes_in_opencvs_order() -> None:
    for name in ("car", "person", "lane_line", "teddy bear"):
        red, green, blue = class_rgb(name)
        assert class_bgr(name) == (round(blue * 255), round(green * 255), round(red * 255))
        assert all(0 <= value <= 255 for value in class_bgr(name))


def test_road_users_can_be_told_apart() -> None:
    assert len({class_bgr(name) for name in ("car", "truck", "person", "bicycle", "motorbike")}) == 5


def test_a_class_keeps_its_colour_from_run_to_run() -> None:
    code = "from avperception.drawing.palette import class_bgr; print(class_bgr('teddy bear'))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout.strip() == str(class_bgr("teddy bear"))
