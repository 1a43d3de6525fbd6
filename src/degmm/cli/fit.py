"""``degmm fit``: from a file to clusters, a model and a picture."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from degmm.cli.tables import print_table
from degmm.ensembles import Ensemble, read_ensemble
from degmm.io import save
from degmm.results import present_cases, write_clusters

MODELS = {"gmm": "GMM", "egmm": "EGMM", "dgmm": "DGMM", "degmm": "DEGMM"}


def run_fit(
    file: Path,
    model_name: str,
    output: Path,
    variables: Sequence[str] | None,
    member_dim: str | None,
    settings: dict[str, Any],
) -> None:
    """Read, report, fit, report, write."""
    model = _model(model_name, settings)
    data = read_ensemble(file, variables=variables, member_dim=member_dim)
    writable_folder(output)
    present = present_cases(data)
    if not present.any():
        raise ValueError(f"{file}: every ensemble has a missing value in each of its members")
    kept = data[present]
    _report_data(file, data, kept)
    members = kept.values[:, :1] if model_name in ("gmm", "dgmm") else kept.values
    if members.shape[1] < kept.n_members:
        print(f"{MODELS[model_name]} sees the first member of each ensemble")
        whole = ~np.isnan(members).any(axis=(1, 2))
        if not whole.all():
            raise ValueError(
                f"{file}: the first member is missing in {int((~whole).sum())} ensembles; use --model egmm"
            )
    model.fit(members)
    labels, responsibilities = model.labels_, model.predict_proba(members)
    _report_clusters(model, kept)
    save(model, output)
    clusters = write_clusters(output / "clusters.nc", data, present, labels, responsibilities)
    picture = _draw(output / "clusters.png", kept, model)
    print(f"wrote {output / 'model.json'} (and its arrays), {clusters}, {picture}")


def writable_folder(folder: Path) -> None:
    """Make a folder and see that it can be written to, before the long work."""
    from degmm.io import write_bytes

    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / ".degmm-writes", b"")
        (folder / ".degmm-writes").unlink()
    except OSError as error:
        raise ValueError(
            f"output: the folder {folder} cannot be written ({error.strerror or error})"
        ) from error


def _model(name: str, settings: dict[str, Any]) -> Any:
    if name not in MODELS:
        raise ValueError(f"model: expected one of {', '.join(MODELS)}; got {name!r}")
    import degmm

    estimator = getattr(degmm, MODELS[name])
    known = inspect.signature(estimator.__init__).parameters
    return estimator(**{key: value for key, value in settings.items() if key in known})


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


def _draw(path: Path, kept: Ensemble, model: Any) -> Path:
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
    return save_figure(figure, path)
