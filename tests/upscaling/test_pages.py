"""TIFF files of several pages: stacks, overviews, pyramids, masks."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image
from random_inputs import random_image, random_net
from tiff_files import HILL, tiff_file

from npsrcnn import images
from npsrcnn.errors import UserError
from npsrcnn.images import ifd, tiff_writer
from npsrcnn.upscaling.choice import Chosen
from npsrcnn.upscaling.files import EnlargeOptions, Job, enlarge_file


def write_cog(path, samples, mask=None):
    with tifffile.TiffWriter(path) as writer:
        options = {"photometric": "rgb", "tile": (32, 32), "metadata": None}
        writer.write(samples, **options)
        if mask is not None:
            writer.write(mask, subfiletype=4, photometric="mask", tile=(32, 32), metadata=None,
                         compression="zlib")  # fmt: skip
        writer.write(np.ascontiguousarray(samples[::2, ::2]), subfiletype=1, **options)
        if mask is not None:
            writer.write(np.ascontiguousarray(mask[::2, ::2]), subfiletype=5, photometric="mask",
                         tile=(32, 32), metadata=None, compression="zlib")  # fmt: skip


def test_overviews_are_no_pages(tmp_path, rng, enlarged):
    samples = random_image(rng, (70, 90, 3), np.uint8)
    write_cog(tmp_path / "a.tif", samples)
    pages, _ = enlarged()
    tiff_file(tmp_path / "a.tif", samples, photometric="rgb")
    plain, _ = enlarged()
    assert len(pages) == len(plain) == 1
    np.testing.assert_array_equal(pages[0], plain[0])


def test_a_pyramid_of_a_microscope_is_one_picture(tmp_path, rng, enlarged):
    stack = random_image(rng, (2, 64, 96), np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=True) as writer:
        metadata = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        options = {"photometric": "minisblack", "tile": (32, 32)}
        writer.write(stack, subifds=1, metadata=metadata, **options)
        writer.write(stack[:, ::2, ::2].copy(), subfiletype=1, **options)
    pages, _ = enlarged()
    assert [page.shape for page in pages] == [(128, 192)] * 2
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.series[0].shape == (2, 128, 192) and len(file.series[0].levels) == 1
        assert 'PhysicalSizeX="0.25"' in file.ome_metadata


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_mask_becomes_alpha(tmp_path, rng, enlarged, dtype):
    samples = random_image(rng, (70, 90, 3), np.uint8).astype(dtype)
    valid = np.ones((70, 90), bool)
    valid[20:50, 30:60] = False
    write_cog(tmp_path / "a.tif", samples, valid)
    (pages,), _ = enlarged()
    alpha = np.where(valid, np.iinfo(dtype).max if dtype != np.float32 else 1, 0).astype(dtype)
    tiff_file(tmp_path / "a.tif", np.dstack([samples, alpha]), photometric="rgb",
              extrasamples=["unassalpha"])  # fmt: skip
    (plain,), _ = enlarged()
    np.testing.assert_array_equal(pages, plain)
    picture = images.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.alpha, alpha)


def stack_of(kind, path, stack):
    if kind == "imagej":
        tifffile.imwrite(path, stack, imagej=True, resolution=(2.0, 2.0),
                         metadata={"unit": "um", "axes": "ZYX", "spacing": 3.0})  # fmt: skip
    elif kind == "first page alone":  # as ImageJ writes more than 4 GB
        text = f"ImageJ=1.54f\nimages={len(stack)}\nslices={len(stack)}\n"
        tifffile.imwrite(path, stack, description=text, metadata=None, photometric="minisblack")
        with tifffile.TiffFile(path, mode="r+") as file:
            handle, page = file.filehandle, file.pages[0]
            end = page.offset + 2 + 12 * len(page.tags)
            handle.seek(end)
            handle.write(bytes(4))
            page.tags[270].overwrite(text)
    elif kind == "ome":
        metadata = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
        tifffile.imwrite(path, stack, ome=True, metadata=metadata)
    elif kind == "shaped":
        tifffile.imwrite(path, stack, photometric="minisblack")
    else:
        tifffile.imwrite(path, stack, metadata=None, photometric="minisblack", compression="zlib")


STACKS = ["imagej", "first page alone", "ome", "shaped", "pages"]


@pytest.mark.parametrize("kind", STACKS)
def test_every_page_of_a_stack(tmp_path, rng, enlarged, kind):
    stack = random_image(rng, (4, 40, 50), np.uint16)
    stack_of(kind, tmp_path / "a.tif", stack)
    pages, outcome = enlarged()
    assert outcome.row()["pages"] == 4
    for page, result in zip(stack, pages, strict=True):
        tiff_file(tmp_path / "a.tif", page)
        ((expected,), _) = enlarged()
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("kind", STACKS)
def test_the_result_is_a_stack_again(tmp_path, rng, enlarged, kind):
    stack_of(kind, tmp_path / "a.tif", random_image(rng, (4, 40, 50), np.uint16))
    enlarged()
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert [series.shape for series in file.series] == (
            [(80, 100)] * 4 if kind == "pages" else [(4, 80, 100)]
        ) or file.series[0].shape == (4, 80, 100)
        if kind == "imagej":
            assert file.imagej_metadata["unit"] == "um" and file.imagej_metadata["spacing"] == 3.0
            assert file.pages[0].tags[282].value == (4, 1)
        if kind == "ome":
            assert 'SizeX="100" SizeY="80"' in file.ome_metadata
            assert 'PhysicalSizeX="0.25" PhysicalSizeY="0.25"' in file.ome_metadata
            assert 'PhysicalSizeZ="2.0"' in file.ome_metadata


@pytest.mark.parametrize("kind", STACKS)
def test_one_page_of_a_stack(tmp_path, rng, enlarged, kind):
    stack = random_image(rng, (4, 40, 50), np.uint16)
    stack_of(kind, tmp_path / "a.tif", stack)
    (result,), outcome = enlarged(page=3)
    assert "pages" not in outcome.row()
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.series[0].shape == (80, 100)
    stack_of(kind, tmp_path / "a.tif", stack)
    every, _ = enlarged()
    np.testing.assert_array_equal(result, every[2])
    for wrong in (0, 5):
        with pytest.raises(UserError, match=f"no page {wrong}: the file holds 4"):
            enlarged(page=wrong)


@pytest.mark.parametrize("back_to", [0, 1])
def test_a_page_that_leads_back_is_the_last(tmp_path, rng, enlarged, back_to):
    """A damaged file's pages went round for ever."""
    pages = random_image(rng, (2, 20, 30), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder="<") as writer:
        for page in pages:
            writer.write(page, metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        offsets = [page.offset for page in file.pages]
    data = bytearray((tmp_path / "a.tif").read_bytes())
    after = offsets[1] + 2 + 12 * int.from_bytes(data[offsets[1] : offsets[1] + 2], "little")
    assert data[after : after + 4] == bytes(4)
    data[after : after + 4] = offsets[back_to].to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(data)
    results, _ = enlarged()
    assert [result.shape for result in results] == [(40, 60)] * 2


def test_pages_of_different_sizes_and_kinds(tmp_path, rng, enlarged):
    pages = [
        random_image(rng, (40, 50, 3), np.uint8),
        random_image(rng, (30, 20), np.uint16),
        (-50 * HILL).astype(np.float32),
    ]
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for i, page in enumerate(pages):
            writer.write(page, photometric="rgb" if page.ndim == 3 else "minisblack",
                         description=f"page {i}", metadata=None)  # fmt: skip
    results, outcome = enlarged()
    assert [page.shape[:2] for page in results] == [(80, 100), (60, 40), (140, 180)]
    assert len(outcome.row()["range"]) == 3
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert [page.description for page in file.pages] == ["page 0", "page 1", "page 2"]


def test_pages_of_a_fax(tmp_path, rng):
    pages = [Image.fromarray(rng.integers(0, 2, (40, 50)).astype(bool)) for _ in range(3)]
    path, out = tmp_path / "fax.tif", tmp_path / "out.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="group4")
    options = EnlargeOptions(Chosen([random_net("3-1-3")]), 2)
    enlarge_file(Job(path, out), options)
    results = tifffile.imread(out)
    for page, result in zip(pages, results, strict=True):
        page.save(tmp_path / "one.png")
        enlarge_file(Job(tmp_path / "one.png", tmp_path / "one_x2.png"), options)
        np.testing.assert_array_equal(result, images.read(tmp_path / "one_x2.png").pixels)


def test_a_format_of_one_picture_cannot_hold_pages(tmp_path, rng):
    stack_of("pages", tmp_path / "a.tif", random_image(rng, (2, 20, 30), np.uint8))
    job = Job(tmp_path / "a.tif", tmp_path / "a.png", fixed_format=True)
    nets = Chosen([random_net("3-1-3")])
    with pytest.raises(UserError, match=r"PNG holds one picture: write TIFF, or .* \(--page\)"):
        enlarge_file(job, EnlargeOptions(nets, 2))
    assert not job.target.exists()
    enlarge_file(job, EnlargeOptions(nets, 2, page=2))
    assert images.read(job.target).pixels.shape == (40, 60)


def test_a_picture_that_is_not_the_first_page_is_told(tmp_path, rng):
    tags = {254: ifd.entry(ifd.LONG, [1]), 330: ifd.entry(ifd.LONG, [8])}
    samples = random_image(rng, (20, 30, 1), np.uint8)
    (tmp_path / "a.tif").write_bytes(tiff_writer.encode(samples, tags))
    with pytest.raises(UserError, match="its first page is a thumbnail"):
        images.read(tmp_path / "a.tif")
