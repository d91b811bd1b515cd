"""gRPC through a real proxy process: what its tests share."""

import struct

import grpc
import pytest
from infer_server import InferServer
from proxy_wire import World
from tritonclient.grpc import service_pb2 as pb
from world import free_port

from router.link.grpc_place import GrpcListen
from router.link.messages import Backend, ModelRoutes
from router.protocols.open_inference_grpc import reader
from router.protocols.protocol import Reading

SERVICE = "/inference.GRPCInferenceService/"


class GrpcWorld(World):
    """A proxy with a gRPC port."""

    def infer_server(self, behave=None, **rest) -> InferServer:
        server = InferServer(behave, **rest)
        self._closing.append(server.close)
        return server

    def serve(self, *models, credentials=None, **rest):
        self.listen = GrpcListen("127.0.0.1", free_port(), self.limits.max_body_bytes, 32768, 1000)
        self.start(*models, grpc=self.listen, **rest)
        self.channel = self.connect(credentials)

    def connect(self, credentials=None):
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        if credentials is None:
            channel = grpc.insecure_channel(self.listen.address, options)
        else:
            channel = grpc.secure_channel(self.listen.address, credentials, options)
        self._closing.insert(0, channel.close)
        grpc.channel_ready_future(channel).result(10)
        return channel

    def call(self, request: pb.ModelInferRequest, metadata=(), timeout=10.0):
        """ModelInfer: the answer, and the call with its metadata."""
        return _infer(self.channel).with_call(request, metadata=metadata, timeout=timeout)

    def complaints(self) -> str:
        """What the proxy has said so far."""
        return (self._folder / "stderr").read_text()


def _infer(channel: grpc.Channel):
    return channel.unary_unary(
        f"{SERVICE}ModelInfer", pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString
    )


def call_on(channel: grpc.Channel, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
    return _infer(channel)(request, timeout=10.0)


def model(champion, other=None, name="m", **rest) -> ModelRoutes:
    return ModelRoutes(
        name,
        "mlflow",
        Backend(1, "", grpc=champion.url) if champion else None,
        Backend(2, "", grpc=other.url) if other else None,
        **rest,
    )


def request(name="m", values=(1.0, 2.0), *, raw=False, **rest) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=name, **rest)
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[1, len(values)])
    if raw:
        message.raw_input_contents.append(struct.pack(f"<{len(values)}f", *values))
    else:
        tensor.contents.fp32_contents.extend(values)
    return message


def refused(call) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def read(row, **names):
    return [prediction.value for prediction in reader(Reading(**names))(row["body"])]


def stream(world, requests, metadata=(), timeout=10.0):
    method = world.channel.stream_stream(
        f"{SERVICE}ModelStreamInfer", pb.ModelInferRequest.SerializeToString, pb.ModelStreamInferResponse.FromString
    )
    return method(requests, metadata=metadata, timeout=timeout)
