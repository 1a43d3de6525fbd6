"""Options of the commands, and the choices they leave: ``--help`` imports no numerical package."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from degmm.cli.config import use_config
from degmm.untrusted import MOST_DIGITS


class Model(StrEnum):
    """Models of ``degmm fit`` and ``degmm select``."""

    GMM = "gmm"
    EGMM = "egmm"
    DGMM = "dgmm"
    DEGMM = "degmm"


class CovarianceType(StrEnum):
    """Names in ``degmm.families.STRUCTURES``."""

    FULL = "full"
    DIAG = "diag"
    SPHERICAL = "spherical"
    TIED = "tied"


class Encoder(StrEnum):
    """Names in ``degmm.nets.ENCODERS``."""

    MOMENTS = "moments"
    MLP = "mlp"
    DEEP_SETS = "deep_sets"
    SET_TRANSFORMER = "set_transformer"


class ProjectionChoice(StrEnum):
    """Names in ``degmm.projections.registry.PROJECTIONS``."""

    LINEAR = "linear"
    AUTOENCODER = "autoencoder"


class Objective(StrEnum):
    """Names in ``degmm.inference.objectives.OBJECTIVES``."""

    ELBO = "elbo"
    LIKELIHOOD = "likelihood"


class Gate(StrEnum):
    """Names in ``degmm.calibration.regimes.GATES``, the default of the command first."""

    DEEP = "deep"
    MIXTURE = "mixture"


class Family(StrEnum):
    """Names in ``degmm.calibration.FAMILIES``."""

    NORMAL = "normal"
    TRUNCATED_NORMAL = "truncated_normal"
    CENSORED_LOGISTIC = "censored_logistic"
    CENSORED_GAMMA = "censored_gamma"


class Format(StrEnum):
    """Formats of pictures."""

    PNG = "png"
    PDF = "pdf"
    SVG = "svg"


class DrawnCovariance(StrEnum):
    """How ``degmm compare`` and ``degmm simulate`` draw the true covariances."""

    DIAGONAL = "diagonal"
    FULL = "full"


def _option(panel: str, *names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def _sized(value: int) -> int:
    """See that a record of the run can hold a seed."""
    if value >= 10**MOST_DIGITS:
        raise typer.BadParameter(f"expected an integer of at most {MOST_DIGITS} digits")
    return value


DATA, MIXTURE, DEEP, RUN = "Data", "Mixture", "Deep models (dgmm, degmm)", "Run"
CALIBRATION = "Calibration"

InputFile = Annotated[
    Path,
    typer.Argument(
        help="NetCDF, Zarr, GRIB, CSV, Parquet or npz, with members.", metavar="FILE", show_default=False
    ),
]
OutputFolder = Annotated[Path, _option(RUN, "-o", "--output", help="Folder for the results.")]
PictureFormat = Annotated[Format, _option(RUN, "--format", help="Format of the pictures.")]
Progress = Annotated[bool, _option(RUN, "--progress/--no-progress", help="Show the progress of training.")]
Seed = Annotated[int, _option(RUN, "--seed", min=0, callback=_sized, help="Seed of the data and the fits.")]
ModelChoice = Annotated[Model, _option(MIXTURE, "--model", help="Which mixture, and how it is fitted.")]


@dataclass(frozen=True)
class SessionOptions:
    """How a command is told what to do, and what it says."""

    config: Annotated[
        Path | None,
        _option(
            RUN,
            "--config",
            help="TOML file with any of these options, as every output folder holds; flags go before it.",
            callback=use_config,
            is_eager=True,
        ),
    ] = None
    as_json: Annotated[
        bool, _option(RUN, "--json", help="Print the tables as JSON, for scripts, and nothing else.")
    ] = False
    quiet: Annotated[bool, _option(RUN, "-q", "--quiet", help="Print warnings and errors alone.")] = False
    verbose: Annotated[bool, _option(RUN, "-v", "--verbose", help="Print versions and seconds too.")] = False


@dataclass(frozen=True)
class DataOptions:
    """How a file is read: what is a member, a case, a variable."""

    variables: Annotated[
        list[str] | None,
        _option(DATA, "--variable", help="A variable to keep, by name; may be repeated.", show_default="all"),
    ] = None
    member_dim: Annotated[
        str | None,
        _option(
            DATA,
            "--member-dim",
            help="Name of the member dimension, or of a table's column.",
            show_default="found in the file",
        ),
    ] = None
    feature_dims: Annotated[
        list[str] | None,
        _option(
            DATA,
            "--feature-dim",
            help="A dimension, such as lat, whose points are variables and not cases; may be repeated.",
        ),
    ] = None
    member_columns: Annotated[
        list[str] | None,
        _option(
            DATA,
            "--member-columns",
            help="A table's columns of members, by name or as '*oclock'; may be repeated. "
            "[default: VARIABLE_m01, …]",
        ),
    ] = None
    group: Annotated[
        str | None,
        _option(
            DATA,
            "--group",
            help="Group of a NetCDF-4 or Zarr file in which the variables lie.",
            show_default="the root, or the only one",
        ),
    ] = None
    missing: Annotated[
        list[float] | None,
        _option(DATA, "--missing", help="A number that stands for a missing value: -999; may be repeated."),
    ] = None
    observation: Annotated[
        str | None,
        _option(DATA, "--observation", help="Name of the observations.", show_default="found by name"),
    ] = None
    control: Annotated[
        str | None,
        _option(DATA, "--control", help="Label of a member that is a control run, to leave it out."),
    ] = None


Anomalies = Annotated[
    str | None,
    _option(
        DATA,
        "--anomalies",
        help="Take off the seasonal cycle first: dayofyear or month, and after commas coordinates whose "
        "labels have a cycle each, as dayofyear,station.",
    ),
]
Context = Annotated[
    list[str] | None,
    _option(
        DEEP,
        "--context",
        help="What the clusters' weights may depend on: season, or a coordinate such as lead or station; "
        "may be repeated.",
    ),
]


@dataclass(frozen=True)
class MixtureOptions:
    """The mixture and its search, by the names of the estimators' arguments."""

    member_model: Annotated[
        str,
        _option(
            MIXTURE,
            "--member-model",
            help="How members depend on each other, given the cluster: independent or shared-centre.",
        ),
    ] = "independent"
    covariance_type: Annotated[
        CovarianceType, _option(MIXTURE, "--covariance-type", help="Structure of the covariances.")
    ] = CovarianceType.FULL
    n_init: Annotated[int, _option(MIXTURE, "--n-init", min=1, help="Number of starts of a fit.")] = 64


