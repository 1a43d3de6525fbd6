"""The commands."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from degmm import __version__
from degmm.cli.options import (
    BatchSize,
    Checkpoint,
    CovarianceChoice,
    CovarianceType,
    DrawnCovariance,
    Encoder,
    Format,
    InputFile,
    LatentDimension,
    LatentProjection,
    MemberDimension,
    MemberModel,
    MemberSubsets,
    Model,
    ModelChoice,
    Networks,
    Objective,
    Patience,
    PictureFormat,
    Seed,
    Starts,
    ValidationFraction,
    Variables,
)

app = typer.Typer(
    name="degmm",
    help="Cluster ensembles of exchangeable members with Gaussian mixtures, by EM and by deep inference.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def run(app: typer.Typer, arguments: list[str] | None) -> None:
    """Run a command and turn a user's mistake into one sentence and exit code 2."""
    try:
        app(args=arguments)
    except (ValueError, ImportError) as error:
        _end(str(error), 2)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(f"{where}{error.strerror or error}", 2)
    except MemoryError as error:
        _end(f"not enough memory{f' ({error})' if str(error) else ''}; ask for fewer or smaller ensembles", 2)
    except KeyboardInterrupt:
        _end("interrupted", 130)


def _end(sentence: str, code: int) -> None:
    sys.stderr.write(f"degmm: {sentence}\n")
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
def compare(
    n: Annotated[int, typer.Option("--n", min=1, help="Number of ensembles.")] = 1000,
    members: Annotated[int, typer.Option("--M", min=1, help="Members of an ensemble.")] = 10,
    dimensions: Annotated[int, typer.Option("--D", min=1, help="Variables of a member.")] = 2,
    components: Annotated[int, typer.Option("--K", min=1, help="Number of clusters.")] = 3,
    num_epochs: Annotated[
        int, typer.Option("--num_epochs", "--num-epochs", min=1, help="Epochs of the deep models.")
    ] = 1000,
    seed: Seed = 0,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the pictures.")] = Path(
        "figures"
    ),
    covariance: Annotated[
        DrawnCovariance, typer.Option(help="Covariances drawn.")
    ] = DrawnCovariance.DIAGONAL,
    progress: Annotated[bool, typer.Option(help="Show the progress of training.")] = False,
    format: PictureFormat = Format.PNG,
) -> None:
    """Compare all models on generated ensembles: table and pictures."""
    from degmm.cli.compare import run_comparison

    run_comparison(
        n,
        members,
        dimensions,
        components,
        num_epochs,
        seed,
        output,
        covariance.value,
        progress,
        format.value,
    )


# The settings bear the names of the estimators' arguments, so that those given can be told apart.
@app.command()
def fit(
    context: typer.Context,
    file: InputFile,
    model: ModelChoice = Model.EGMM,
    n_components: Annotated[int, typer.Option("--K", min=1, help="Number of clusters.")] = 3,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for model, clusters and picture.")
    ] = Path("out"),
    variables: Variables = None,
    member_dim: MemberDimension = None,
    member_model: MemberModel = "independent",
    covariance_type: CovarianceChoice = CovarianceType.FULL,
    n_init: Starts = 64,
    max_epochs: Annotated[
        int, typer.Option("--num_epochs", "--num-epochs", min=1, help="Epochs of a deep model.")
    ] = 1000,
    encoder: Annotated[Encoder, typer.Option(help="Network of degmm.")] = Encoder.MOMENTS,
    objective: Annotated[Objective, typer.Option(help="Objective of a deep model.")] = Objective.ELBO,
    projection: LatentProjection = None,
    latent_dim: LatentDimension = None,
    batch_size: BatchSize = None,
    n_networks: Networks = 1,
    member_subsets: MemberSubsets = 0,
    validation_fraction: ValidationFraction = 0.0,
    patience: Patience = 100,
    checkpoint: Checkpoint = None,
    random_state: Seed = 0,
    progress: Annotated[bool, typer.Option(help="Show the progress of training.")] = True,
    format: PictureFormat = Format.PNG,
) -> None:
    """Fit a mixture to the ensembles of a file: clusters, model and picture."""
    from degmm.cli.fit import run_fit

    settings: dict[str, Any] = {
        "n_components": n_components,
        "covariance_type": covariance_type.value,
        "member_model": member_model,
        "n_init": n_init,
        "max_epochs": max_epochs,
        "encoder": encoder.value,
        "objective": objective.value,
        "projection": None if projection is None else projection.value,
        "latent_dim": latent_dim,
        "batch_size": batch_size,
        "n_networks": n_networks,
        "member_subsets": member_subsets,
        "validation_fraction": validation_fraction,
        "patience": patience,
        "checkpoint": checkpoint,
        "random_state": random_state,
        "progress": progress,
    }
    given = [name for name in settings if _is_given(context, name)]
    run_fit(file, model.value, output, variables, member_dim, settings, given, format.value)


@app.command()
def select(
    context: typer.Context,
    file: InputFile,
    components: Annotated[
        str, typer.Option("--K", help="Numbers of clusters: 1:8 (both ends), 1:8:2 or 2,4,6.")
    ] = "1:8",
    model: ModelChoice = Model.EGMM,
    member_model: MemberModel = "independent",
    covariance_type: CovarianceChoice = CovarianceType.FULL,
    variables: Variables = None,
    member_dim: MemberDimension = None,
    folds: Annotated[
        int,
        typer.Option(min=0, help="Folds of the cross-validation, blocks of consecutive cases; 0 for none."),
    ] = 5,
    n_init: Starts = 64,
    random_state: Seed = 0,
    jobs: Annotated[int, typer.Option(help="Processes; -1 for one a core.")] = -1,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for table and picture.")] = Path(
        "out"
    ),
    format: PictureFormat = Format.PNG,
) -> None:
    """Compare numbers of clusters on the ensembles of a file: table and picture."""
    from degmm.cli.select import run_select

    settings: dict[str, Any] = {
        "covariance_type": covariance_type.value,
        "member_model": member_model,
        "n_init": n_init,
        "random_state": random_state,
        "progress": False,
    }
    given = [name for name in settings if _is_given(context, name)]
    run_select(
        file,
        model.value,
        components,
        output,
        variables,
        member_dim,
        folds,
        jobs,
        settings,
        given,
        format.value,
    )


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
