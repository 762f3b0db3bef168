"""The command line: thin, and quick to answer because nothing heavy is imported at the top."""

from __future__ import annotations

import json
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from axilla import __version__
from axilla.cli_deploying import add_deploy_commands
from axilla.cli_explaining import explain
from axilla.cli_import import import_checkpoint
from axilla.cli_models import add_model_commands
from axilla.cli_nuclei import add_nuclei_commands
from axilla.cli_planning import add_planning_commands
from axilla.cli_running import (
    BUSY,
    INPUT_ERROR,
    Exclude,
    StudyFile,
    going_on_later,
    run_study,
    tell,
)
from axilla.cli_serving import serve
from axilla.cli_validating import add_validating_commands
from axilla.console import ConsoleReporter, print_problems, say

app = typer.Typer(
    name="axilla",
    help="Predicts axillary lymph node metastasis from the core-needle biopsy slide of the "
    "primary breast tumour. Research use only: not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def check(
    study: Annotated[
        list[Path],
        typer.Argument(
            metavar="study.yaml...",
            help="The study file; of several, also whether their splits contradict each other.",
        ),
    ],
) -> None:
    """List every problem of the inputs, before any computing."""
    from axilla.core.config import load_config

    # Before the heavy imports: its mistakes are told at once.
    configs = [load_config(path) for path in study]
    from axilla.study.chain import check as check_study
    from axilla.study.mix import check_mix

    problems = tuple(
        problem for config in configs for problem in check_study(config, reporter=ConsoleReporter())
    )
    if not problems:
        problems = check_mix(configs)
    if problems:
        print_problems(problems)
        raise typer.Exit(INPUT_ERROR)
    say("No problem found.")


@app.command()
def run(study: StudyFile, exclude_failed: Exclude = False) -> None:
    """Run every step that is not done yet; killed and started again, it goes on."""
    run_study(study, until="report", exclude_failed=exclude_failed)


@app.command()
def tile(study: StudyFile, exclude_failed: Exclude = False) -> None:
    """Cut the slides' regions into patches."""
    run_study(study, until="tile", exclude_failed=exclude_failed)


@app.command()
def embed(study: StudyFile, exclude_failed: Exclude = False) -> None:
    """Compute the features of all patches (and the steps before)."""
    run_study(study, until="embed", exclude_failed=exclude_failed)


@app.command()
def train(study: StudyFile, exclude_failed: Exclude = False) -> None:
    """Train every method (and the steps before)."""
    run_study(study, until="train", exclude_failed=exclude_failed)


@app.command()
def predict(study: StudyFile, exclude_failed: Exclude = False) -> None:
    """Score every patient by every method (and the steps before)."""
    run_study(study, until="predict", exclude_failed=exclude_failed)


@app.command()
def evaluate(
    study: Annotated[
        Path | None, typer.Argument(metavar="[study.yaml]", help="The study file.")
    ] = None,
    *,
    predictions: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]FILE",
            help="Anybody's predictions instead: patient_id, method, cohort, label, score. Given "
            "again, all files come into one table; NAME= names a file's one method, such as "
            "vgg16_bn=a.csv.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write, with --predictions.")] = None,
    threshold: Annotated[
        str,
        typer.Option(
            help="With --predictions: as `threshold:` in study.yaml, such as 0.5 or {npv: 0.9}."
        ),
    ] = "youden-validation",
    prevalence: Annotated[
        list[float] | None,
        typer.Option(
            min=0,
            max=1,
            help="With --predictions: PPV and NPV where this share of patients is "
            "positive, such as 0.2; may be given again.",
        ),
    ] = None,
    exclude_failed: Exclude = False,
) -> None:
    """Measure: metrics.json, tables and figures (and the steps before)."""
    if not predictions:
        if study is None:
            raise typer.BadParameter("give a study.yaml, or --predictions FILE --out DIR")
        run_study(study, until="evaluate", exclude_failed=exclude_failed)
        return
    if study is not None or out is None:
        raise typer.BadParameter("--predictions FILE goes with --out DIR and without a study")
    from axilla.core.config import parse_threshold
    from axilla.core.store import locked
    from axilla.study.evaluating import evaluate_predictions
    from axilla.study.gathering import gather_predictions

    gathered = gather_predictions(predictions)
    # Into a study's folder not while the study runs; a new folder is made only for good figures.
    with locked(out) if out.is_dir() else nullcontext():
        _, files = evaluate_predictions(
            gathered.frame,
            endpoint=gathered.name or out.resolve().name,
            classes=None,
            rule=parse_threshold(threshold),
            thresholds={},
            out=out,
            prevalences=prevalence or (),
        )
    say(f"{len(files)} files written to {out}")


app.command()(explain)
app.command()(serve)


@app.command()
def report(study: StudyFile, exclude_failed: Exclude = False) -> None:
    """Write report.html (and the steps before)."""
    run_study(study, until="report", exclude_failed=exclude_failed)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where to put the cohort and the study.")] = Path(
        "axilla-demo"
    ),
    patients: Annotated[int, typer.Option(min=40, help="Generated patients.")] = 80,
    seed: Annotated[int, typer.Option(help="Of the cohort, the split and the training.")] = 8888,
    open_report: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the report in a browser at the end.")
    ] = True,
) -> None:
    """Generate a cohort and run the whole study on it: no data needed, no real patient in it."""
    from axilla.study.demo import run_demo

    with going_on_later():
        result = run_demo(out, patients=patients, seed=seed, reporter=ConsoleReporter())
    tell(result)
    if open_report and sys.stdout.isatty() and result.report is not None:
        import webbrowser

        webbrowser.open(result.report.resolve().as_uri())


