"""From an :class:`Ensemble` to a wide table, as :mod:`degmm.ensembles.tables` reads one."""

from typing import TYPE_CHECKING

import numpy as np

from degmm.ensembles.ensemble import Ensemble

if TYPE_CHECKING:
    import pandas as pd


def to_dataframe(data: Ensemble) -> "pd.DataFrame":
    """Return a row a case: its labels, the members ``NAME_m01``, … of each variable, and ``obs_NAME``.

    Members whose labels are no integers are numbered from 1.
    """
    import pandas as pd

    labels = data.member_labels
    numbers = labels if data.members is not None and labels.dtype.kind in "iu" else np.arange(len(labels)) + 1
    columns = {name: np.asarray(values) for name, values in data.coords.items()}
    for d, name in enumerate(data.variables):
        columns |= {f"{name}_m{number:02d}": data.values[:, m, d] for m, number in enumerate(numbers)}
        if data.observations is not None and not np.isnan(data.observations[:, d]).all():
            columns[f"obs_{name}"] = data.observations[:, d]
    return pd.DataFrame(columns)
