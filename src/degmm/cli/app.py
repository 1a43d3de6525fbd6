"""The commands."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from degmm import __version__

app = typer.Typer(
    name="degmm",
    help="Cluster ensembles of exchangeable members with Gaussian mixtures, by EM and by deep inference.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def run(arguments: list[str] | None) -> None:
    """Run a command and turn a user's mistake into one sentence and exit code 2."""
    try:
        app(args=arguments)
    except (ValueError, ImportError) as error:
        sys.stderr.write(f"degmm: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        sys.stderr.write("degmm: interrupted\n")
        raise SystemExit(130) from None


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
    n: Annotated[int, typer.Option("--n", help="Number of ensembles.")] = 1000,
    members: Annotated[int, typer.Option("--M", help="Members of an ensemble.")] = 10,
    dimensions: Annotated[int, typer.Option("--D", help="Variables of a member.")] = 2,
    components: Annotated[int, typer.Option("--K", help="Number of clusters.")] = 3,
    num_epochs: Annotated[
        int, typer.Option("--num_epochs", "--num-epochs", help="Epochs of the deep models.")
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the data and the models.")] = 0,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the pictures.")] = Path(
        "figures"
    ),
    covariance: Annotated[str, typer.Option(help="Covariances drawn: diagonal or full.")] = "diagonal",
    progress: Annotated[bool, typer.Option(help="Show the progress of training.")] = False,
) -> None:
    """Compare all models on generated ensembles: table and pictures."""
    from degmm.cli.compare import run_comparison

    run_comparison(n, members, dimensions, components, num_epochs, seed, output, covariance, progress)


@app.command()
def fit(
    file: Annotated[Path, typer.Argument(help="NetCDF file with a member dimension.", show_default=False)],
    model: Annotated[str, typer.Option(help="gmm, egmm, dgmm or degmm.")] = "egmm",
    components: Annotated[int, typer.Option("--K", help="Number of clusters.")] = 3,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder for model, clusters and picture.")
    ] = Path("out"),
    variables: Annotated[
        list[str] | None,
        typer.Option("--variable", help="A variable to keep, by name; may be repeated. [default: all]"),
    ] = None,
    member_dim: Annotated[
        str | None, typer.Option(help="Name of the member dimension. [default: found in the file]")
    ] = None,
    member_model: Annotated[
        str, typer.Option(help="How members depend on each other, given the cluster.")
    ] = "independent",
    covariance_type: Annotated[str, typer.Option(help="full, diag, spherical or tied.")] = "full",
    n_init: Annotated[int, typer.Option(help="Number of starts.")] = 64,
    num_epochs: Annotated[
        int, typer.Option("--num_epochs", "--num-epochs", help="Epochs of a deep model.")
    ] = 1000,
    encoder: Annotated[str, typer.Option(help="Network of degmm: moments or mlp.")] = "moments",
    objective: Annotated[str, typer.Option(help="Objective of a deep model: elbo or likelihood.")] = "elbo",
    seed: Annotated[int, typer.Option(help="Seed of the fit.")] = 0,
    progress: Annotated[bool, typer.Option(help="Show the progress of training.")] = True,
) -> None:
    """Fit a mixture to the ensembles of a file: clusters, model and picture."""
    from degmm.cli.fit import run_fit

    settings: dict[str, Any] = {
        "n_components": components,
        "covariance_type": covariance_type,
        "member_model": member_model.replace("-", "_"),
        "n_init": n_init,
        "max_epochs": num_epochs,
        "encoder": encoder,
        "objective": objective,
        "random_state": seed,
        "progress": progress,
    }
    run_fit(file, model, output, variables, member_dim, settings)
