"""What all requests about a new case share: whose it is, what was sent, how mistakes are told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.responses import JSONResponse, Response

from axilla.core.errors import AxillaError, CohortError
from axilla.web.new_cases import NewCase, NewCases
from axilla.web.served import NotThereError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from axilla.web.served import Served

Body = TypeVar("Body", bound=BaseModel)


class Sent(BaseModel):
    """What a page sends as JSON: its own fields, of their own kinds, and no other."""

    model_config = ConfigDict(extra="forbid", strict=True)


def told(error: AxillaError) -> JSONResponse:
    """A mistake in what was given, as a sentence."""
    return JSONResponse({"problem": f"{error.problem.cause} {error.problem.remedy}"}, 422)


def sentences(
    route: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """A route whose mistakes are what somebody has just given, whatever their kind."""

    async def answered(request: Request) -> Response:
        try:
            return await route(request)
        except AxillaError as error:
            return told(error)

    return answered


def new_of(request: Request) -> NewCases:
    """The server's new cases.

    Raises
    ------
    NotThereError
        No model is served to show them to.
    """
    served: Served = request.app.state.served
    if served.new is None:
        raise NotThereError("No model is served: `axilla serve --model MODEL`.")
    return served.new


def case_of(request: Request) -> NewCase:
    """The case that an address names.

    Raises
    ------
    NotThereError
        It is not here, or was deleted.
    """
    new = new_of(request)
    case = new.find(request.path_params["case"])
    if case is None:
        minutes = new.idle_s / 60
        raise NotThereError(
            f"This case is no longer here: cases are deleted {minutes:g} minutes after somebody "
            "last looked at them, and when the server ends."
        )
    return case


def open_case(request: Request) -> NewCase:
    """The case that an address names, as long as what was given to it may change.

    Whoever waited for something looks again: meanwhile the case may have been deleted or asked
    about.

    Raises
    ------
    NotThereError
        It is not here, or was deleted.
    CohortError
        The model was asked already.
    """
    case = case_of(request)
    if case.job is not None and case.job.state not in {"failed", "stopped"}:
        raise CohortError("the model was asked about this case already.", "Begin a new one.")
    return case


async def read_body(request: Request, kind: type[Body]) -> Body:
    """JSON of a request.

    Raises
    ------
    CohortError
        It is not what the page sends.
    """
    try:
        return kind.model_validate(json.loads(await request.body()))
    except (ValueError, ValidationError, RecursionError) as error:
        raise CohortError("this is not what the page sends.", "Reload the page.") from error
