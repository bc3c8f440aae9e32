"""What requests carry: the JSON objects that clients send, checked before anything is done.

Law: a name nobody knows is an error, so that a misspelt one is not taken for left out; every field has a default
where the library has one.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    model_validator,
)

from sagas.store.port import OnConflict, OnReuse

Name = Annotated[StrictStr, Field(min_length=1, max_length=255)]
Args = Annotated[
    list[Any],
    Field(description="The arguments, in their order. The host decodes them by the annotations of the code."),
]

_MOST_MEMBERS = 100


def _few(value: Any) -> Any:
    """Refused here with one error: the validator below would make one, or several, a member."""
    if isinstance(value, dict) and len(value) > _MOST_MEMBERS:
        raise ValueError(f"at most {_MOST_MEMBERS} members are taken")
    return value


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _of_few_members(cls, value: Any) -> Any:
        return _few(value)


class StartBody(_Body):
    """A run to begin."""

    type: Annotated[Name, Field(description="The name of the saga type, as its host knows it.", examples=["book_trip"])]
    args: Args = []
    id: Annotated[
        StrictStr | None,
        Field(description="1 to 512 bytes of text without control characters; a new id if left out.", min_length=1),
    ] = None
    on_conflict: Annotated[OnConflict, Field(description="When a run with this id goes on.")] = "fail"
    on_reuse: Annotated[OnReuse, Field(description="When a run with this id has ended.")] = "allow"
    attributes: Annotated[
        dict[StrictStr, StrictStr | StrictBool | StrictInt | StrictFloat],
        BeforeValidator(_few),
        Field(description="Shown by describe and list."),
    ] = {}
    start_delay: Annotated[
        StrictInt | StrictFloat,
        Field(description="Seconds until the run begins; it is there at once.", ge=0, allow_inf_nan=False),
    ] = 0


class ArgsBody(_Body):
    """The arguments of a signal, a query or an update."""

    args: Args = []


class SignalWithStartBody(_Body):
    """A signal, and the run to begin where none goes on."""

    type: Annotated[Name, Field(description="The name of the saga type, as its host knows it.")]
    args: Args = []
    signal: Annotated[Name, Field(description="The name of the signal's handler.")]
    signal_args: Args = []


class ValueBody(_Body):
    """What a callback is completed with."""

    value: Annotated[Any, Field(description="Any JSON value. The host decodes it by the annotations of the code.")] = (
        None
    )


class ErrorBody(_Body):
    """Why a callback failed."""

    error: Annotated[StrictStr, Field(description="In words.", max_length=10_000)]


class ReasonBody(_Body):
    """Why; kept in the history."""

    reason: StrictStr = ""


class ByBody(_Body):
    """Who; kept in the history."""

    by: StrictStr = ""
