import pytest
from proxy_wire import World


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
def grpc_world(tmp_path):
    from grpc_wire import GrpcWorld  # only where gRPC is installed

    world = GrpcWorld(tmp_path)
    yield world
    world.close()
