"""The commands: their arguments, and where each is done."""

import io
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from degmm import __version__
from degmm.cli.groups import grouped
from degmm.cli.options import (
    CALIBRATION,
    Anomalies,
    CalibrationOptions,
    Context,
    DataOptions,
    DeepOptions,
    DrawnCovariance,
    Format,
    InputFile,
    MixtureOptions,
    Model,
    ModelChoice,
    OutputFolder,
    PictureFormat,
    Progress,
    Seed,
    SessionOptions,
)
from degmm.interrupts import CODE, check, watched
from degmm.shortage import SHORT, as_memory_error

app = typer.Typer(
    name="degmm",
    help="Cluster ensembles of exchangeable members with Gaussian mixtures, by EM and by deep inference.",
    epilog="Exit codes: 0 done; 2 a mistake in arguments or data, told in one sentence; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def run(app: typer.Typer, arguments: list[str] | None, program: str = "degmm") -> None:
    """Run a command and turn a user's mistake into one sentence and exit code 2."""
    given = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        # A terminal's encoding may lack a sign, such as ± or γ, and no run ends for that.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    with watched() as watch:
        try:
            code = app(args=given, prog_name=program, obj=[program, *given], standalone_mode=False)
            if code == CODE:  # that of Ctrl-C, where the parser of arguments has seen it
                raise KeyboardInterrupt
            check()
        except BaseException as error:
            # What was asked for ends the command, whatever a library has made of it.
            if watch.asked or isinstance(error, KeyboardInterrupt):
                # Python ends by the signal, in place of a code, where an interrupt came through a text that
                # was executed, as in an import, and none was since.
                exec("")
                _end(watch.sentence(), CODE)
            _tell(error, program)
            raise
    raise SystemExit(code or 0)


def _tell(error: BaseException, program: str) -> None:
    """End with one sentence on what went wrong, if it is of a kind that users meet."""
    error = as_memory_error(error)
    if isinstance(error, ValueError | ImportError):
        _end(str(error), 2)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        _end(f"{where}{error.strerror or error}", 2)
    if isinstance(error, MemoryError):
        said = str(error)
        if not said.startswith(SHORT):
            said = f"not enough memory{f' ({said})' if said else ''}; ask for fewer or smaller ensembles"
        _end(said, 2)
    # What the parser of arguments raises is of no public type in all versions.
    if not hasattr(error, "format_message"):
        return
    message = error.format_message()
    if not message.strip() or "\n" in message.strip():  # the help, where there are no arguments
        sys.stderr.write(message)
        raise SystemExit(2) from None
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    where = getattr(context, "command_path", program)
    if getattr(parameter, "name", None) in (getattr(context, "default_map", None) or {}):
        message = f"--config: {message}"
    _end(f"{message.rstrip('.').replace('Value error, ', '')} ({where} --help says more)", 2)


def _end(sentence: str, code: int) -> NoReturn:
    sys.stderr.write(f"degmm: {' '.join(sentence.split())}\n")
    raise SystemExit(code) from None


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"degmm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Hold the options of all commands."""


@app.command()
@grouped
def compare(
    context: typer.Context,
    session: SessionOptions,
    n: Annotated[int, typer.Option("--n", min=1, help="Number of ensembles.")] = 1000,
    M: Annotated[int, typer.Option("--M", min=1, help="Members of an ensemble.")] = 10,
    D: Annotated[int, typer.Option("--D", min=1, help="Variables of a member.")] = 2,
    K: Annotated[int, typer.Option("--K", min=1, help="Number of clusters.")] = 3,
    num_epochs: Annotated[
        int, typer.Option("--num_epochs", "--num-epochs", min=1, help="Epochs of the deep models.")
    ] = 1000,
    seed: Seed = 0,
    covariance: Annotated[
        DrawnCovariance, typer.Option(help="Covariances drawn.")
    ] = DrawnCovariance.DIAGONAL,
    output: OutputFolder = Path("figures"),
    progress: Progress = False,
    format: PictureFormat = Format.PNG,
) -> None:
    """Compare all models on generated ensembles: table and pictures."""
    from degmm.cli.compare import run_comparison
    from degmm.cli.session import Session

    with Session("compare", context, session) as said:
        settings = {"covariance": covariance.value, "progress": progress, "format": format.value}
        run_comparison(said, output, {"n": n, "M": M, "D": D, "K": K}, num_epochs, seed, settings)


@app.command()
@grouped
def simulate(
    context: typer.Context,
    session: SessionOptions,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="File: .nc, .csv, .csv.gz, .parquet or .npz.")
    ] = Path("data.nc"),
    n: Annotated[int, typer.Option("--n", min=1, help="Number of ensembles, one a day.")] = 1000,
    M: Annotated[int, typer.Option("--M", min=1, help="Members of an ensemble.")] = 10,
    D: Annotated[int, typer.Option("--D", min=1, help="Variables of a member.")] = 2,
    K: Annotated[int, typer.Option("--K", min=1, help="Number of clusters.")] = 3,
    between: Annotated[
        float, typer.Option(min=0, help="Variance of the ensembles' shared centres; 0 for none.")
    ] = 0.0,
    covariance: Annotated[
        DrawnCovariance, typer.Option(help="Covariances drawn.")
    ] = DrawnCovariance.DIAGONAL,
    missing: Annotated[float, typer.Option(min=0, max=1, help="Share of the members that is absent.")] = 0.0,
    seed: Seed = 0,
) -> None:
    """Write a file of ensembles drawn from a random mixture, with the true clusters and observations."""
    from degmm.cli.session import Session
    from degmm.cli.simulate import run_simulation

    with Session("simulate", context, session) as said:
        run_simulation(said, output, (n, M, D, K), seed, covariance.value, between, missing)


