"""What sinks are made of: a store says what a call takes and what failed, the base does all the rest."""

from __future__ import annotations

from thingbeam.io.writing.policies import BatchPolicy, RetryPolicy
from thingbeam.io.writing.store import Again, Failure, Limits, Refused, RefusedBatch, Store, Throttled
from thingbeam.io.writing.throttle import Throttle
from thingbeam.io.writing.transform import BatchedWrite, WriteResult, WriteResults
from thingbeam.io.writing.writer import BatchedWriter, Done

__all__ = [
    "Again",
    "BatchPolicy",
    "BatchedWrite",
    "BatchedWriter",
    "Done",
    "Failure",
    "Limits",
    "Refused",
    "RefusedBatch",
    "RetryPolicy",
    "Store",
    "Throttle",
    "Throttled",
    "WriteResult",
    "WriteResults",
]
