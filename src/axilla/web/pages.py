"""Pages: templates with everything from data escaped, and what stands on each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

from axilla import __version__
from axilla.report.html import GENERATED_NOTICE, USE_NOTICE

if TYPE_CHECKING:
    from starlette.requests import Request

    from axilla.web.served import Served

_TEMPLATES = Environment(
    loader=PackageLoader("axilla.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def page(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A page with what stands on all of them: navigation, notices, version."""
    served: Served = request.app.state.served
    shared = {
        "navigation": navigation(served),
        "here": request.url.path,
        "study": served.name,
        "generated": served.generated,
        "stale": served.stale,
        "generated_notice": GENERATED_NOTICE,
        "use_notice": USE_NOTICE,
        "version": __version__,
    }
    html = _TEMPLATES.get_template(template).render(**shared | values)
    return HTMLResponse(html, status)


def navigation(served: Served) -> list[tuple[str, str]]:
    """Address and title of the pages that every page leads to."""
    found = [(f"/e/{place}", one.name) for place, one in enumerate(served.endpoints)]
    if len(found) == 1:
        found = [("/e/0", "Study")]
    return found if served.new is None else [*found, ("/new", "New case")]


def message(request: Request, title: str, sentence: str, *, status: int) -> HTMLResponse:
    """A page that says why there is nothing else to see."""
    return page(request, "message.html", status=status, title=title, sentence=sentence)
