"""``degmm fit``: from a file to clusters, a model and a picture."""

import inspect
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from degmm.choices import find
from degmm.cli.fit_picture import draw_fit, names_with_units
from degmm.cli.flags import FIT_FLAGS, in_flags
from degmm.cli.tables import print_table, with_spreads
from degmm.ensembles import Ensemble, as_members, read_ensemble
from degmm.io import HEAD, output_folder, save, write_bytes
from degmm.results import clusters_netcdf, present_cases
from degmm.wording import counted

CLUSTERS = "clusters.nc"


def run_fit(
    file: Path,
    model_name: str,
    output: Path,
    variables: Sequence[str] | None,
    member_dim: str | None,
    settings: dict[str, Any],
    given: Collection[str] = (),
    format: str = "png",
) -> None:
    """Read, report, fit, report, write.

    ``settings`` are arguments of the estimators by name, and ``given`` the names of those that the
    user gave; of the others a model takes what it has.
    """
    with in_flags(FIT_FLAGS | {"X": str(file)}):
        model = _model(model_name, settings, given)
        data = read_ensemble(file, variables=variables, member_dim=member_dim)
        _fit(file, model, data, output, f"clusters.{format}")


def _fit(file: Path, model: Any, data: Ensemble, output: Path, picture: str) -> None:
    _check_values(file, data)
    try:
        kept = data.dropna()
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    with output_folder(output, HEAD, CLUSTERS, picture):
        _report_data(file, data, kept)
        members = _members_seen(file, model, kept)
        model.fit(members)
        # Made before the first file is written: what cannot be stored leaves no half of the results.
        clusters = clusters_netcdf(data, present_cases(data), model.labels_, model.predict_proba(members))
        _report_clusters(model, kept)
        save(model, output)
        write_bytes(output / CLUSTERS, clusters)
        draw_fit(output / picture, kept, model)
    print(f"wrote {output / HEAD} (and its arrays), {output / CLUSTERS}, {output / picture}")


def _members_seen(file: Path, model: Any, kept: Ensemble) -> np.ndarray:
    members = kept.values[:, :1] if model._single_member else kept.values
    if members.shape[1] < kept.n_members:
        print(f"{type(model).__name__} sees the first member of each ensemble")
        gaps = int(np.isnan(members).any(axis=(1, 2)).sum())
        if gaps:
            raise ValueError(
                f"{file}: the first member is missing in {counted(gaps, 'ensemble')}; use --model egmm"
            )
    return members


def _model(name: str, settings: dict[str, Any], given: Collection[str]) -> Any:
    import degmm
    from degmm.families import FAMILIES

    member_models = {key.replace("_", "-"): key for key in FAMILIES}
    member_model = find("member_model", settings["member_model"].replace("_", "-"), member_models)
    settings = settings | {"member_model": member_model}
    estimator = getattr(degmm, name.upper())
    known = inspect.signature(estimator.__init__).parameters
    for setting in given:
        # Whether to show progress is no setting of the model: one that shows none obeys.
        if setting not in known and setting != "progress":
            raise ValueError(f"{setting}: model {name} has no such option")
    return estimator(**{key: value for key, value in settings.items() if key in known})


def _check_values(file: Path, data: Ensemble) -> None:
    """Check the values while cases have their places in the file, before those without members go."""
    present = present_cases(data)
    values = data.values if present.all() else np.where(present[:, None, None], data.values, 0)
    as_members(values, name=str(file))


def _report_data(file: Path, data: Ensemble, kept: Ensemble) -> None:
    print(f"{file}: {'; '.join(data.notes)}")
    print(
        f"n = {counted(len(kept), 'ensemble')}, M = {counted(kept.n_members, 'member')}, "
        f"D = {counted(kept.n_features, 'variable')}"
    )
    dropped_members = int((kept.n_members - kept.counts).sum())
    print(
        f"dropped for missing values: {len(data) - len(kept)} of {counted(len(data), 'ensemble')} "
        f"(no member left), and {counted(dropped_members, 'single member')} of the others"
    )
    if len(kept) < len(data) or dropped_members:
        print(f"missing values: {data.missing()}")


def _report_clusters(model: Any, kept: Ensemble) -> None:
    name, deep = type(model).__name__, hasattr(model, "kl_")
    print(f"{name}: {model.result_.value} ({counted(model.n_iter_, 'epoch' if deep else 'iteration')})")
    n_members = int(kept.counts.sum()) if not model._single_member else len(kept)
    print(f"log-likelihood a member: {model.log_likelihood_ / n_members:.4f} nats")
    if deep:
        print(f"KL of the network's γ from the exact posterior: {model.kl_:.2g} nats an ensemble")
    sizes = np.bincount(model.labels_, minlength=model.n_components)
    spreads = np.sqrt(np.diagonal(model.covariances_, axis1=1, axis2=2))
    columns = [with_spreads(model.means_[:, d], spreads[:, d]) for d in range(kept.n_features)]
    rows = [
        (str(k), str(sizes[k]), f"{model.weights_[k]:.3f}", *(column[k] for column in columns))
        for k in range(model.n_components)
    ]
    names = ("cluster", "size", "weight", *names_with_units(kept))
    print_table("clusters: mean ± spread of a member", names, rows)
    empty = [str(k) for k in np.flatnonzero(sizes == 0)]
    if empty:
        which = f"cluster {empty[0]} is" if len(empty) == 1 else f"clusters {', '.join(empty)} are"
        used = model.n_components - len(empty)
        print(f"{which} empty: {used} of {model.n_components} used")
