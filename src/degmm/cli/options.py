"""The choices that options leave: names alone, so that ``--help`` imports no numerical package."""

from enum import StrEnum


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
