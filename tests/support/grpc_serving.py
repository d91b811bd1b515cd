"""The whole of titleshot with a gRPC port, before model servers that have nothing else."""

import contextlib
from pathlib import Path

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from world import MODEL, World, free_port, wait_for


class GrpcServing(World):
    """titleshot with a gRPC port, before servers that have one only."""

    def __init__(self, folder, registry_template, servers) -> None:
        self.grpc_port = free_port()
        self.servers = servers
        super().__init__(folder, registry_template, {})

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def write_settings(self, policy: str) -> None:
        super().write_settings(policy)
        endpoints = ", ".join(f"{version}: {server.url!r}" for version, server in self.servers.items())
        text = self.settings_path.read_text()
        text = text.replace(
            "    endpoints: {}\n", f"    grpc_endpoints: {{{endpoints}}}\n    request_id: header:x-order\n"
        )
        self.settings_path.write_text(text.replace("models:\n", f"grpc: {self.address}\nmodels:\n"))

    def served(self) -> None:
        """Wait until a champion answers."""
        wait_for(self._ready, "the champion to be served", 60)

    def _ready(self) -> bool:
        try:
            with grpc.insecure_channel(self.address) as channel:
                service = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                return service.ModelReady(pb.ModelReadyRequest(name=MODEL), timeout=2).ready
        except grpc.RpcError:
            return False

    def log(self) -> str:
        path = self.folder / "serve.log"
        return path.read_text() if path.exists() else ""

    def listening(self) -> list[int]:
        """The processes that listen on the gRPC port."""
        ending = f":{self.grpc_port:04X}"
        tables = "".join(Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6"))
        rows = [row for line in tables.splitlines() if len(row := line.split()) > 9]
        sockets = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(ending) and row[3] == "0A"}
        return [pid for pid in self.children().values() if sockets & _links(Path(f"/proc/{pid}/fd"))]


def _links(folder: Path) -> set[str]:
    found = set()
    for entry in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(str(entry.readlink()))
    return found
