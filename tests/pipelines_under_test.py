"""Running a pipeline on a real runner: what came out, what was counted, and what state the runner was left with.

Bounded pipelines run on FnApiRunner. TestStream runs on BundleBasedDirectRunner, by name: of the runners inside Beam's
Python SDK it is the only one that executes it (FnApiRunner's own tests of TestStream are skipped as not supported).
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.direct import evaluation_context, executor, transform_evaluator
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.worker_handlers import WorkerHandlerManager
from apache_beam.runners.worker import statesampler
from apache_beam.testing.test_stream import TestStream
from apache_beam.transforms import userstate
from apache_beam.utils import counters
from apache_beam.utils.timestamp import Timestamp

from thingbeam.runners.account import account_of, balance
from thingbeam.schemas import Activity, Event, EventBatch, Session, Usage
from thingbeam.schemas.arrow import from_record_batch

Build = Callable[[beam.Pipeline], Mapping[str, Any]]
"""Builds a pipeline; gives the PCollections to keep, by name."""

RECORDS: Final = {"activities": Activity, "sessions": Session, "usage": Usage}

_given: dict[int, Sequence[Any]] = {}
_kept: dict[int, dict[str, list[Any]]] = {}
_contexts: list[Any] = []
_runs = itertools.count()


@dataclass
class Ran:
    """What came of a run.

    Attributes:
        elements: of each PCollection, by name, in the order in which they came out.
        counts: the counters.
        cells: state cells that the runner still held for user state when the pipeline had ended, by step and key.
        timers: timers that it still held.
        looks: how many cells and timers there were at each `Look`.
    """

    elements: dict[str, list[Any]]
    counts: dict[str, int]
    cells: list[str]
    timers: list[str]
    looks: list[tuple[int, int]] = field(default_factory=list)

    def records(self, name: str) -> list[Any]:
        """The records of an output, be they records or batches of them."""
        return list(_records(self.elements[name], RECORDS.get(name, Event)))

    def latest(self, name: str) -> list[Any]:
        """Of each key the upsert with the highest revision, as a sink has it in the end."""
        rows: dict[tuple[Any, ...], Any] = {}
        for row in self.records(name):
            key = key_of(row)
            if key not in rows or rows[key].revision < row.revision:
                rows[key] = row
        return [row for row in rows.values() if not row.deleted]

    @property
    def names(self) -> dict[str, list[str]]:
        """The names that batches of each output carried."""
        return {
            name: [element[0] for element in elements]
            for name, elements in self.elements.items()
            if elements and type(elements[0]) is tuple
        }


def key_of(row: Any) -> tuple[Any, ...]:
    """What identifies a result."""
    if isinstance(row, Session):
        return row.device_id, row.start
    if isinstance(row, Activity):
        return row.device_id, row.component, row.capability, row.start
    return row.device_id, row.component, row.capability, row.attribute, row.role, row.period, row.start


def without_revisions(rows: Iterable[Any]) -> dict[tuple[Any, ...], Any]:
    """Results by key, all but the revision, which engines need not agree on; no key twice."""
    table: dict[tuple[Any, ...], Any] = {}
    for row in rows:
        key = key_of(row)
        assert key not in table, f"two rows of {key}"
        table[key] = row._replace(revision=0)
    return table


def assert_accounted(counts: Mapping[str, int]) -> None:
    """Every line is accounted for; one line holds one event, and is one dead letter at most."""
    assert balance(counts) is None, balance(counts)
    parts = ("counted", "duplicates", "late", "ignored", "dead_letters")
    assert counts["lines"] == sum(counts[part] for part in parts), counts


def run(build: Build, workers: int = 1) -> Ran:
    """Run bounded input on FnApiRunner, with so many workers in this process, each of which has bundles of its own."""
    left: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        close_all = WorkerHandlerManager.close_all

        def look_and_close(manager: WorkerHandlerManager) -> None:
            left.extend(_fn_api_cells(manager))
            close_all(manager)

        patch.setattr(WorkerHandlerManager, "close_all", look_and_close)
        elements, result = _run(build, FnApiRunner(), _workers(workers))
    # It goes on until no timer is set.
    return Ran(elements, account_of(result.metrics()), left, [])


def run_stream(build: Build) -> Ran:
    """Run a TestStream on BundleBasedDirectRunner."""
    with _direct_runner_mended():
        elements, result = _run(build, BundleBasedDirectRunner(), ["--streaming"])
    looks = elements.pop("looks", [])
    return Ran(elements, account_of(result.metrics()), *_direct_cells(result._evaluation_context), looks)


def a_stream(
    bundles: Iterable[Sequence[Any]],
    time_of: Callable[[Any], int],
    trail: int,
    element_of: Callable[[Sequence[Any]], Iterable[Any]],
) -> TestStream:
    """Bundles one after the other, the watermark following the newest event time seen.

    Args:
        bundles: what comes at once.
        time_of: the event time of one of them, microseconds.
        trail: by how much the watermark stays behind, microseconds.
        element_of: the elements to send for a bundle.
    """
    stream = TestStream()
    newest, watermark = -(1 << 60), -(1 << 60)
    for bundle in bundles:
        stream.add_elements(list(element_of(bundle)))
        newest = max(newest, *(time_of(each) for each in bundle))
        # TestStream keeps milliseconds.
        to = (newest - trail) // 1000 * 1000
        if to > watermark:
            watermark = to
            stream.advance_watermark_to(Timestamp(micros=watermark))
    return stream.advance_watermark_to_infinity()


class Given(beam.PTransform[Any, Any]):
    """Elements of this process, as beam.Create gives them, which puts them compressed into the pipeline's own text."""

    def __init__(self, elements: Sequence[Any], element_type: Any) -> None:
        super().__init__()
        self._elements, self._type = elements, element_type

    def expand(self, root: Any) -> Any:
        number = next(_runs)
        _given[number] = self._elements
        weakref.finalize(root.pipeline, _given.pop, number, None)
        indices = root | beam.Create(range(len(self._elements)))
        return indices | beam.ParDo(_Give(number)).with_output_types(self._type)


