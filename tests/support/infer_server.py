"""A model server of the Open Inference Protocol over gRPC, by the published messages; tests say what it does."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

NOT_SENT = {"user-agent"}


def answer(request: pb.ModelInferRequest, values: Iterable[float] = (1.0,), name: str = "prediction"):
    """As MLServer answers: raw where it was asked so, typed otherwise."""
    values = list(values)
    response = pb.ModelInferResponse(model_name=request.model_name, model_version="1", id=request.id)
    output = response.outputs.add(name=name, datatype="FP32", shape=[len(values), 1])
    if request.raw_input_contents:
        response.raw_output_contents.append(np.array(values, "<f4").tobytes())
    else:
        output.contents.fp32_contents.extend(values)
    return response


class Call:
    """A call as it came."""

    def __init__(self, message: bytes, context: grpc.ServicerContext) -> None:
        self.message = message
        self.metadata = [(key, value) for key, value in context.invocation_metadata() if key not in NOT_SENT]
        self.seconds_left = context.time_remaining()

    def __getitem__(self, name: str):
        return dict(self.metadata)[name]

    def __contains__(self, name: str) -> bool:
        return name in dict(self.metadata)


class InferServer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """`behave(request, context)` answers ModelInfer, `behave_stream(requests, context)` yields a stream's answers."""

    def __init__(self, behave: Callable | None = None, credentials: grpc.ServerCredentials | None = None) -> None:
        self.behave = behave or (lambda request, context: answer(request))
        self.behave_stream: Callable = lambda requests, context: (
            pb.ModelStreamInferResponse(infer_response=answer(request)) for request in requests
        )
        self.calls: list[Call] = []
        self.is_ready = True
        self.cancelled = threading.Event()
        self.release = threading.Event()
        limit = 256 * 1024 * 1024
        self._server = grpc.server(
            ThreadPoolExecutor(32),
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                ("grpc.so_reuseport", 0),
            ],
        )
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        if credentials is None:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self.url = f"{'grpc' if credentials is None else 'grpcs'}://127.0.0.1:{self.port}"
        self._server.start()

    def ModelInfer(self, request, context):  # noqa: N802 - the service's
        self.calls.append(Call(request.SerializeToString(), context))
        context.add_callback(self._ended(context))
        return self.behave(request, context)

    def ModelStreamInfer(self, requests, context):  # noqa: N802 - the service's
        self.calls.append(Call(b"", context))
        context.add_callback(self._ended(context))
        yield from self.behave_stream(requests, context)

    def ServerReady(self, request, context):  # noqa: N802 - the service's
        return pb.ServerReadyResponse(ready=self.is_ready)

    def ModelReady(self, request, context):  # noqa: N802 - the service's
        self.calls.append(Call(request.SerializeToString(), context))
        return pb.ModelReadyResponse(ready=self.is_ready)

    def ModelMetadata(self, request, context):  # noqa: N802 - the service's
        return pb.ModelMetadataResponse(name=request.name, versions=["1"], platform="tests")

    def close(self) -> None:
        self.release.set()
        self._server.stop(0).wait(10)

    def _ended(self, context):
        def ended() -> None:
            if not context.code():  # nobody has set one: the client is gone
                self.cancelled.set()

        return ended
