"""A model of Triton's Python backend; it runs in Triton's environment, not in the tests'."""

import numpy as np
import triton_python_backend_utils as triton
from late_model import answers


class TritonPythonModel:
    """Two columns in, label and probabilities out; for a noise below 0 the probabilities are NaN."""

    def execute(self, requests):
        """One answer per request."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        truth, noise = (triton.get_input_tensor_by_name(request, name).as_numpy() for name in ("truth", "noise"))
        if len(truth) != len(noise):
            error = triton.TritonError("expected as many of truth as of noise", triton.TritonError.INVALID_ARG)
            return triton.InferenceResponse(error=error)
        label, probabilities = answers(truth, noise)
        probabilities[np.ravel(noise) < 0] = np.nan
        return triton.InferenceResponse(
            [triton.Tensor("label", label), triton.Tensor("probabilities", probabilities.astype(np.float32))]
        )
