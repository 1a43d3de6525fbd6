"""Messages in the words of the command line: flags in place of Python's argument names."""

import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

ANALYSIS_FLAGS = {
    "n_components": "--K",
    "covariance_type": "--covariance-type",
    "member_model": "--member-model",
    "n_init": "--n-init",
    "random_state": "--seed",
    "variables": "--variable",
    "member_dim": "--member-dim",
    "output": "--output",
    "format": "--format",
}
FIT_FLAGS = ANALYSIS_FLAGS | {
    "max_epochs": "--num_epochs",
    "encoder": "--encoder",
    "objective": "--objective",
    "projection": "--projection",
    "latent_dim": "--latent-dim",
    "batch_size": "--batch-size",
    "n_networks": "--n-networks",
    "member_subsets": "--member-subsets",
    "validation_fraction": "--validation-fraction",
    "patience": "--patience",
    "checkpoint": "--checkpoint",
}
SELECT_FLAGS = ANALYSIS_FLAGS | {
    "components": "--K",
    "cv": "--folds",
    "n_splits": "--folds",
    "n_jobs": "--jobs",
}
COMPARE_FLAGS = {
    "n": "--n",
    "M": "--M",
    "D": "--D",
    "K": "--K",
    "num_epochs": "--num_epochs",
    "seed": "--seed",
    "output": "--output",
    "covariance": "--covariance",
    "format": "--format",
}


def translated(message: str, flags: Mapping[str, str]) -> str:
    """Return a message with arguments' names replaced by flags.

    A name is one where it heads a sentence (``encoder: expected …``) or is given a value
    (``encoder='mlp'``). Names with an underscore are no English words and are replaced anywhere,
    except inside a path.
    """
    message = message.replace(" to read_ensemble", "")
    for name, flag in flags.items():
        literal = flag.replace("\\", r"\\")  # as a replacement, where a path may hold backslashes
        message = re.sub(rf"(^|: ){name}(?=: )", rf"\g<1>{literal}", message)
        message = re.sub(rf"(?<![\w./\\-]){name}='?([^'\s;,)]+)'?", rf"{literal} \1", message)
        if "_" in name:
            message = re.sub(rf"(?<![\w./\\-]){name}(?![\w/\\-]|\.\w)", literal, message)
    return message


@contextmanager
def in_flags(flags: Mapping[str, str]) -> Iterator[None]:
    """Translate what the user is told while the context is open: mistakes, and warnings of fits."""
    from sklearn.exceptions import ConvergenceWarning

    def tell(message: Warning | str, *_: Any, **__: Any) -> None:
        sys.stderr.write(f"degmm: warning: {translated(str(message), flags)}\n")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", ConvergenceWarning)
            warnings.showwarning = tell  # restored by catch_warnings
            yield
    except ValueError as error:
        raise ValueError(translated(str(error), flags)) from error
