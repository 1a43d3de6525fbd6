"""Options that commands share, and the choices they leave: ``--help`` imports no numerical package."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


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


class Format(StrEnum):
    """Formats of pictures."""

    PNG = "png"
    PDF = "pdf"
    SVG = "svg"


class DrawnCovariance(StrEnum):
    """How ``degmm compare`` draws the true covariances."""

    DIAGONAL = "diagonal"
    FULL = "full"


InputFile = Annotated[Path, typer.Argument(help="NetCDF file with a member dimension.", show_default=False)]
Variables = Annotated[
    list[str] | None,
    typer.Option("--variable", help="A variable to keep, by name; may be repeated. [default: all]"),
]
MemberDimension = Annotated[
    str | None, typer.Option(help="Name of the member dimension. [default: found in the file]")
]
ModelChoice = Annotated[Model, typer.Option(help="Which mixture, and how it is fitted.")]
MemberModel = Annotated[
    str,
    typer.Option(help="How members depend on each other, given the cluster: independent or shared-centre."),
]
CovarianceChoice = Annotated[CovarianceType, typer.Option(help="Structure of the covariances.")]
Starts = Annotated[int, typer.Option(min=1, help="Number of starts of a fit.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the data and the fits.")]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Ensembles in a batch of a deep model. [default: all in one]")
]
LatentProjection = Annotated[
    ProjectionChoice | None,
    typer.Option(
        "--projection", help="Learned map of members to few numbers, for a deep model. [default: none]"
    ),
]
LatentDimension = Annotated[int | None, typer.Option(min=1, help="Numbers that a projection leaves.")]
Networks = Annotated[int, typer.Option(min=1, help="Networks trained side by side; the best is kept.")]
MemberSubsets = Annotated[
    int, typer.Option(min=0, help="Random subsets of its members in which degmm also sees each ensemble.")
]
ValidationFraction = Annotated[
    float, typer.Option(help="Share of the ensembles, below 1, kept out to stop the training early.")
]
Patience = Annotated[int, typer.Option(min=1, help="Epochs without a better one before that stop.")]
Checkpoint = Annotated[
    Path | None, typer.Option(help="Folder from which a training that was stopped goes on. [default: none]")
]
PictureFormat = Annotated[Format, typer.Option(help="Format of the pictures.")]
