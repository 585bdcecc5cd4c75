"""Any image file is read as upright RGB in [0, 1] or refused in one line."""

import hashlib
import io
import re
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from jaxtyping import TypeCheckError
from PIL import Image
from skimage import data as photographs_of
from torch import Tensor

from cnnvis_lab.core import FileError, InputError, LabError, NameNotFound
from cnnvis_lab.core.files import recorded_inputs
from cnnvis_lab.data import images, open_images
from cnnvis_lab.data.folders import readable_suffixes

untimed = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GRAY, ALPHA, INDEX = RGB[..., 0], RGB[..., 1].copy(), RGB[..., 2] % 4
ALPHA[0, :3] = 0, 255, 128
DEEP = RANDOM.integers(0, 65536, (5, 7)).astype(np.uint16)
COLORS = np.array([[255, 0, 0], [0, 128, 255], [10, 20, 30], [200, 200, 0]], dtype=np.uint8)
INKS = np.array([[[0, 0, 0, 0], [0, 0, 0, 255], [255, 0, 0, 0], [0, 255, 255, 0]]], dtype=np.uint8)
PRINTED = [[[1, 1, 1], [0, 0, 0], [0, 1, 1], [1, 0, 0]]]  # white, black, cyan, red


def _palette(pixels: np.ndarray) -> Image.Image:
    image = Image.frombytes("P", pixels.shape[::-1], pixels.tobytes())
    image.putpalette(COLORS.tobytes())
    return image


def _rgb(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=-1)


