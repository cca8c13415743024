"""A small set of detectors, codecs and channels, so that these tests stand without the real ones."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from citypulse.config import Extensions
from citypulse.config.values import DetectorSettings, DurationS, ValueIn


class Threshold(DetectorSettings):
    pass


class Rate(DetectorSettings):
    limits_in: ClassVar[Literal["rate"]] = "rate"
    window: DurationS = Field(default=600.0, gt=0)
    min_points: int = Field(default=3, ge=2)


class Stuck(DetectorSettings):
    limits_in: ClassVar[Literal["seconds"]] = "seconds"
    tolerance: ValueIn = Field(default=0.0, ge=0)
    unless_at_or_below: ValueIn | None = None


class NoData(DetectorSettings):
    limits_in: ClassVar[Literal["seconds"]] = "seconds"
    needs_limits: ClassVar[bool] = False
    after: DurationS = Field(gt=0)


class GatewaySilent(DetectorSettings):
    scope: ClassVar[Literal["gateway"]] = "gateway"
    limits_in: ClassVar[Literal["seconds"]] = "seconds"
    needs_limits: ClassVar[bool] = False


class Together(DetectorSettings):
    """A site-wide detector that counts how many of its sensors agree: a bare number."""

    scope: ClassVar[Literal["site"]] = "site"
    limits_in: ClassVar[Literal["none"]] = "none"
    span: DurationS = 600.0
    rules: tuple[str, ...] = ()
    utc_offset: DurationS = Field(default=28_800.0, ge=-43_200, le=50_400)


class Crowd(DetectorSettings):
    """A site-wide detector that takes two sensors at most."""

    scope: ClassVar[Literal["site"]] = "site"
    limits_in: ClassVar[Literal["none"]] = "none"
    inputs_max: ClassVar[int | None] = 2


class Log(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    per_minute: int = 600
    file: str = "notices.jsonl"


class Webhook(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    per_minute: int = 600
    url: str
    secret_env: str = ""
    secret_file: str = ""

    @field_validator("url")
    @classmethod
    def _encrypted(cls, url: str) -> str:
        if not url.startswith("https://"):
            raise ValueError("the address must begin with https://")
        return url


@pytest.fixture(scope="session")
def extensions() -> Extensions:
    return Extensions(
        detectors={
            "threshold": Threshold,
            "rate": Rate,
            "stuck": Stuck,
            "no_data": NoData,
            "gateway_silent": GatewaySilent,
            "together": Together,
            "crowd": Crowd,
        },
        codecs=frozenset({"native"}),
        channels={"log": Log, "webhook": Webhook},
    )