@app.command()
@grouped
def describe(
    context: typer.Context,
    file: InputFile,
    data: DataOptions,
    session: SessionOptions,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for pictures and a record.", show_default="none"),
    ] = None,
    format: PictureFormat = Format.PNG,
) -> None:
    """Say what a file holds: cases, members, variables, gaps, control runs, spread and skill."""
    from degmm.cli.describe import run_description
    from degmm.cli.session import Session

    with Session("describe", context, session, {"X": str(file)}) as said:
        run_description(said, file, data, output, format.value)


# The settings bear the names of the estimators' arguments, so that those given can be told apart.
@app.command()
@grouped
def fit(
    context: typer.Context,
    file: InputFile,
    session: SessionOptions,
    data: DataOptions,
    mixture: MixtureOptions,
    deep: DeepOptions,
    anomalies: Anomalies = None,
    context_of: Context = None,
    model: ModelChoice = Model.EGMM,
    n_components: Annotated[int, typer.Option("--K", min=1, help="Number of clusters.")] = 3,
    output: OutputFolder = Path("out"),
    random_state: Seed = 0,
    progress: Progress = True,
    format: PictureFormat = Format.PNG,
) -> None:
    """Fit a mixture to the ensembles of a file: clusters, model and pictures."""
    from degmm.cli.fit import run_fit
    from degmm.cli.session import Session

    settings = vars(mixture) | vars(deep) | {"n_components": n_components, "random_state": random_state}
    settings["progress"] = progress and not (session.quiet or session.as_json)
    called = {"X": str(file), "by": "--anomalies", "context": "--context"}
    with Session("fit", context, session, called) as said:
        run_fit(said, file, data, model.value, settings, anomalies, context_of, output, format.value)


