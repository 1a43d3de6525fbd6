"""``degmm fit``: from a file to clusters, a model and a picture."""

import inspect
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from degmm.choices import find
from degmm.cli.flags import FIT_FLAGS, in_flags
from degmm.cli.tables import print_table
from degmm.ensembles import Ensemble, as_members, read_ensemble
from degmm.io import HEAD, save, writable_folder, write_bytes
from degmm.results import clusters_netcdf, present_cases

CLUSTERS, PICTURE = "clusters.nc", "clusters.png"


def run_fit(
    file: Path,
    model_name: str,
    output: Path,
    variables: Sequence[str] | None,
    member_dim: str | None,
    settings: dict[str, Any],
    given: Collection[str] = (),
) -> None:
    """Read, report, fit, report, write.

    ``settings`` are arguments of the estimators by name, and ``given`` the names of those that the
    user gave; of the others a model takes what it has.
    """
    with in_flags(FIT_FLAGS | {"X": str(file)}):
        model = _model(model_name, settings, given)
        data = read_ensemble(file, variables=variables, member_dim=member_dim)
        _fit(file, model, data, output)


def _fit(file: Path, model: Any, data: Ensemble, output: Path) -> None:
    present = present_cases(data)
    if not present.any():
        raise ValueError(f"{file}: every ensemble has a missing value in each of its members")
    _check_values(file, data, present)
    writable_folder(output, HEAD, CLUSTERS, PICTURE)
    kept = data[present]
    _report_data(file, data, kept)
    members = kept.values[:, :1] if model._single_member else kept.values
    if members.shape[1] < kept.n_members:
        print(f"{type(model).__name__} sees the first member of each ensemble")
        whole = ~np.isnan(members).any(axis=(1, 2))
        if not whole.all():
            raise ValueError(
                f"{file}: the first member is missing in {int((~whole).sum())} ensembles; use --model egmm"
            )
    model.fit(members)
    # Made before the first file is written: what cannot be stored leaves no half of the results.
    clusters = clusters_netcdf(data, present, model.labels_, model.predict_proba(members))
    _report_clusters(model, kept)
    save(model, output)
    write_bytes(output / CLUSTERS, clusters)
    _draw(output / PICTURE, kept, model)
    print(f"wrote {output / HEAD} (and its arrays), {output / CLUSTERS}, {output / PICTURE}")


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


def _check_values(file: Path, data: Ensemble, present: np.ndarray) -> None:
    """Check the values while cases have their places in the file, before those without members go."""
    values = data.values if present.all() else np.where(present[:, None, None], data.values, 0)
    as_members(values, name=str(file))


def _report_data(file: Path, data: Ensemble, kept: Ensemble) -> None:
    print(f"{file}: {'; '.join(data.notes)}")
    print(f"n = {len(kept)} ensembles, M = {kept.n_members} members, D = {kept.n_features} variables")
    dropped_members = int((kept.n_members - kept.counts).sum())
    print(
        f"dropped for missing values: {len(data) - len(kept)} of {len(data)} ensembles "
        f"(no member left), and {dropped_members} single members of the others"
    )


def _report_clusters(model: Any, kept: Ensemble) -> None:
    print(f"{type(model).__name__}: {model.result_.value} ({model.n_iter_} iterations)")
    n_members = int(kept.counts.sum()) if not model._single_member else len(kept)
    print(f"log-likelihood a member: {model.log_likelihood_ / n_members:.4f}")
    spread = np.sqrt(np.diagonal(model.covariances_, axis1=1, axis2=2))
    names = [
        f"{name} [{unit}]" if unit else name
        for name, unit in zip(kept.variables, kept.units or [""] * kept.n_features, strict=True)
    ]
    sizes = np.bincount(model.labels_, minlength=model.n_components)
    rows = [
        (
            str(k),
            str(sizes[k]),
            f"{model.weights_[k]:.3f}",
            *(f"{model.means_[k, d]:.4g} ± {spread[k, d]:.3g}" for d in range(kept.n_features)),
        )
        for k in range(model.n_components)
    ]
    print_table("clusters: mean ± spread of a member", ("cluster", "size", "weight", *names), rows)


def _draw(path: Path, kept: Ensemble, model: Any) -> None:
    from degmm.plotting import Projection, clusters, new_figure, save_figure

    units = kept.units or ("",) * kept.n_features
    labels = [f"{v} [{u}]" if u else v for v, u in zip(kept.variables, units, strict=True)]
    points = np.nanmean(kept.values.astype(np.float64), axis=1)
    figure, (axes,) = new_figure(size=(5.4, 4.4))
    clusters(
        axes,
        points,
        model.labels_,
        weights=model.weights_,
        means=model.means_,
        covariances=model.covariances_,
        projection=Projection.of(points, labels),
        title=f"{type(model).__name__}, K = {model.n_components}: {len(kept)} ensemble means",
    )
    save_figure(figure, path)