def of_type(elements: Any, element_type: type) -> Any:
    """A TestStream's PCollection, which knows no type, with one."""
    elements.element_type = element_type
    return elements


class SoFar(beam.DoFn):
    """Which of some outputs have given anything, whenever an element comes; see `Look`."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def process(self, _: Any) -> Iterator[set[str]]:
        kept = _kept[max(_kept)]
        yield {name for name in self._names if kept[name]}


class _Give(beam.DoFn):
    def __init__(self, number: int) -> None:
        self._number = number

    def process(self, index: int) -> Iterator[Any]:
        yield _given[self._number][index]


class Look(beam.DoFn):
    """Counts the state cells and the timers that the direct runner holds, whenever an element comes.

    The runner takes the next element of a TestStream only when everything before it has been worked on.
    """

    def process(self, _: Any) -> Iterator[tuple[int, int]]:
        cells, timers = _direct_cells(_contexts[-1])
        yield len(cells), len(timers)


class _Keep(beam.DoFn):
    def __init__(self, number: int, name: str) -> None:
        self._number, self._name = number, name

    def process(self, element: Any) -> None:
        # Embedded runners are in this process.
        _kept[self._number][self._name].append(element)


def _workers(count: int) -> list[str]:
    return [f"--direct_num_workers={count}", "--direct_running_mode=multi_threading"] if count > 1 else []


def _run(build: Build, runner: Any, options: list[str]) -> tuple[dict[str, list[Any]], Any]:
    number = next(_runs)
    pipeline = beam.Pipeline(runner, options=PipelineOptions(options))
    outputs = build(pipeline)
    _kept[number] = {name: [] for name in outputs}
    try:
        for name, output in outputs.items():
            _ = output | f"Keep {name}" >> beam.ParDo(_Keep(number, name))
        result = pipeline.run()
        result.wait_until_finish()
        return _kept[number], result
    finally:
        del _kept[number]


def _records(elements: Iterable[Any], record: type) -> Iterator[Any]:
    for element in elements:
        if type(element) is not tuple:
            yield element
        elif isinstance(element[1], pa.RecordBatch):
            yield from from_record_batch(element[1], record)
        else:
            assert isinstance(element[1], EventBatch)
            yield from element[1].to_events()


def _direct_cells(context: Any) -> tuple[list[str], list[str]]:
    cells: list[str] = []
    timers: list[str] = []
    for step, keys in context._transform_keyed_states.items():
        for key, state in keys.items():
            for tags in state.state.values():
                cells += [f"{step.full_label} {key!r} {tag}" for tag, value in tags.items() if value]
            for named in state.timers.values():
                timers += [f"{step.full_label} {key!r} {name} at {at}" for name, at in named.items()]
    return cells, timers


def _fn_api_cells(manager: WorkerHandlerManager) -> Iterator[str]:
    for encoded, values in manager.state_servicer._state.items():
        key = beam_fn_api_pb2.StateKey.FromString(encoded)
        if key.WhichOneof("type") == "bag_user_state" and b"".join(values):
            yield f"{key.bag_user_state.transform_id} {key.bag_user_state.key!r} {key.bag_user_state.user_state_id}"


@contextmanager
def _direct_runner_mended() -> Iterator[None]:
    """Two faults of BundleBasedDirectRunner in Beam 2.77, put right while a pipeline runs.

    It makes one sampler for all bundles, whose scoped states keep the first bundle's metrics container, so that a
    counter counts the first bundle only. And it looks at the signature of every method of a DoFn several times a
    bundle: nine tenths of its time.
    """
    call, specs_of = executor.TransformExecutor.call, userstate.get_dofn_specs
    known: dict[type, Any] = {}
    context = evaluation_context.EvaluationContext

    def remembered_context(*arguments: Any) -> Any:
        _contexts.append(context(*arguments))
        return _contexts[-1]

    def call_with_fresh_sampler(task: Any, _: Any) -> None:
        sampler = statesampler.StateSampler("", counters.CounterFactory())
        statesampler.set_current_tracker(sampler)
        call(task, sampler)

    def specs_of_class(dofn: beam.DoFn) -> Any:
        if type(dofn) not in known:
            known[type(dofn)] = specs_of(dofn)
        return known[type(dofn)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_context, "EvaluationContext", remembered_context)
        patch.setattr(executor.TransformExecutor, "call", call_with_fresh_sampler)
        patch.setattr(userstate, "get_dofn_specs", specs_of_class)
        patch.setattr(transform_evaluator, "get_dofn_specs", specs_of_class)
        try:
            yield
        finally:
            _contexts.clear()
