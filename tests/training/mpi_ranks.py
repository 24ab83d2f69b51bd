"""Do on four ranks what test_mpi.py checks: trainings on 1, 2, 3 and 4 of them, and their errors.

``mpiexec -n 4 python mpi_ranks.py FOLDER`` writes there FOLDER/result.npz, of every training the
losses and weights; ``alone(case)`` is the same without MPI. The ranks that a training does not
take wait for those that it does.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np

from npsrcnn import SRCNN
from npsrcnn.datasets.cutting import ALL
from npsrcnn.errors import DataError, UserError
from npsrcnn.training.optimizers import SGD, Adam, paper_factors, parameters, rate_at
from npsrcnn.training.ranks import ALONE
from npsrcnn.training.soap import SOAP
from npsrcnn.training.trainer import Trainer

CASES = {  # batch, optimizer, l1, steps
    "ragged": (61, SGD, 0.0, 50),  # the last group is not full
    "large": (64 * 16 + 9 * 16 + 3, SGD, 0.0, 5),  # several groups a slot, of some one more
    "l1": (64, Adam, 0.01, 5),
    "soap": (64, SOAP, 0.0, 15),  # whose axes turn after ten
}
TINY = 3  # sub-images, too few for four ranks


class Noise:
    """Give random sub-images of 11 pixels, signed; the label is what is left of the centre."""

    def __init__(self, broken_from=10**9):
        self.broken_from = broken_from

    def __len__(self):
        return 10**5

    def batches(self, seed, epoch, batch_size, start=0, rows=ALL):
        for i in range(start, 20):
            if i >= self.broken_from:
                raise DataError("b.shard: has been cut short")
            x = np.random.default_rng((seed, epoch, i)).standard_normal((batch_size, 1, 11, 11))
            x = x.astype(np.float32)[rows]
            yield x, np.ascontiguousarray(x[:, :, 3:-3, 3:-3])


def trainer(case, ranks=ALONE, source=None, seed=3, **options):
    batch, optimizer, l1, _ = CASES[case]
    net = SRCNN("5-3", n=[10], seed=seed)
    return Trainer(
        net, source or Noise(), optimizer(net.layers, paper_factors(2)),
        functools.partial(rate_at, peak=2e-3, warmup=5, decay="cosine"),
        **{"batch": batch, "seed": 7, "clip": 1.0, "average": 0.9, "l1": l1, **options},
        ranks=ranks,
    )  # fmt: skip


def trained(subject, case):
    """Train; return losses, weights and their average, all that a training changes."""
    losses = list(subject.train(CASES[case][-1]))
    layers = parameters(subject.net.layers) + parameters(subject.average.layers)
    return [np.array(losses), *layers]


def alone(case):
    """Return the result of one process, which every number of ranks must give."""
    return trained(trainer(case), case)


def main(folder: Path) -> None:
    from npsrcnn.training import mpi

    world = mpi.MPI.COMM_WORLD
    result = {}

    def among(count, work):
        """Do ``work(ranks)`` on the first ``count`` ranks; return its result, or its error."""
        comm = world.Split(0 if world.rank < count else 1)
        said = None
        if world.rank < count:
            try:
                said = work(mpi.MPIRanks(comm))
            except (UserError, SystemExit) as error:
                said = f"{type(error).__name__}: {error}"
        world.Barrier()
        return said

    def train(case, ranks):
        subject = trainer(case, ranks)
        if not ranks.is_root:
            subject.follow()
            return
        for i, array in enumerate(trained(subject, case)):
            result[f"{case} {ranks.size} {i}"] = array
        subject.stop_followers()

    def lead_or_follow(ranks, **options):
        subject = trainer("ragged", ranks, **options)
        return trained(subject, "ragged") if ranks.is_root else subject.follow()

    def broken(ranks):
        return lead_or_follow(ranks, source=Noise(3 if ranks.rank == 1 else 10**9))

    def fails_on_rank_2(ranks):
        if ranks.rank == 2:
            raise OSError(28, "No space left on device", "somewhere")

    errors = {
        "broken": broken,
        "other weights": lambda ranks: lead_or_follow(ranks, seed=ranks.rank),
        "too many": lambda ranks: lead_or_follow(ranks, batch=TINY),
        "unlike": lambda ranks: ranks.check_alike({"lanes": 8 + ranks.rank // 2}),
        "on rank 2": lambda ranks: ranks.on_all_ranks(lambda: fails_on_rank_2(ranks)),
    }

    for case in CASES:
        for count in (1, 2, 3, 4):
            among(count, functools.partial(train, case))
    for name, work in errors.items():
        said = world.gather(among(4, work))
        result[name] = np.array(said or "", dtype=str)
    if world.rank == 0:
        np.savez(folder / "result.npz", **result)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
