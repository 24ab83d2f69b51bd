"""Networks for pictures: by name, by scale, by how strongly they were compressed."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from compressed import clean_picture, save_chroma, save_families
from random_inputs import random_net

import npsrcnn
from npsrcnn.errors import UserError
from npsrcnn.model import shipped
from npsrcnn.model.ensemble import Ensemble
from npsrcnn.pixels.color import rgb2ycbcr
from npsrcnn.pixels.jpeg import compress, strength_of_quality
from npsrcnn.upscaling.choice import Automatic, choose
from npsrcnn.upscaling.source_quality import AS_TOLD, BY_MODEL, BY_TABLE, Decision

Q60 = strength_of_quality(60)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    save_families(tmp_path / "weights")


@pytest.fixture(scope="module")
def clean():
    return clean_picture()


def test_each_picture_gets_its_own_networks(weights, clean):
    choice, scale = choose(None, 2, "auto")
    assert isinstance(choice, Automatic) and scale == 2
    chosen = choice.chosen(clean, Q60)
    assert chosen.names == ("y-x2-q60",) and chosen.decision == Decision(60, BY_TABLE)
    assert chosen.comment == "JPEG of quality 60: restored with y-x2-q60"
    assert choice.chosen(clean, None).names == ("y-x2",)
    assert choice.chosen(clean, None).comment == ""
    chosen = choice.chosen(compress(clean, 20), None)
    quality = chosen.decision.quality
    assert 18 <= quality <= 22
    assert chosen.comment == (
        f"compressed before, as JPEG of quality {quality} by its pixels: "
        f"restored with y-x2-q{quality}"
    )


def test_a_network_is_loaded_once(weights, clean):
    choice = Automatic(2)
    first = choice.chosen(clean, Q60).nets[0]
    assert choice.chosen(clean[:50], Q60).nets[0] is first
    assert choice.chosen(clean, 2 * Q60).nets[0] is not first


def test_it_goes_to_another_process(weights, clean):
    choice = pickle.loads(pickle.dumps(Automatic(2)))
    assert choice.chosen(clean, Q60).names == ("y-x2-q60",)


def test_where_no_weights_ship_for_a_quality_it_takes_those_for_clean_and_says_so(weights, clean):
    chosen = Automatic(3).chosen(clean, Q60)
    assert chosen.names == ("y-x3",) and chosen.decision == Decision(60, BY_TABLE)
    assert chosen.comment == "JPEG of quality 60; no weights for that at x3"
    chosen = Automatic(2, fast=True).chosen(clean, Q60)
    assert chosen.names == ("fast-x2",)
    assert chosen.comment == "JPEG of quality 60; no fast weights for that at x2"


def test_in_steps_only_the_first_restores(weights, clean):
    assert Automatic(6).chosen(clean, Q60).names == ("y-x2-q60", "y-x3")
    assert Automatic(1.5).chosen(clean, Q60).names == ("y-x2-q60",)


def test_at_scale_1_what_was_never_compressed_is_refused(weights, clean):
    assert Automatic(1).chosen(clean, Q60).names == ("y-x1-q60",)
    assert Automatic(1).likely.names == ("y-x1-q75",)
    with pytest.raises(UserError, match="was not compressed"):
        Automatic(1).chosen(clean, None)


def test_at_scale_1_without_weights_it_says_so(weights, clean):
    for path in shipped.FOLDER.glob("y-x1*"):
        path.unlink()
    with pytest.raises(UserError, match=r"no weights for x1 .* \(only for x2\)"):
        Automatic(1).chosen(clean, Q60)


def test_as_told(weights):
    for quality, name in ((33, "y-x2-q33"), ("clean", "y-x2")):
        chosen, _ = choose(None, 2, quality)
        number = quality if quality == 33 else None
        assert chosen.names == (name,) and chosen.decision == Decision(number, AS_TOLD)
    assert choose(None, 2, 33)[0].comment == "JPEG of quality 33, as told: restored with y-x2-q33"


def test_a_named_model_is_taken_as_it_is(weights):
    chosen, scale = choose("y-x2-q20", None, "auto")
    assert scale == 2 and chosen.names == ("y-x2-q20",)
    assert chosen.decision == Decision(None, BY_MODEL) and chosen.comment == ""


def test_a_family_that_is_named_has_any_quality(weights):
    chosen, scale = choose("y-x2", None, 60)
    assert scale == 2 and chosen.names == ("y-x2-q60",)
    assert chosen.nets[0].metadata["quality"] == 60
    assert choose("y-x1", None, 60)[1] == 1


def test_a_model_without_other_qualities_takes_none(weights, tmp_path):
    random_net().save(tmp_path / "mine.npz")
    for model in ("y-x3", "y-x2-q20", str(tmp_path / "mine.npz"), tmp_path / "x.npz", random_net()):
        with pytest.raises(UserError, match="has no weights for other qualities") as caught:
            choose(model, 2, 60)
        assert caught.value.exit_code == 2


def test_eight_orientations(weights, clean):
    for nets in (
        choose(None, 2, "auto", orientations=True)[0].chosen(clean, Q60).nets,
        choose(None, 2, 60, orientations=True)[0].nets,
        choose("y-x2", 2, 60, orientations=True)[0].nets,
    ):
        assert isinstance(nets[0], Ensemble)


def test_colour_is_restored_first_where_there_is_any(weights, clean):
    save_chroma(shipped.FOLDER)
    chosen = Automatic(2).chosen(clean, Q60)
    assert chosen.names == ("chroma-q60", "y-x2-q60")
    assert chosen.comment == "JPEG of quality 60: restored with chroma-q60 and y-x2-q60"
    assert Automatic(2).chosen(clean[..., 0], Q60).names == ("y-x2-q60",)
    assert Automatic(2).chosen(clean, None).names == ("y-x2",)
    assert Automatic(1).chosen(clean, Q60).names == ("chroma-q60", "y-x1-q60")
    fast = random_net("3-1-3", scale=2)
    fast.metadata |= {"quality": 75, "jpeg": [75, 75]}
    fast.save(shipped.FOLDER / "fast-x2-q75.npz")
    assert Automatic(2, fast=True).chosen(clean, Q60).names == ("fast-x2-q60",)
    weak = strength_of_quality(94)  # too weak for weights for quality 75
    assert Automatic(2).chosen(clean, weak).names == ("y-x2-q94",)


@pytest.mark.parametrize("quality", ["auto", 60])
def test_what_restores_colour_leaves_grey_and_luma_as_they_were(weights, clean, quality):
    image = compress(clean, 60)
    before = [npsrcnn.upscale(a, 2, source_quality=quality) for a in (image, image[..., 0])]
    save_chroma(shipped.FOLDER)
    after = [npsrcnn.upscale(a, 2, source_quality=quality) for a in (image, image[..., 0])]
    np.testing.assert_array_equal(after[1], before[1])
    inside = np.s_[8:-8, 8:-8]
    change = np.abs(after[0].astype(float) - before[0])[inside]
    assert change.max() > 5
    y_before, y_after = (rgb2ycbcr(large[0] / 255)[inside][..., 0] for large in (before, after))
    unlimited = ((after[0] > 0) & (after[0] < 255)).all(axis=2)[inside]
    np.testing.assert_allclose(y_after[unlimited], y_before[unlimited], atol=0.008)  # two roundings


def test_of_arrays(weights, clean):
    for picture in (clean, clean[..., 0], compress(clean, 20), clean / 255):
        as_clean = npsrcnn.upscale(picture, 2)
        auto = npsrcnn.upscale(picture, 2, source_quality="auto")
        compressed = picture.dtype == np.uint8 and picture.ndim == 3 and (picture != clean).any()
        q20 = npsrcnn.upscale(picture, 2, source_quality=20)
        assert (q20 != as_clean).any()
        np.testing.assert_array_equal(auto, q20 if compressed else as_clean)


def test_of_dask_arrays(weights, clean):
    da = pytest.importorskip("dask.array")
    lazy = da.from_array(clean, chunks=(100, 100, 3))
    with pytest.raises(UserError, match="Dask"):
        npsrcnn.upscale(lazy, 2, source_quality="auto")
    expected = npsrcnn.upscale(clean, 2, source_quality=60)
    result = npsrcnn.upscale(lazy, 2, source_quality=60).compute(scheduler="synchronous")
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(
        npsrcnn.upscale(lazy, 2, "y-x2", "auto").compute(scheduler="synchronous"),
        npsrcnn.upscale(clean, 2, "y-x2"),
    )


def test_weights_that_ship_are_loaded_once():
    first, _ = choose(None, 2)
    again, _ = choose(None, 2)
    other, _ = choose(None, 2, orientations=True)
    assert again.likely.nets[0] is first.likely.nets[0] is not other.likely.nets[0]
