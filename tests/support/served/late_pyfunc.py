"""The model as MLflow's code-based pyfunc: it has no prediction for a noise below 0, and says so with NaN."""

import mlflow
import numpy as np


class Late(mlflow.pyfunc.PythonModel):
    """Two columns in, one number a row out."""

    def predict(self, context, model_input, params=None):
        """The labels. Where it is saved, the module is not there."""
        from late_model import answers

        label, _ = answers(model_input["truth"].to_numpy(), model_input["noise"].to_numpy())
        return np.where(model_input["noise"].to_numpy() < 0, np.nan, label)


mlflow.models.set_model(Late())
