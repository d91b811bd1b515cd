"""A runtime of MLServer's; runs in MLServer's environment, not in the tests'."""

from late_model import answers
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse


class Late(MLModel):
    """Two columns in, label and probabilities out."""

    async def load(self) -> bool:
        """It is there."""
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """One row per row."""
        columns = {tensor.name: tensor for tensor in payload.inputs}
        if columns.keys() != {"truth", "noise"} or any(each.datatype == "BYTES" for each in columns.values()):
            raise InferenceError("expected the numbers truth and noise")
        try:
            decoded = {name: NumpyCodec.decode_input(tensor) for name, tensor in columns.items()}
            label, probabilities = answers(decoded["truth"], decoded["noise"])
        except (ValueError, TypeError) as error:
            raise InferenceError(f"expected numbers: {error}") from None
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            model_version=self.version,
            outputs=[
                NumpyCodec.encode_output("predict", label.reshape(-1, 1)),
                NumpyCodec.encode_output("predict_proba", probabilities),
            ],
        )