def _on_white(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    opacity = alpha[..., None] / 255
    return color / 255 * opacity + (1 - opacity)


def _blocks(pixels: np.ndarray) -> np.ndarray:
    """Patches of one color as large as a JPEG's blocks, which it stores almost exactly."""
    return pixels.repeat(16, axis=0).repeat(16, axis=1)


CLEAR = np.array([0, 128, 255, 77], dtype=np.uint8)
KEYED = np.where(INDEX == 1, 0, 255)
# kind of file -> ending, the image that PIL writes, options, and the colors it shows
FILES = {
    "RGB": ("png", Image.fromarray(RGB), {}, RGB / 255),
    "RGB as BMP": ("bmp", Image.fromarray(RGB), {}, RGB / 255),
    "RGB as TIFF": ("tif", Image.fromarray(RGB), {}, RGB / 255),
    "RGB as WebP": ("webp", Image.fromarray(RGB), {"lossless": True}, RGB / 255),
    "RGB with one clear color": (
        "png",
        Image.fromarray(COLORS[INDEX]),
        {"transparency": tuple(COLORS[1].tolist())},
        _on_white(COLORS[INDEX], KEYED),
    ),
    "RGBA": ("png", Image.fromarray(np.dstack([RGB, ALPHA])), {}, _on_white(RGB, ALPHA)),
    "gray": ("png", Image.fromarray(GRAY), {}, _rgb(GRAY) / 255),
    "gray with alpha": (
        "png",
        Image.fromarray(np.dstack([GRAY, ALPHA])),
        {},
        _on_white(_rgb(GRAY), ALPHA),
    ),
    "black and white": ("png", Image.fromarray(GRAY > 100), {}, _rgb(GRAY > 100)),
    "16-bit gray": ("png", Image.fromarray(DEEP), {}, _rgb(DEEP) / 65535),
    "16-bit gray as TIFF": ("tif", Image.fromarray(DEEP.astype(">u2")), {}, _rgb(DEEP) / 65535),
    "16-bit gray as PGM": ("pgm", Image.fromarray(DEEP.astype(np.int32)), {}, _rgb(DEEP) / 65535),
    "palette": ("png", _palette(INDEX), {}, COLORS[INDEX] / 255),
    "palette as GIF": ("gif", _palette(INDEX), {}, COLORS[INDEX] / 255),
    "palette with a clear entry": (
        "png",
        _palette(INDEX),
        {"transparency": 1},
        _on_white(COLORS[INDEX], KEYED),
    ),
    "palette with alphas": (
        "png",
        _palette(INDEX),
        {"transparency": CLEAR.tobytes()},
        _on_white(COLORS[INDEX], CLEAR[INDEX]),
    ),
    "CMYK": ("tif", Image.frombytes("CMYK", (4, 1), INKS.tobytes()), {}, np.array(PRINTED)),
    "JPEG": ("jpg", Image.fromarray(_blocks(COLORS[None])), {}, _blocks(COLORS[None]) / 255),
    "gray JPEG": ("jpg", Image.fromarray(_blocks(GRAY)), {}, _rgb(_blocks(GRAY)) / 255),
    "CMYK JPEG": (
        "jpg",
        Image.frombytes("CMYK", (64, 16), _blocks(INKS).tobytes()),
        {},
        _blocks(np.array(PRINTED)),
    ),
}


def _same(image: Tensor, shown: np.ndarray, within: float) -> bool:
    expected = torch.from_numpy(np.ascontiguousarray(shown)).float().permute(2, 0, 1)
    return image.shape == expected.shape and bool((image - expected).abs().max() <= within)


def _refusal(kind: type[LabError], match: str, call: Callable, *args: object) -> None:
    with pytest.raises(kind, match=match) as caught:
        call(*args)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", FILES)
def test_every_kind_of_file_is_read_as_the_rgb_it_shows(tmp_path, kind):
    ending, source, options, shown = FILES[kind]
    path = tmp_path / f"image.{ending}"
    if ending == "jpg":
        options = {"quality": 95, "subsampling": 0} if source.mode == "RGB" else {"quality": 95}
    source.save(path, **options)
    image = images.load(path)
    assert image.dtype == torch.float32 and image.is_contiguous()
    within = {"jpg": 3 / 255}.get(ending, 1e-6)
    if "clear" in kind or "alpha" in kind or kind == "RGBA":
        within = 1.01 / 255  # blended and rounded in eight bits
    assert _same(image, shown, within)
    assert image.min() >= 0 and image.max() <= 1


# the borders of the scene at which the stored row 0 and column 0 lie (EXIF 2.3, tag 0x0112)
BORDERS = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def _shown(pixels: np.ndarray, row: str, column: str) -> np.ndarray:
    if row in ("left", "right"):
        pixels, row, column = pixels.swapaxes(0, 1), column, row
    pixels = pixels[::-1] if row == "bottom" else pixels
    return pixels[:, ::-1] if column == "right" else pixels


@pytest.mark.parametrize("turn", BORDERS)
@pytest.mark.parametrize(
    ("ending", "pixels", "scale", "within"),
    [("png", RGB, 255, 1e-6), ("png", DEEP, 65535, 1e-6), ("jpg", _blocks(GRAY), 255, 3 / 255)],
)
def test_rotated_files_are_turned_upright(tmp_path, turn, ending, pixels, scale, within):
    exif, path = Image.Exif(), tmp_path / f"turned.{ending}"
    exif[0x0112] = turn
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    shown = _shown(pixels if pixels.ndim == 3 else _rgb(pixels), *BORDERS[turn])
    assert _same(images.load(path), shown / scale, within)


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"xx", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_an_image_with_damaged_exif_data_is_read(tmp_path, exif):
    Image.fromarray(RGB).save(tmp_path / "odd.png", exif=exif)
    assert _same(images.load(tmp_path / "odd.png"), RGB / 255, 1e-6)


def test_load_fits_the_upright_image_to_a_size_and_records_the_file(tmp_path):
    exif, path = Image.Exif(), tmp_path / "turned.png"
    exif[0x0112] = 6
    Image.fromarray(RGB).save(path, exif=exif)
    whole = images.load(path)
    assert torch.equal(images.load(path, (6, 3)), images.resize_and_crop(whole, (6, 3)))
    assert recorded_inputs()[str(path.resolve())] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "no image file at .*odd.png; check the path"),
        (b"", "odd.png is not an image of a known format"),
        (b"hello\nworld\n" * 50, "odd.png is not an image of a known format"),
        (b"\x89PNG\r\n\x1a\n", "odd.png"),
    ],
)
def test_missing_files_and_files_of_another_kind_are_refused(tmp_path, content, match):
    path = tmp_path / "odd.png"
    if content is not None:
        path.write_bytes(content)
    _refusal(FileError, match, images.load, path)
    _refusal(FileError, "no image file", images.load, tmp_path)


