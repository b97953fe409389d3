"""Workers in this process, of hosts that count them alike."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2

from thingbeam.runners.loopback import loopback_workers

SECONDS: Final = 20


class Host:
    """What gives a worker its work: here one question at a time."""

    def __init__(self) -> None:
        self.address = ""
        self.gone = threading.Event()
        self._questions: queue.Queue[Any] = queue.Queue()
        self._answers: queue.Queue[Any] = queue.Queue()

    def Control(self, answers: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: N802, the service's own name
        def read() -> None:
            for answer in answers:
                self._answers.put(answer.instruction_id)
            self.gone.set()

        threading.Thread(target=read, daemon=True).start()
        yield from iter(self._questions.get, None)

    def GetProcessBundleDescriptor(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError

    def ask(self, name: str) -> str:
        """Have a worker note nothing, which it answers."""
        self._questions.put(beam_fn_api_pb2.InstructionRequest(instruction_id=name, register={}))
        answer: str = self._answers.get(timeout=SECONDS)
        return answer

    def close(self) -> None:
        self._questions.put(None)


@contextmanager
def hosting(threads: ThreadPoolExecutor) -> Iterator[Host]:
    host, server = Host(), grpc.server(threads)
    beam_fn_api_pb2_grpc.add_BeamFnControlServicer_to_server(host, server)
    host.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield host
    finally:
        host.close()
        server.stop(None).wait()


def test_one_hosts_end_is_not_the_others() -> None:
    with (
        ThreadPoolExecutor() as threads,
        hosting(threads) as first,
        hosting(threads) as second,
        loopback_workers(PipelineOptions([])) as address,
        grpc.insecure_channel(address) as channel,
    ):
        pool = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        for host in (first, second):
            endpoint = endpoints_pb2.ApiServiceDescriptor(url=host.address)
            started = pool.StartWorker(
                beam_fn_api_pb2.StartWorkerRequest(worker_id="1-1", control_endpoint=endpoint), timeout=SECONDS
            )
            assert started.error == ""
        assert (first.ask("a"), second.ask("b")) == ("a", "b")

        first.close()
        pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1-1"), timeout=SECONDS)
        assert first.gone.wait(SECONDS)
        assert second.ask("c") == "c"
        assert not second.gone.is_set()

        second.close()
        assert second.gone.wait(SECONDS)