@app.command()
def generate(
    directory: Annotated[Path, typer.Argument(help="The folder to write the cohort to.")],
    patients: Annotated[int, typer.Option(min=1, help="Patients, one slide each.")] = 300,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    mpp: Annotated[
        float, typer.Option(min=0.2, max=1.0, help="µm per pixel of the slides; patches of 64 µm.")
    ] = 1.0,
) -> None:
    """Write a generated cohort: slides, annotations, table and the truth behind them."""
    from axilla.cohorts.synthetic_config import SyntheticConfig
    from axilla.study.demo import generate as generate_now

    generate_now(
        directory,
        patients=patients,
        seed=seed,
        reporter=ConsoleReporter(),
        config=SyntheticConfig.at(mpp),
    )
    say(f"{patients} generated patients in {directory}")


@app.command("import-ucsb")
def import_ucsb(
    images: Annotated[Path, typer.Argument(help="The folder of the UCSB breast images.")],
    table: Annotated[Path, typer.Argument(help="The cohort table to write.")],
) -> None:
    """Write the cohort table of the UCSB breast images from their names."""
    from axilla.cohorts.ucsb import write_ucsb_table

    say(f"{write_ucsb_table(images, table)} images in {table}")


@app.command("import-bcnb")
def import_bcnb(
    directory: Annotated[
        Path,
        typer.Argument(
            help="BCNB as published (WSIs, patient-clinical-data.xlsx), or the authors' patches "
            "with their bag files."
        ),
    ],
    task: Annotated[
        int,
        typer.Option(
            min=0,
            max=4,
            help="0: N0 / N(+); 1: N+(1-2) / N+(>2); 2: all three; 3: N0 / N+(1-2); "
            "4: N0 / N+(>2).",
        ),
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the study; bcnb-task<k> unless given.")
    ] = None,
    tables_only: Annotated[
        bool,
        typer.Option("--tables-only", help="Write tables, split and bags; look for no images."),
    ] = False,
) -> None:
    """Make a study of BCNB, the paper's cohort."""
    from axilla.study.importing import import_bcnb as import_now

    result = import_now(
        directory, out=out or Path(f"bcnb-task{task}"), task=task, tables_only=tables_only
    )
    patients = ", ".join(f"{count:,} {name}" for name, count in result.patients.items())
    if result.patches is not None:
        patients += f"; {result.patches:,} patches in {result.bags:,} bags"
    for note in result.notes:
        say(f"Note: {note}")
    say(f"{sum(result.patients.values()):,} patients ({patients}) in {result.study}")


app.command("import-checkpoint")(import_checkpoint)


@app.command()
def encoders(
    name: Annotated[
        str | None, typer.Argument(help="One encoder only; any timm:<model> too.")
    ] = None,
) -> None:
    """List the encoders, and which can be used here and now; nothing is downloaded."""
    if name is not None:
        from axilla.core.config_encoder import parse_encoder_name

        parse_encoder_name(name)
    from axilla.features.availability import all_encoders, encoder_availability

    found = all_encoders() if name is None else (encoder_availability(name),)
    for one in found:
        side = "as cut" if one.input_px is None else f"{one.input_px} px"
        say(f"{one.name:<14} {'ready' if one.ready else '-':<6} {side:>7} -> {one.features:>6,}")
        say(f"{'':<14} {one.state}")
        say(f"{'':<14} licence, as far as known (the model's card decides): {one.terms}")
    if name is None:
        say("timm:<model>   any model of the library timm, such as timm:vit_small_patch16_224")


@app.command()
def schema() -> None:
    """Print the JSON schema of study.yaml, for editors."""
    from axilla.core.config import StudyConfig

    sys.stdout.write(json.dumps(StudyConfig.model_json_schema(), indent=2) + "\n")


add_model_commands(app)
add_deploy_commands(app)
add_nuclei_commands(app)
add_planning_commands(app)
add_validating_commands(app)


def _version(wanted: bool) -> None:
    if wanted:
        say(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command; a user's mistake is a sentence and exit code 2, never a traceback."""
    from axilla.core.errors import AxillaError, BusyError, InputProblems, Problem, WriteError

    try:
        app()
    except InputProblems as error:
        print_problems(error.problems)
        sys.exit(INPUT_ERROR)
    except BusyError as error:
        print_problems((error.problem,), title="The output folder is in use:")
        sys.exit(BUSY)
    except WriteError as error:
        print_problems((error.problem,), title="The run stopped:")
        sys.exit(INPUT_ERROR)
    except AxillaError as error:
        print_problems((error.problem,))
        sys.exit(INPUT_ERROR)
    except BrokenPipeError:
        # Whoever read our output (`| head`) has seen enough; Python would complain at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        name = error.filename
        problem = Problem(
            cause=f"a file or folder cannot be read or written ({error.strerror or error}).",
            remedy="Check its permissions, the space on the disk and the study's `out:`.",
            file=Path(os.fsdecode(name)) if isinstance(name, str | bytes) else None,
        )
        print_problems((problem,), title="The run stopped:")
        sys.exit(INPUT_ERROR)


if __name__ == "__main__":
    main()