@app.command()
@grouped
def predict(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            help="Output folder of degmm fit or calibrate, or of save(model, …).", metavar="MODEL"
        ),
    ],
    file: InputFile,
    session: SessionOptions,
    data: DataOptions,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="File: .nc, .csv, .csv.gz or .parquet.",
            show_default="clusters.nc, or forecast.nc of a calibration",
        ),
    ] = None,
) -> None:
    """Tell the clusters, or calibrated forecasts, of new ensembles, read as those of the fit were."""
    from degmm.cli.predict import run_prediction
    from degmm.cli.session import Session

    with Session("predict", context, session, {"X": str(file)}) as said:
        run_prediction(said, model, file, data, output)


@app.command()
@grouped
def select(
    context: typer.Context,
    file: InputFile,
    session: SessionOptions,
    data: DataOptions,
    mixture: MixtureOptions,
    deep: DeepOptions,
    anomalies: Anomalies = None,
    components: Annotated[
        str, typer.Option("--K", help="Numbers of clusters: 1:8 (both ends), 1:8:2 or 2,4,6.")
    ] = "1:8",
    model: ModelChoice = Model.EGMM,
    folds: Annotated[
        int,
        typer.Option(min=0, help="Folds of the cross-validation, blocks of consecutive cases; 0 for none."),
    ] = 5,
    random_state: Seed = 0,
    jobs: Annotated[int, typer.Option(help="Processes; -1 for one a core.")] = -1,
    output: OutputFolder = Path("selection"),
    format: PictureFormat = Format.PNG,
) -> None:
    """Compare numbers of clusters on the ensembles of a file: table and picture."""
    from degmm.cli.select import run_select
    from degmm.cli.session import Session

    settings = vars(mixture) | vars(deep) | {"random_state": random_state, "progress": False}
    called = {"n_components": "--K", "cv": "--folds", "n_splits": "--folds", "n_jobs": "--jobs"}
    called |= {"X": str(file), "by": "--anomalies"}
    with Session("select", context, session, called) as said:
        run_select(
            said, file, data, model.value, settings, anomalies, components, folds, jobs, output, format.value
        )


@app.command()
@grouped
def calibrate(
    context: typer.Context,
    session: SessionOptions,
    data: DataOptions,
    calibration: CalibrationOptions,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="NetCDF, Zarr, GRIB, CSV, Parquet or npz, with members and observations.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo",
            help="Take generated forecasts of a chaotic system instead of a file.",
            rich_help_panel=CALIBRATION,
        ),
    ] = False,
    components: Annotated[
        str,
        typer.Option(
            "--K",
            help="Number of regimes; of several, as 1:8, the one of least CRPS in --folds.",
            rich_help_panel=CALIBRATION,
        ),
    ] = "4",
    output: OutputFolder = Path("calibration"),
    random_state: Seed = 0,
    format: PictureFormat = Format.PNG,
) -> None:
    """Calibrate forecasts by regime: scores beside EMOS and the raw ensemble, pictures, model, report."""
    from degmm.cli.calibrate import run_calibration
    from degmm.cli.session import Session

    called = {"X": "--demo" if file is None else str(file), "context": "--context"}
    called |= {"n_components": "--K", "n_blocks": "--folds", "y": "observations"}
    called |= {"at": "--train" if calibration.split is None else "--split"}
    with Session("calibrate", context, session, called) as said:
        run_calibration(said, file, demo, data, calibration, components, random_state, output, format.value)


@app.command()
@grouped
def report(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Output folder of another command.", metavar="FOLDER")],
    session: SessionOptions,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File of the page.", show_default="FOLDER/report.html"),
    ] = None,
) -> None:
    """Make one HTML page of an output folder, to read, send or print."""
    from degmm.cli.session import Session
    from degmm.report import write_report

    with Session("report", context, session) as said:
        said.wrote(write_report(folder, output))


@app.command()
@grouped
def cache(
    context: typer.Context,
    session: SessionOptions,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the programs.")] = False,
) -> None:
    """Say where compiled programs are kept between runs, how many, and clear them."""
    from degmm.cli.cache import run_cache
    from degmm.cli.session import Session

    with Session("cache", context, session) as said:
        run_cache(said, clear)