@dataclass(frozen=True)
class DeepOptions:
    """Networks and their training, by the names of the estimators' arguments."""

    max_epochs: Annotated[
        int, _option(DEEP, "--num_epochs", "--num-epochs", min=1, help="Epochs of the training.")
    ] = 1000
    encoder: Annotated[Encoder, _option(DEEP, "--encoder", help="Network of degmm.")] = Encoder.MOMENTS
    objective: Annotated[Objective, _option(DEEP, "--objective", help="What is maximised.")] = Objective.ELBO
    projection: Annotated[
        ProjectionChoice | None,
        _option(DEEP, "--projection", help="Learned map of members to few numbers.", show_default="none"),
    ] = None
    latent_dim: Annotated[
        int | None, _option(DEEP, "--latent-dim", min=1, help="Numbers that a projection leaves.")
    ] = None
    batch_size: Annotated[
        int | None,
        _option(DEEP, "--batch-size", min=1, help="Ensembles in a batch.", show_default="all in one"),
    ] = None
    n_networks: Annotated[
        int, _option(DEEP, "--n-networks", min=1, help="Networks trained side by side; the best is kept.")
    ] = 1
    member_subsets: Annotated[
        int,
        _option(
            DEEP,
            "--member-subsets",
            min=0,
            help="Random subsets of its members in which degmm also sees each ensemble.",
        ),
    ] = 0
    validation_fraction: Annotated[
        float,
        _option(
            DEEP,
            "--validation-fraction",
            help="Share of the ensembles, below 1, kept out to stop the training early.",
        ),
    ] = 0.0
    patience: Annotated[
        int, _option(DEEP, "--patience", min=1, help="Epochs without a better one before that stop.")
    ] = 100
    checkpoint: Annotated[
        Path | None,
        _option(
            DEEP,
            "--checkpoint",
            help="Folder from which a training that was stopped goes on.",
            show_default="none",
        ),
    ] = None


@dataclass(frozen=True)
class CalibrationOptions:
    """What is calibrated how, and on which cases it is judged."""

    gate: Annotated[
        Gate,
        _option(
            CALIBRATION,
            "--gate",
            help="Who finds the regimes: deep, networks that learn kinds of forecast error, or mixture, "
            "clusters of the ensembles.",
        ),
    ] = Gate.DEEP
    family: Annotated[
        Family,
        _option(CALIBRATION, "--family", help="Distribution of the forecasts; all but normal from 0 up."),
    ] = Family.NORMAL
    context_of: Annotated[
        list[str] | None,
        _option(
            CALIBRATION,
            "--context",
            help="What else forecasts depend on: season, or a coordinate such as station; may be repeated; "
            "none for nothing.",
            show_default="the file's own, or season if dates of the training cover the year",
        ),
    ] = None
    n_networks: Annotated[
        int,
        _option(
            CALIBRATION, "--n-networks", min=1, help="Networks of --gate deep; their forecasts are averaged."
        ),
    ] = 5
    train: Annotated[
        float | None,
        _option(
            CALIBRATION,
            "--train",
            help="Share of the cases, the first in time, for the fits; the others are the test.",
            show_default="two thirds",
        ),
    ] = None
    split: Annotated[
        str | None,
        _option(
            CALIBRATION, "--split", help="Date at which the test begins, instead of --train: 2010-01-01."
        ),
    ] = None
    folds: Annotated[
        int,
        _option(
            CALIBRATION,
            "--folds",
            min=0,
            help="Blocks of consecutive cases of the training, for forecasts of held-out ones; 0 for none.",
        ),
    ] = 5
