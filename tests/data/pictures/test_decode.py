"""Pictures of more than 8 bit, of many bands, and turned ones; the right values are computed with NumPy here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from unseg_d2.data.images import ImageProblem, Reading, pil_to_rgb, read_image
from unseg_d2.data.pictures.decode import read_picture
from unseg_d2.data.pictures.stored import shown_size, stored_size

RNG = np.random.default_rng(0)


def stretched(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Low to 0, high to 255, rounded and cut."""
    return np.rint(np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def as_colour(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_twelve_bit_in_sixteen_is_stretched_by_what_is_used(tmp_path: Path, suffix: str) -> None:
    values = RNG.integers(300, 4096, (50, 40)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    picture = read_picture(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(picture.pixels, as_colour(stretched(values, values.min(), values.max())))
    assert picture.treatment == {"type": "uint16", "from": [values.min(), values.max()], "window": False}


def test_a_window_is_the_same_for_all(tmp_path: Path) -> None:
    values = np.array([[0, 1000, 2000], [3000, 4095, 60000]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png", Reading(window=(1000, 3000)))
    assert picture.pixels[..., 0].tolist() == [[0, 0, 128], [255, 255, 255]]
    assert picture.treatment["window"] is True and picture.treatment["from"] == [1000, 3000]


@pytest.mark.parametrize(("low", "high"), [(-27.5, -3.25), (812.0, 1543.5), (-1e-3, 2e-3)])
def test_decibels_and_metres(tmp_path: Path, low: float, high: float) -> None:
    values = RNG.uniform(low, high, (30, 20)).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    expected = stretched(values, float(values.min()), float(values.max()))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), as_colour(expected))


def test_what_was_not_measured_does_not_stretch(tmp_path: Path) -> None:
    values = np.array([[np.nan, np.inf, -3.4028235e38], [100, 150, 200]], np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[..., 0].tolist() == [[0, 0, 0], [0, 128, 255]]


def test_gdals_mark_for_no_data(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = np.array([[-9999, 100], [150, 200]], np.float32)
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=[(42113, "s", 0, "-9999", True)])
    assert read_image(tmp_path / "a.tif")[..., 0].tolist() == [[0, 0], [128, 255]]


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".tif", ".jp2"])
def test_colour_of_sixteen_bit_keeps_its_hues(tmp_path: Path, suffix: str) -> None:
    values = RNG.integers(0, 4096, (64, 80, 3)).astype(np.uint16)
    if not cv2.imwrite(str(tmp_path / f"a{suffix}"), values):
        pytest.skip(f"this OpenCV does not write {suffix}")
    stored = cv2.imread(str(tmp_path / f"a{suffix}"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    expected = stretched(stored, stored.min(), stored.max())
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), expected)
    assert suffix == ".jp2" or (stored[..., ::-1] == values).all()


def test_transparent_colour_of_sixteen_bit_is_laid_over_white(tmp_path: Path) -> None:
    values = np.zeros((4, 4, 4), np.uint16)
    values[0, 0] = (0, 0, 4000, 65535)  # BGRA: red
    cv2.imwrite(str(tmp_path / "a.png"), values)
    pixels = read_image(tmp_path / "a.png")
    assert pixels[0, 0].tolist() == [255, 0, 0] and (pixels[1:] == 255).all()


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(("dtype", "top"), [(np.uint16, 10_000), (np.uint8, 256), (np.float32, 1)])
def test_bands_are_chosen(tmp_path: Path, planar: str, dtype: type, top: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = (RNG.random((20, 30, 6)) * top).astype(dtype)
    stored = values if planar == "contig" else np.moveaxis(values, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", planarconfig=planar)
    for bands in ((), (4, 3, 2), (6,)):
        chosen = values[..., [band - 1 for band in bands or (1, 2, 3)]]
        if dtype is not np.uint8:
            chosen = stretched(chosen, float(chosen.min()), float(chosen.max()))
        picture = read_picture(tmp_path / "a.tif", Reading(bands=bands))
        np.testing.assert_array_equal(picture.pixels, np.broadcast_to(chosen, (20, 30, 3)))
        assert picture.treatment.get("bands") == (None if bands else 6)
    with pytest.raises(ImageProblem, match=r"6 bands, but INPUT.BANDS asks for band 7"):
        read_image(tmp_path / "a.tif", Reading(bands=(7,)))


def test_without_tifffile_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", np.ones((8, 9, 5), np.uint16), photometric="minisblack", planarconfig="contig")
    monkeypatch.setattr("unseg_d2.data.pictures.tiff._has_tifffile", lambda: False)
    with pytest.raises(ImageProblem, match=r"5 bands of uint16; install tifffile: pip install 'unseg-d2\[tiff\]'"):
        read_image(tmp_path / "a.tif")


def test_bands_of_common_pictures(tmp_path: Path) -> None:
    values = RNG.integers(0, 256, (10, 12, 4), np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")  # infrared where transparency usually is
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", Reading(bands=(4, 1, 2))), values[..., [3, 0, 1]])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", Reading(bands=(2,))), as_colour(values[..., 1]))


def test_pages_of_a_stack_are_bands_when_bands_are_asked_for(tmp_path: Path) -> None:
    pages = [RNG.integers(0, 1000, (10, 12)).astype(np.uint16) for _ in range(4)]
    first, *others = map(Image.fromarray, pages)
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.pixels, as_colour(stretched(pages[0], pages[0].min(), pages[0].max())))
    assert picture.treatment["pages"] == 4
    chosen = np.stack([pages[3], pages[1], pages[0]], axis=-1)
    picture = read_picture(tmp_path / "a.tif", Reading(bands=(4, 2, 1)))
    np.testing.assert_array_equal(picture.pixels, stretched(chosen, chosen.min(), chosen.max()))
    assert "pages" not in picture.treatment


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_every_orientation_is_applied_or_ignored(tmp_path: Path, suffix: str, orientation: int) -> None:
    values = np.kron(RNG.integers(0, 256, (3, 4, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(values).save(
        tmp_path / f"a{suffix}", exif=exif, **({"quality": 100, "subsampling": 0} if suffix == ".jpg" else {})
    )
    turns = {  # as the standard words it: where the stored first row and first column are seen
        1: values,
        2: values[:, ::-1],
        3: values[::-1, ::-1],
        4: values[::-1],
        5: values.transpose(1, 0, 2),
        6: np.rot90(values, -1),
        7: values[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(values),
    }
    tolerance = 40 if suffix == ".jpg" else 0
    upright, stored = (read_picture(tmp_path / f"a{suffix}", Reading(exif=how)) for how in ("apply", "ignore"))
    np.testing.assert_allclose(upright.pixels.astype(int), turns[orientation], atol=tolerance)
    np.testing.assert_allclose(stored.pixels.astype(int), values, atol=tolerance)
    assert shown_size(tmp_path / f"a{suffix}") == upright.pixels.shape[:2]
    assert stored_size(tmp_path / f"a{suffix}") == values.shape[:2]
    assert upright.treatment == ({"turned": True} if orientation > 1 else {})
    assert stored.treatment == ({"unturned": True} if orientation > 1 else {})


def test_a_turned_picture_of_sixteen_bit(tmp_path: Path) -> None:
    values = RNG.integers(0, 4096, (8, 12)).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    expected = np.rot90(stretched(values, values.min(), values.max()), -1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), as_colour(expected))


def test_large_pictures_of_8_bit_are_what_pillow_gives(tmp_path: Path) -> None:
    """They are converted strip by strip."""
    levels = RNG.integers(0, 256, (64, 64, 4), np.uint8)
    image = Image.fromarray(np.tile(levels, (40, 20, 1)))
    for mode in ("RGBA", "RGB", "L", "P", "CMYK", "1", "LA"):
        made = image.convert("RGB").convert(mode) if mode != "RGBA" else image
        whole = Image.alpha_composite(Image.new("RGBA", made.size, "white"), made) if mode == "RGBA" else made
        np.testing.assert_array_equal(pil_to_rgb(made), np.asarray(whole.convert("RGB")), err_msg=mode)


def test_sixteen_bit_does_not_take_many_times_its_memory(tmp_path: Path) -> None:
    """A flat picture of 40 megapixels, 80 MB as it is stored and 120 MB as RGB."""
    Image.fromarray(np.full((5000, 8000), 9, np.uint16)).save(tmp_path / "a.png", compress_level=1)
    script = (
        "import resource, sys; from unseg_d2.data.images import read_image\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "assert read_image(sys.argv[1]).shape == (5000, 8000, 3)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "a.png")]
    taken = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert int(taken) / 1024 < 400, f"{int(taken) / 1024:.0f} MB"


def test_the_default_limit_refuses_bombs_by_their_header(tmp_path: Path) -> None:
    Image.new("1", (13_300, 13_300)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 40_000
    with pytest.raises(ImageProblem, match=r"13300x13300 pixels: over the limit of 134217728 \(INPUT.MAX_PIXELS\)"):
        read_image(tmp_path / "a.png")


def test_many_bands_count_in_the_limit(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((20, 20, 9), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(ImageProblem, match="20x20 pixels of 9 bands: over 4 times the limit of 500"):
        read_image(tmp_path / "a.tif", Reading(max_pixels=500))


@pytest.mark.parametrize("values", [{"window": (3, 1)}, {"window": (1,)}, {"bands": (1, 2)}, {"exif": "yes"}])
def test_readings_that_mean_nothing(values: dict) -> None:
    with pytest.raises(ValueError):
        Reading(**values)


def test_what_changes_survives_a_manifest() -> None:
    reading = Reading(window=(0.0, 4095.0), bands=(4, 3, 2), exif="ignore")
    assert reading.changes() == {"WINDOW": [0.0, 4095.0], "BANDS": [4, 3, 2], "EXIF": "ignore"}
    assert Reading.of_changes(reading.changes()).changes() == reading.changes()
    assert Reading().changes() == {}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.uint32, np.float32, np.float64])
@pytest.mark.parametrize("bands", [1, 4])
def test_zero_is_white_where_a_tiff_says_so(tmp_path: Path, dtype: type, bands: int) -> None:
    """As many X-rays do; the same numbers with black zero are the negative."""
    tifffile = pytest.importorskip("tifffile")
    values = RNG.integers(0, 100, (30, 20, bands)).astype(dtype)
    values[0, 0], values[0, 1] = 0, 100
    for kind in ("minisblack", "miniswhite"):
        data = values if bands > 1 else values[..., 0]
        tifffile.imwrite(tmp_path / f"{kind}.tif", data, photometric=kind, planarconfig="contig" if bands > 1 else None)
    black, white = (read_picture(tmp_path / f"{kind}.tif").pixels.astype(int) for kind in ("minisblack", "miniswhite"))
    assert black[0, 0, 0] == 0 and black[0, 1, 0] in (100, 255)
    np.testing.assert_allclose(white, 255 - black, atol=1)
    if dtype is not np.uint8:
        window = Reading(window=(0, 200))
        black, white = (read_picture(tmp_path / f"{kind}.tif", window).pixels for kind in ("minisblack", "miniswhite"))
        assert black[0, 1, 0] == 128 and white[0, 1, 0] in (127, 128) and white[0, 0, 0] == 255


def test_the_type_of_numbers_has_one_name_whatever_the_order_of_bytes(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    for order in "<>":
        tifffile.imwrite(tmp_path / "a.tif", np.arange(12, dtype=np.uint16).reshape(3, 4), byteorder=order)
        assert read_picture(tmp_path / "a.tif").treatment["type"] == "uint16"


def test_a_picture_without_any_measurement_is_not_black(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 9), np.nan, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageProblem, match="nothing was measured"):
        read_image(tmp_path / "a.tif")


def test_full_memory_is_no_fault_of_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "a.png")
    Image.new("L", (20_000, 20_000)).save(tmp_path / "bomb.png")
    monkeypatch.setattr("unseg_d2.data.pictures.decode._rgb", fail)
    with pytest.raises(MemoryError):
        read_image(tmp_path / "a.png")
    with pytest.raises(ImageProblem, match="over the limit"):
        read_image(tmp_path / "bomb.png")


def test_a_link_to_itself_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("a.png")
    with pytest.raises(ImageProblem, match=r"^a symbolic link that leads to itself$"):
        read_image(tmp_path / "a.png")
