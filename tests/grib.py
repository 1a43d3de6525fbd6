"""GRIB files for tests, written by ecCodes."""

from pathlib import Path

import numpy as np

GRID = {
    "Ni": 3,
    "Nj": 2,
    "latitudeOfFirstGridPointInDegrees": 50,
    "latitudeOfLastGridPointInDegrees": 49,
    "longitudeOfFirstGridPointInDegrees": 0,
    "longitudeOfLastGridPointInDegrees": 2,
    "iDirectionIncrementInDegrees": 1,
    "jDirectionIncrementInDegrees": 1,
}


def write_grib(
    path: Path, *, members=(0, 1, 2), dates=(20200101, 20200102), names=("2t",), control=False, levels=()
):
    """Write one message a variable, date and member of 2 × 3 points; return the values of the first variable."""
    import eccodes as ec

    values = 280 + np.random.default_rng(0).integers(0, 64, (len(names), len(dates), len(members), 6)) / 4
    with path.open("wb") as file:
        for v, name in enumerate(names):
            for t, date in enumerate(dates):
                for m, member in enumerate(members):
                    grib = ec.codes_grib_new_from_samples("regular_ll_sfc_grib2")
                    keys = {
                        "productDefinitionTemplateNumber": 1,
                        **GRID,
                        **({"dataType": "pf" if member else "cf"} if control else {}),
                        "shortName": name,
                        **({"level": levels[t]} if levels else {}),
                        "dataDate": date,
                        "perturbationNumber": member,
                        "numberOfForecastsInEnsemble": len(members),
                    }
                    for key, value in keys.items():
                        ec.codes_set(grib, key, value)
                    ec.codes_set_values(grib, values[v, t, m])
                    ec.codes_write(grib, file)
                    ec.codes_release(grib)
    return values
