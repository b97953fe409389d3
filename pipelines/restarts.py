"""Going on after a crash on an engine that keeps nothing: partial results must not take the place of whole ones.

Such a run begins to read some warm-up before the place up to which the last run's results are out. What begins before
that place would now lack what came before the warm-up; and it is out already. So it is left out; what begins from there
on is whole, provided that the warm-up is as long as what a result depends on, and that the last run committed only
behind what was out (see KafkaSource.restartable).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from thingbeam.transforms.sharding import NAMESPACE

__all__ = ["LeaveOutPartial", "whole_rows"]


def whole_rows(batch: pa.RecordBatch, complete_from: int) -> pa.RecordBatch:
    """The rows of results that begin at `complete_from` (microseconds since 1970) or later, in their order.

    Args:
        batch: with a column `start`.
        complete_from: from when on results are whole.
    """
    starts = batch.column("start").cast(pa.int64()).to_numpy()
    kept: pa.RecordBatch = batch.filter(pa.array(starts >= complete_from))
    return kept


class LeaveOutPartial(beam.DoFn):
    """(name, pyarrow.RecordBatch) without the rows of results that began too early; counts them as `suppressed`.

    Args:
        complete_from: microseconds since 1970.
    """

    def __init__(self, complete_from: int) -> None:
        self._complete_from = complete_from
        self._suppressed = Metrics.counter(NAMESPACE, "suppressed")

    def process(self, named: tuple[str, pa.RecordBatch]) -> Iterator[Any]:
        """Leave them out."""
        name, batch = named
        kept = whole_rows(batch, self._complete_from)
        self._suppressed.inc(batch.num_rows - kept.num_rows)
        if kept.num_rows:
            yield name, kept
