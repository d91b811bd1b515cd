"""A runtime of MLServer's; it runs in MLServer's environment, not in the tests'."""

import os

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceResponse, Parameters

RIGHT_ABOVE = float(os.environ["TITLESHOT_TEST_RIGHT_ABOVE"])
"""Below this noise it is wrong."""


class Late(MLModel):
    """One tensor of rows (truth, noise) in, or one for each of both; a class and its probability out."""

    async def load(self) -> bool:
        return True

    async def predict(self, payload):
        rows = np.column_stack([NumpyCodec.decode_input(each) for each in payload.inputs])
        if rows.ndim != 2 or rows.shape[1] != 2:
            raise InferenceError("expected rows of truth and noise")
        said = np.where(rows[:, 1] > RIGHT_ABOVE, rows[:, 0], 1 - rows[:, 0])
        headers = {"x-seen-user": (payload.parameters.headers or {}).get("x-user", "")}
        return InferenceResponse(
            id=payload.id,
            model_name=self.name,
            parameters=Parameters(headers=headers),
            outputs=[
                NumpyCodec.encode_output("predict", said.astype(np.int64).reshape(-1, 1)),
                NumpyCodec.encode_output("predict_proba", said * 0.8 + 0.1),
            ],
        )

    async def predict_stream(self, payloads):
        async for payload in payloads:
            yield await self.predict(payload)
