"""Workers that are threads of this process, for an engine with any number of hosts.

Beam's own LOOPBACK knows its workers by ids that each TaskManager of Flink counts for itself: as soon as one has no
more work for its worker "4-1", Beam ends the other's "4-1" as well, and the job starts again from its beginning.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import grpc
from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, WorkerOptions
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils import thread_pool_executor

from thingbeam.runners.stack.ports import LOOPBACK

__all__ = ["loopback_workers"]


@contextmanager
def loopback_workers(options: PipelineOptions) -> Generator[str]:
    """A pool of workers in this process, which must live as long as the job; gives its address, HOST:PORT.

    It is for `--environment_type=EXTERNAL --environment_config=HOST:PORT`, and listens on this machine only.

    Args:
        options: of the pipeline: what workers may keep in memory.

    >>> with loopback_workers(PipelineOptions([])) as address:
    ...     address.partition(":")[0]
    '127.0.0.1'
    """
    server = grpc.server(thread_pool_executor.shared_unbounded_instance())
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(_Pool(options), server)
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    server.start()
    try:
        yield f"{LOOPBACK}:{port}"
    finally:
        server.stop(1)


class _Pool:
    """Starts workers; each ends by itself, when its host closes the stream that gives it work."""

    def __init__(self, options: PipelineOptions) -> None:
        limit_ms = options.view_as(DebugOptions).lookup_experiment("data_buffer_time_limit_ms", 0)
        self._threads = BeamFnExternalWorkerPoolServicer(
            state_cache_size=options.view_as(WorkerOptions).max_cache_memory_usage_mb << 20,
            data_buffer_time_limit_ms=int(limit_ms),
        )

    def StartWorker(self, request: Any, context: Any) -> Any:  # noqa: N802, the service's own name
        return self._threads.StartWorker(request, context)

    def StopWorker(self, request: Any, context: Any) -> Any:  # noqa: N802
        return beam_fn_api_pb2.StopWorkerResponse()
