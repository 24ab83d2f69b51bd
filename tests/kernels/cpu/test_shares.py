"""The partition of a batch: parts that are the whole, in one order, whoever computes them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from npsrcnn.kernels.cpu.shares import SLOTS, Share
from npsrcnn.kernels.cpu.tiles import LANES
from npsrcnn.kernels.cpu.training import partial_sums

batches = st.integers(1, 3 * SLOTS * LANES)


@given(batches, st.integers(1, 2 * SLOTS))
def test_shares_tile_the_slots_of_a_batch_in_the_order_of_rank(batch, ranks):
    shares = [Share.of(batch, rank, ranks) for rank in range(ranks)]
    whole = Share.of(batch)
    cuts = [share.first for share in shares] + [shares[-1].stop]
    assert [share.stop for share in shares] == cuts[1:]
    assert (cuts[0], cuts[-1]) == (whole.first, whole.stop) == (0, min(-(-batch // LANES), SLOTS))
    sizes = [share.slots for share in shares]
    assert max(sizes) - min(sizes) <= 1


@given(batches, st.integers(1, 2 * SLOTS))
def test_every_sub_image_and_group_belongs_to_one_share(batch, ranks):
    shares = [Share.of(batch, rank, ranks) for rank in range(ranks)]
    rows = np.concatenate([share.rows for share in shares])
    np.testing.assert_array_equal(np.sort(rows), np.arange(batch))
    groups = np.concatenate([share.groups for share in shares])
    np.testing.assert_array_equal(np.sort(groups), np.arange(-(-batch // LANES)))
    for share in shares:
        np.testing.assert_array_equal(share.rows, np.unique(share.rows))  # ascending
        np.testing.assert_array_equal(np.unique(share.rows // LANES), share.groups)


@given(batches, st.integers(1, 2 * SLOTS))
def test_a_share_deals_its_groups_to_the_slots_that_they_have_in_the_whole_batch(batch, ranks):
    for share in (Share.of(batch, rank, ranks) for rank in range(ranks)):
        if share.slots:
            dealt = share.first + np.arange(len(share.groups)) % share.slots
            np.testing.assert_array_equal(dealt, share.groups % SLOTS)


@settings(max_examples=20)
@given(st.integers(1, 5 * LANES), st.integers(1, 7))
def test_partial_sums_of_shares_are_those_of_the_whole_batch_to_the_last_bit(batch, ranks):
    rng = np.random.default_rng(batch)
    layers = [
        (rng.standard_normal((3, 1, 3, 3), np.float32), rng.standard_normal(3, np.float32)),
        (rng.standard_normal((1, 3, 1, 1), np.float32), rng.standard_normal(1, np.float32)),
    ]
    inputs = rng.standard_normal((batch, 1, 7, 6), np.float32)
    labels = rng.standard_normal((batch, 1, 5, 4), np.float32)
    sums, losses = partial_sums(layers, inputs, labels)
    group = 0
    for share in (Share.of(batch, rank, ranks) for rank in range(ranks)):
        if share.slots:
            part, loss = partial_sums(layers, inputs[share.rows], labels[share.rows], share=share)
            np.testing.assert_array_equal(part, sums[share.first : share.stop])
            np.testing.assert_array_equal(loss, losses[share.groups])
            group += len(share.groups)
    assert group == len(losses)
