"""Verbs around a validation: how many patients it needs, and probabilities fitted to a site."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from axilla.console import ConsoleReporter, say, say_table


def add_planning_commands(app: typer.Typer) -> None:
    """Give the program these verbs."""
    app.command("sample-size")(sample_size)
    app.command("learning-curve")(learning_curve)
    app.command("recalibrate")(recalibrate)


def sample_size(
    *,
    auc: Annotated[float, typer.Option(help="AUC that the model is expected to have.")],
    prevalence: Annotated[float, typer.Option(help="Share of positive patients, such as 0.38.")],
    width: Annotated[
        float, typer.Option(help="Wanted width of the 95% intervals of AUC and shares.")
    ] = 0.1,
    patients: Annotated[
        int | None, typer.Option(help="Print the widths with so many patients instead.")
    ] = None,
    sensitivity: Annotated[
        float | None, typer.Option(help="Expected at the model's locked threshold.")
    ] = None,
    specificity: Annotated[
        float | None, typer.Option(help="Expected at the model's locked threshold.")
    ] = None,
    oe_width: Annotated[
        float, typer.Option(help="Wanted width of the interval of observed / expected.")
    ] = 0.2,
    slope_width: Annotated[
        float, typer.Option(help="Wanted width of the interval of the calibration slope.")
    ] = 0.2,
) -> None:
    """Print how many patients an external validation of a two-class model needs."""
    from axilla.analysis.sample_size import Assumed, plan_validation
    from axilla.analysis.tables.planning_table import planning_table

    assumed = Assumed(
        auc=auc, prevalence=prevalence, sensitivity=sensitivity, specificity=specificity
    )
    planned = plan_validation(
        assumed, n=patients, width=width, oe_width=oe_width, slope_width=slope_width
    )
    say_table(planning_table(planned))
    if patients is None:
        most = max(planned, key=lambda one: one.n)
        say(f"For all of them: {most.n:,} patients, {most.positives:,} of them positive.")


def learning_curve(
    study: Annotated[Path, typer.Argument(metavar="study.yaml", help="The study file.")],
    *,
    shares: Annotated[
        str, typer.Option(help="Of the training patients, as fractions with commas between.")
    ] = "0.25,0.5,0.75,1",
    repeats: Annotated[int, typer.Option(min=1, help="Other patients each time.")] = 5,
    exclude_failed: Annotated[
        bool,
        typer.Option("--exclude-failed", help="Go on without patients whose inputs are wrong."),
    ] = False,
) -> None:
    """Train on parts of the training patients: what would more patients bring? Test is not read."""
    from axilla.core.config import load_config
    from axilla.core.errors import ConfigError

    config = load_config(study)
    try:
        fractions = [float(share) for share in shares.split(",")]
    except ValueError:
        raise ConfigError(
            f"--shares {shares} is no list of fractions.", "Write it as 0.25,0.5,0.75,1."
        ) from None
    from axilla.analysis.tables.learning_table import learning_table
    from axilla.study.learning import learn_curves

    found = learn_curves(
        config,
        shares=fractions,
        repeats=repeats,
        exclude_failed=exclude_failed,
        reporter=ConsoleReporter(),
    )
    for endpoint, curves in found.items():
        if len(found) > 1:
            say(f"endpoint  {endpoint}")
        say_table(learning_table(curves))


def recalibrate(
    predictions: Annotated[
        Path, typer.Argument(help="Predictions of two classes: patient_id, method, cohort, ...")
    ],
    *,
    on: Annotated[
        str, typer.Option(help="The cohort to fit on: patients of the site with known outcome.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for predictions.csv, recalibration.json.")],
    method: Annotated[
        str, typer.Option(help="intercept, platt or isotonic (500 patients at least).")
    ] = "intercept",
) -> None:
    """Correct probabilities on a site's own sample, and apply that to its other patients."""
    from typing import cast

    from axilla.analysis.recalibration import RecalibrationMethod
    from axilla.study.gathering import gather_predictions
    from axilla.study.recalibrating import (
        correction_sentence,
        recalibrate_predictions,
        sample_note,
        write_recalibrated,
    )

    frame = gather_predictions([str(predictions)]).frame
    # `fit_recalibration` refuses a method that there is not.
    chosen = cast("RecalibrationMethod", method)
    found = recalibrate_predictions(frame, sample=on, method=chosen)
    written, _ = write_recalibrated(found, sample=on, out=out)
    for name, one in found.corrections.items():
        say(correction_sentence(name, one))
    if (note := sample_note(on)) is not None:
        say(f"{note}.")
    say(
        f"{written} holds the other cohorts. Thresholds are of the old probabilities: choose one "
        f"anew, such as `axilla evaluate --predictions {written} --threshold 0.5 --out ...`."
    )