def _encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_file_is_refused_unless_its_image_is_complete(tmp_path, kind):
    path, content = tmp_path / "cut", _encoded(kind)
    path.write_bytes(content)
    whole, refused = images.load(path), 0
    for length in range(0, len(content), 3):
        path.write_bytes(content[:length])
        try:
            assert torch.equal(images.load(path), whole)
        except FileError as error:
            assert str(error).startswith("cut ") and "\n" not in str(error)
            refused += 1
    assert refused > len(content) / 3 * 0.8


def test_an_opened_file_is_decoded_before_it_is_returned(tmp_path):
    (tmp_path / "cut.png").write_bytes(_encoded("PNG")[:-30])
    with pytest.raises(FileError), images.open_image(tmp_path / "cut.png") as stored:
        pytest.fail(f"{stored} was returned")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
@untimed
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path_factory, kind, data):
    content = bytearray(_encoded(kind))
    positions = st.integers(0, len(content) - 1)
    for position in data.draw(st.lists(positions, min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    path.write_bytes(content)
    try:
        image = images.load(path)
    except FileError as error:
        assert "\n" not in str(error)
    else:
        assert image.shape[0] == 3 and image.min() >= 0 and image.max() <= 1


@pytest.mark.parametrize("size", [8, 11])
def test_a_far_too_large_image_is_refused(tmp_path, monkeypatch, size):
    Image.new("RGB", (size, size)).save(tmp_path / "large.png")
    assert images.load(tmp_path / "large.png").shape == (3, size, size)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # PIL warns above it, fails above twice it
    _refusal(FileError, "large.png has over 50 pixels", images.load, tmp_path / "large.png")


def test_images_of_floats_are_refused(tmp_path):
    floats = Image.fromarray(GRAY.astype(np.float32))
    floats.save(tmp_path / "float.tif")
    _refusal(InputError, "no known value range", images.load, tmp_path / "float.tif")
    _refusal(InputError, "no known value range", images.from_pil, floats)


@pytest.mark.parametrize("name", images.PHOTOGRAPHS)
def test_every_photograph_is_available_without_a_network(monkeypatch, name):
    def refuse(*_: object) -> None:
        raise OSError("a photograph was requested from the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    pixels = getattr(photographs_of, name)()
    shown = pixels.astype(np.float32) / (255 if pixels.dtype == np.uint8 else 1)
    assert _same(images.photograph(name), shown if shown.ndim == 3 else _rgb(shown), 1e-6)


def test_photographs_are_fitted_to_a_size_and_a_wrong_name_suggests_the_right_one():
    cat = images.photograph("cat")
    assert torch.equal(images.photograph("cat", 32), images.resize_and_crop(cat, 32))
    _refusal(NameNotFound, "did you mean astronaut", images.photograph, "asstronaut")
    _refusal(NameNotFound, "photograph.*known: astronaut", images.photograph, "zzz")


PIXELS = array_shapes(min_dims=2, max_dims=4, max_side=6).map(lambda shape: (*shape, 3))


@untimed
@given(pixels=arrays(np.uint8, PIXELS))
def test_eight_bit_pixels_survive_conversion_to_floats_and_back(pixels):
    floats = images.from_uint8(pixels)
    assert floats.shape == (*pixels.shape[:-3], 3, *pixels.shape[-3:-1])
    assert np.array_equal(images.to_uint8(floats), pixels)
    assert np.array_equal(images.to_uint8(floats.double()), pixels)
    for turned in (pixels[..., ::-1, :], pixels[..., ::-1]):  # views that torch cannot wrap
        assert np.array_equal(images.to_uint8(images.from_uint8(turned)), turned)


def test_all_256_values_survive_and_the_floats_are_a_copy():
    pixels = _rgb(np.arange(256, dtype=np.uint8)[None])
    floats = images.from_uint8(pixels)
    assert np.array_equal(images.to_uint8(floats), pixels)
    assert (floats[:, 0, 0] == 0).all() and (floats[:, 0, 255] == 1).all()
    floats.zero_()
    assert pixels[0, 255, 0] == 255


@untimed
@given(value=st.floats(-3, 4, width=32) | st.sampled_from([float("inf"), float("-inf")]))
def test_floats_become_the_nearest_eight_bit_value_inside_the_range(value):
    image = torch.full((3, 1, 1), value, requires_grad=True)
    (pixel,) = set(images.to_uint8(image).ravel().tolist())
    assert abs(pixel / 255 - min(max(value, 0), 1)) <= 0.5 / 255 + 1e-6


@untimed
@given(pixels=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2).map(lambda s: (*s, 3))))
def test_pil_images_survive_conversion_to_floats_and_back(pixels):
    original = Image.fromarray(pixels)
    back = images.to_pil(images.from_pil(original))
    assert back.mode == "RGB" and back.size == original.size
    assert back.tobytes() == original.tobytes()


LENGTH, ANY_LENGTH = st.integers(8, 40), st.integers(1, 40)


def _coordinates(height: int, width: int) -> Tensor:
    """An image whose red and green are the x and y of each pixel's middle, in 100ths of a pixel.

    Averaging does not move a ramp, so red and green say where in the original a pixel lies.
    """
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([x + 0.5, y + 0.5, torch.zeros_like(x)]).double() / 100


def _inner(positions: Tensor, length: int, factor: float) -> Tensor:
    """Which positions are too far from the border for the averaging to reach over it."""
    reach = max(1.0, 1 / factor) + 0.5
    return (positions > reach) & (positions < length - reach)


@untimed
@given(old=st.tuples(LENGTH, LENGTH), new=st.tuples(LENGTH, LENGTH))
def test_resizing_keeps_positions_relative_to_the_borders(old, new):
    resized = images.resize(_coordinates(*old), new) * 100
    assert resized.shape == (3, *new)
    for axis, where in ((1, resized[1, :, 0]), (0, resized[0, 0])):
        length, pixels = old[1 - axis], new[1 - axis]
        expected = (torch.arange(pixels) + 0.5) * length / pixels
        inner = _inner(expected, length, pixels / length)
        assert torch.allclose(where.double()[inner], expected.double()[inner], atol=0.13)


@untimed
@given(old=st.tuples(LENGTH, LENGTH), new=st.tuples(LENGTH, LENGTH))
def test_cropping_keeps_the_aspect_ratio_and_the_center(old, new):
    cropped = images.resize_and_crop(_coordinates(*old), new) * 100
    assert cropped.shape == (3, *new)
    factor = max(new[0] / old[0], new[1] / old[1])
    for axis, where in ((1, cropped[1, :, 0]), (0, cropped[0, 0])):
        length, pixels = old[1 - axis], new[1 - axis]
        expected = length / 2 + (torch.arange(pixels) + 0.5 - pixels / 2) / factor
        assert expected[0] > 0 and expected[-1] < length  # no position lies outside the original
        inner = _inner(expected, length, factor)
        # half a pixel for an odd margin, half for a size rounded to whole pixels
        assert ((where - expected)[inner].abs() * factor < 1.01 + 0.13 * factor).all()


@untimed
@given(
    old=st.tuples(ANY_LENGTH, ANY_LENGTH),
    new=st.tuples(ANY_LENGTH, ANY_LENGTH),
    value=st.floats(0, 1, width=32),
)
def test_any_size_fits_any_image_and_flat_images_stay_flat(old, new, value):
    flat = torch.full((2, 3, *old), value)
    for fitted in (images.resize(flat, new), images.resize_and_crop(flat, new)):
        assert fitted.shape == (2, 3, *new)
        assert (fitted - value).abs().max() < 1e-6


def test_an_image_of_the_requested_size_is_unchanged():
    image = images.from_uint8(RGB)
    assert torch.equal(images.resize(image, (5, 7)), image)
    assert torch.equal(images.resize_and_crop(image, (5, 7)), image)
    assert torch.equal(images.resize_and_crop(image, 5), image[..., 1:6])


@pytest.mark.parametrize("fit", [images.resize, images.resize_and_crop])
def test_a_batch_is_fitted_like_each_of_its_images_and_stays_in_range(fit):
    batch = (torch.rand(2, 4, 3, 30, 20, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    fitted = fit(batch, (9, 31))
    assert fitted.min() >= 0 and fitted.max() <= 1
    for one, other in zip(batch.flatten(0, 1), fitted.flatten(0, 1), strict=True):
        assert torch.allclose(fit(one, (9, 31)), other, atol=1e-6)


def test_shrinking_averages_pixels():
    noise = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    small = images.resize(noise, 8)
    # means of 64 pixels; means of the nearest 4 would have half the standard deviation
    assert small.std() < noise.std() / 5


@untimed
@given(
    count=st.integers(1, 7),
    columns=st.integers(1, 5),
    gap=st.integers(0, 3),
    as_list=st.booleans(),
)
def test_tiles_lie_in_rows_and_the_rest_is_background(count, columns, gap, as_list):
    tiles = torch.rand(count, 3, 4, 5, generator=torch.Generator().manual_seed(count))
    sheet = images.tile(list(tiles) if as_list else tiles, columns, gap, background=2.0)
    rows = (count + columns - 1) // columns
    assert sheet.shape == (3, rows * 4 + (rows - 1) * gap, columns * 5 + (columns - 1) * gap)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        y, x = row * (4 + gap), column * (5 + gap)
        assert torch.equal(sheet[:, y : y + 4, x : x + 5], tile)
        sheet[:, y : y + 4, x : x + 5] = 2.0
    assert (sheet == 2.0).all()


@pytest.mark.parametrize(
    ("match", "call"),
    [
        ("size 0", lambda image: images.resize(image, 0)),
        ("size (4, -1)", lambda image: images.resize_and_crop(image, (4, -1))),
        ("1 images in 0 columns", lambda image: images.tile([image], 0)),
        ("0 images in 3 columns", lambda image: images.tile([], 3)),
        ("sizes (5, 6) and (5, 7)", lambda image: images.tile([image, image[..., :6]], 2)),
    ],
)
def test_impossible_sizes_are_refused(match, call):
    _refusal(InputError, re.escape(match), call, images.from_uint8(RGB))


@pytest.mark.parametrize(
    "call",
    [
        lambda: images.from_uint8(GRAY),
        lambda: images.from_uint8(RGB / 255),
        lambda: images.to_uint8(torch.zeros(5, 7)),
        lambda: images.to_uint8(torch.zeros(3, 5, 7, dtype=torch.uint8)),
        lambda: images.to_pil(torch.zeros(1, 3, 5, 7)),
        lambda: images.resize(torch.zeros(5, 7), 4),
    ],
)
def test_arrays_of_a_wrong_shape_or_type_are_refused(call):
    with pytest.raises(TypeCheckError):
        call()


def test_real_photographs_are_read(shared_data: Path):
    files = sorted((shared_data / "broden_real_mini" / "images" / "coco").glob("*.jpg"))[:5]
    assert files
    for file in files:
        with Image.open(file) as stored:
            assert images.to_pil(images.load(file)).tobytes() == stored.convert("RGB").tobytes()


NARROW = [(1, 60000), (60000, 1), (3, 30000), (1, 10**6)]


@pytest.mark.parametrize("shape", NARROW)
def test_an_image_too_narrow_for_its_size_is_refused_before_it_is_enlarged(shape, tmp_path):
    path = tmp_path / "narrow.png"
    Image.new("L", shape).save(path)
    assert path.stat().st_size < 3000
    says = rf"narrow\.png: an image of {shape[0]}x{shape[1]} pixels is too narrow: to cover 128x128"
    with pytest.raises(FileError, match=says):
        images.load(path, 128)
    with pytest.raises(FileError, match="narrow"):  # when the folder is opened, not in its midst
        open_images(str(tmp_path), 128, 4)
    Image.new("L", (64, 64)).save(tmp_path / "other.png")
    assert len(open_images(str(tmp_path), 128, 4, skip_damaged=True)) == 1


def test_narrow_images_within_the_limit_are_cropped_as_before():
    image = torch.rand(3, 6, 2400)
    whole = images.resize(image, (12, 4800))
    assert torch.equal(images.resize_and_crop(image, 12), whole[..., 2394:2406])


@pytest.mark.parametrize("suffix", ["eps", "png"])
def test_files_that_are_programs_are_no_images(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"drawn.{suffix}"
    Image.new("RGB", (4, 4)).save(path, "EPS")

    def run(*_: object, **__: object) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", run)
    with pytest.raises(FileError, match="is not an image of a known format"):
        images.load(path)
    assert ".eps" not in readable_suffixes() and {".png", ".jpg", ".ppm"} <= readable_suffixes()
