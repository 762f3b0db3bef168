"""The verb that says why: for all test slides, for one case, or what was cut from the slides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from axilla.cli_running import Exclude, StudyFile, run_study
from axilla.console import ConsoleReporter, say


def explain(
    study: StudyFile,
    exclude_failed: Exclude = False,
    patient: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="Explain this patient only, on a page of the case's own: heat maps of every "
            "slide, and where a method looks at nuclei, what they say.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="With --patient: where to write the page; explained/<patient>.html in the "
            "study's folder without it. The numbers come beside it, as .json.",
        ),
    ] = None,
    *,
    audit: Annotated[
        bool,
        typer.Option(
            "--audit",
            help="Draw outlines and patches, kept and dropped, over every slide instead; needs no "
            "training. A slide whose annotation cannot be read is shown alone, one that cannot be "
            "opened is named.",
        ),
    ] = False,
) -> None:
    """Draw attention and contributions over every test slide, or of one patient."""
    if audit and patient is not None:
        raise typer.BadParameter("--audit draws all slides: leave out --patient")
    if out is not None and patient is None:
        raise typer.BadParameter("--out goes with --patient")
    if audit:
        _audit(study)
        return
    case = None
    if patient is not None:
        from axilla.core.config import load_config
        from axilla.study.case_asking import Case, refuse_case

        case = Case(patient, out)
        refuse_case(load_config(study), case)  # before the heavy imports: told at once
    run_study(study, until="explain", exclude_failed=exclude_failed, case=case)


def _audit(study: Path) -> None:
    from axilla.core.config import load_config

    config = load_config(study)
    from axilla.study.auditing import audit_slides

    page = audit_slides(config, reporter=ConsoleReporter())
    if page is not None:
        say(f"Look at: {page.resolve()}")
