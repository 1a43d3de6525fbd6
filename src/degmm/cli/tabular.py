"""Files that a command writes in the form that their names ask for."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from degmm.ensembles.storable import storable_table
from degmm.files import writable_folder
from degmm.folders import write_result
from degmm.results import netcdf_bytes

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

TABLES = (".csv", ".csv.gz", ".parquet")


def form_of(path: Path, forms: tuple[str, ...]) -> str:
    """Return which of the forms a file's name asks for.

    Raises
    ------
    ValueError
        If it is none of them.
    """
    form = next((form for form in forms if path.name.lower().endswith(form)), None)
    if form is None or path.name.lower() == form:
        raise ValueError(f"output: expected the name of a file that ends in {', '.join(forms)}; got {path}")
    return form


def write(path: Path, content: bytes) -> None:
    """Write a file, in a folder that is made if it is not there."""
    writable_folder(path.parent, path.name)
    write_result(path, content)


def write_dataset(path: Path, dataset: "xr.Dataset") -> None:
    """Write a Dataset as NetCDF."""
    write(path, netcdf_bytes(dataset))


def write_table(path: Path, table: "pd.DataFrame", form: str) -> None:
    """Write a table as CSV, also compressed, or as Parquet."""
    buffer = io.BytesIO()
    if form == ".parquet":
        try:
            table.to_parquet(buffer, index=False)
        except (TypeError, ValueError, NotImplementedError):  # pyarrow's, of labels of several types
            buffer = io.BytesIO()
            storable_table(table).to_parquet(buffer, index=False)
    else:
        # Without the time of day in its head the same table is the same file.
        compression = {"method": "gzip", "mtime": 0} if form == ".csv.gz" else None
        table.to_csv(buffer, index=False, compression=compression)
    write(path, buffer.getvalue())
