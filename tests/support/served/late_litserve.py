"""A server of LitServe's; runs in LitServe's environment, not in the tests', which has no numpy. Argument: the port."""

import os
import sys

import litserve

CUT = float(os.environ["TITLESHOT_TEST_CUT"])
"""Below this noise it is wrong."""


class Late(litserve.LitAPI):
    """One row in, label and score out."""

    def setup(self, device):
        """There is nothing to load."""

    def decode_request(self, request):
        """The row."""
        return request["truth"], request["noise"]

    def predict(self, row):
        """Its label, and the probability of it being late."""
        truth, noise = row
        label = int(truth if noise > CUT else 1 - truth)
        return {"prediction": label, "score": 0.25 + label / 2}

    def encode_response(self, output):
        """As it is."""
        return output


if __name__ == "__main__":
    server = litserve.LitServer(Late(), accelerator="cpu", workers_per_device=1, timeout=30)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        pretty_logs=False,
    )
