"""What every section of an experiment is made of: the frozen model, and the numbers that keys may have."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Width = Annotated[int, Field(ge=1, le=1 << 16)]  # of a layer


class Part(BaseModel):
    """One section of an experiment: frozen, and every unknown key is an error, and every number that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
