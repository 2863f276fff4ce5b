"""What MLflow stores of the served model and runs to load it ("models from code"); never imported here."""

from mlflow.models import set_model

from vgsr.tracking.served import Served

set_model(Served())
