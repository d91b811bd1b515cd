"""A server of KServe's; runs in KServe's environment, not in the tests'. Arguments: the model's name and the port."""

import sys
import uuid

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput
from late_model import answers


class Late(Model):
    """Two columns in, label and score out."""

    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        """One row per row, in the protocol that was asked in."""
        if isinstance(payload, InferRequest):
            return self._tensors(payload)
        try:
            rows = payload["instances"]
            label, score = answers([row["truth"] for row in rows], [row["noise"] for row in rows])
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"expected rows with the numbers truth and noise: {error}") from None
        found = zip(label.tolist(), score[:, 1].tolist(), strict=True)
        return {"predictions": [{"prediction": one, "score": other} for one, other in found]}

    def _tensors(self, request):
        columns = {tensor.name: tensor for tensor in request.inputs}
        if columns.keys() != {"truth", "noise"}:
            raise InvalidInput("expected the tensors truth and noise")
        try:
            label, score = answers(columns["truth"].as_numpy(), columns["noise"].as_numpy())
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"expected numbers: {error}") from None
        if len(label) == 0:
            raise InvalidInput("expected at least one row")  # KServe breaks on tensors without data
        outputs = [InferOutput("label", [len(label)], "INT64"), InferOutput("score", [len(label), 2], "FP64")]
        outputs[0].set_data_from_numpy(label)
        outputs[1].set_data_from_numpy(score)
        return InferResponse(
            request.id or uuid.uuid4().hex,
            self.name,
            outputs,
            use_binary_outputs=bool((request.parameters or {}).get("binary_data_output")),
            requested_outputs=request.request_outputs,
        )


ModelServer(http_port=int(sys.argv[2]), enable_grpc=False, workers=1).start([Late(sys.argv[1])])
