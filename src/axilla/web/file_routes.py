"""What the study wrote besides: its report, model cards and ONNX files, by place, never by path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import Route

from axilla.core.methods import method_title
from axilla.study.model_card import CARD
from axilla.web.pages import page
from axilla.web.served import NotThereError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from axilla.study.opened import OpenedEndpoint
    from axilla.web.served import Served

_REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "sandbox allow-scripts allow-downloads allow-modals"
)
"""The report is one file with its styles and one script in it, whose digest it names itself. In a
sandbox it is of no site, so that nothing in it could ask this server for anything."""
# A card holds what the study's author wrote: no HTML of theirs comes through.
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")


@dataclass(frozen=True, slots=True)
class LinkedModel:
    """One trained model, as the page links it."""

    title: str
    card: str
    """Address of its card."""
    onnx: tuple[tuple[str, str], ...]
    """Address and name of each ONNX file in its folder."""


@dataclass(frozen=True, slots=True)
class LinkedFiles:
    """What the page of an endpoint links to."""

    report: str | None
    models: tuple[LinkedModel, ...]


def files_of(endpoint: OpenedEndpoint, place: int) -> LinkedFiles:
    """The files that are there now."""
    models = []
    for index, (title, folder) in enumerate(model_folders(endpoint)):
        names = [path.name for path in _onnx(folder)]
        models.append(
            LinkedModel(
                title=title,
                card=f"/e/{place}/models/{index}",
                onnx=tuple((f"/e/{place}/models/{index}/onnx/{k}", n) for k, n in enumerate(names)),
            )
        )
    there = endpoint.layout.report.is_file()
    return LinkedFiles(f"/e/{place}/report" if there else None, tuple(models))


async def report(request: Request) -> Response:
    """The report, as it was written."""
    endpoint = _endpoint(request)
    path = endpoint.layout.report
    if not path.is_file():
        raise NotThereError("The report is not written yet: `axilla run study.yaml`.")
    return HTMLResponse(path.read_bytes(), headers={"content-security-policy": _REPORT_POLICY})


async def card(request: Request) -> Response:
    """A model's card."""
    title, folder = _model(request)
    path = folder / CARD
    if not path.is_file():
        raise NotThereError("This model has no card.")
    html = Markup(_MARKDOWN.render(path.read_text(encoding="utf-8")))  # noqa: S704 - html: False
    return page(request, "card.html", title=title, card=html)


async def onnx(request: Request) -> Response:
    """A model as ONNX, to be downloaded."""
    _, folder = _model(request)
    found, place = _onnx(folder), int(request.path_params["file"])
    if place >= len(found):
        raise NotThereError("There is no such file.")
    return FileResponse(
        found[place], media_type="application/octet-stream", filename=found[place].name
    )


def model_folders(endpoint: OpenedEndpoint) -> list[tuple[str, Path]]:
    """Title and folder of each method's model: of the ensemble of folds, where there is one."""
    found = []
    for method in endpoint.methods:
        title, layout = method_title(method), endpoint.layout
        whole = layout.ensemble(method)
        if (whole / CARD).is_file():
            found.append((f"{title}, all folds together", whole))
            continue
        many = len(endpoint.partitions) > 1
        for partition in endpoint.partitions:
            folder = layout.model(method, partition.name)
            if (folder / CARD).is_file():
                found.append((f"{title}, {partition.name}" if many else title, folder))
    return found


def _onnx(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.onnx"))


def _endpoint(request: Request) -> OpenedEndpoint:
    served: Served = request.app.state.served
    return served.endpoint(int(request.path_params["endpoint"]))


def _model(request: Request) -> tuple[str, Path]:
    found, place = model_folders(_endpoint(request)), int(request.path_params["model"])
    if place >= len(found):
        raise NotThereError("There is no such model.")
    return found[place]


ROUTES = [
    Route("/e/{endpoint:int}/report", report),
    Route("/e/{endpoint:int}/models/{model:int}", card),
    Route("/e/{endpoint:int}/models/{model:int}/onnx/{file:int}", onnx),
]
