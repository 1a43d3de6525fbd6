"""Results of sound inputs that must not change: numbers that an earlier version gave, and this one gives.

``python tests/test_pinned.py`` prints what the version that is imported gives. The pins are those of the commit
c8ec63f, before the faults found in trial were mended; docs/robustness.md lists the changes that were meant.
Starts are given, and the numbers of iterations fixed: neither the search for starts nor a rule of stopping is
pinned here.
"""

import json
import warnings

import numpy as np
import pytest

from degmm import DEGMM, EGMM, GMM
from degmm.calibration import EMOS, Forecast
from degmm.verification import (
    coverage,
    crps_ensemble,
    diebold_mariano,
    energy_score,
    pit,
    rank_counts,
    variogram_score,
)

EXACT = 1e-10
"""Relative, of what is computed in float64 in a given order of steps"""
TRAINED = 1e-6
"""Of a deep fit, whose start is searched for; its exact EM steps lead to the same optimum"""


def members(n=60, M=5, D=2, absent=False):
    """Ensembles of two kinds that overlap, with soft probabilities of the kinds as a start."""
    rng = np.random.default_rng(20)
    kind = np.arange(n) % 2
    centre = 3.0 * kind[:, None] * [1.0, -0.5] + 0.7 * rng.normal(size=(n, D))
    X = 10 + centre[:, None] + (1 + 0.5 * kind)[:, None, None] * rng.normal(size=(n, M, D))
    if absent:
        X[::3, 3:] = np.nan
        X[1, 1:, 0] = np.nan
    start = np.stack([0.2 + 0.6 * kind, 0.8 - 0.6 * kind], axis=1)
    return X, start


def cases(n=150, M=8):
    """Forecasts of a positive quantity, often small, and what was observed."""
    rng = np.random.default_rng(21)
    signal = rng.gamma(1.5, 2, size=n)
    X = np.maximum(signal[:, None] * rng.gamma(6, 1 / 5, size=(n, M)) - 0.8, 0)
    y = np.maximum(signal * rng.gamma(4, 1 / 4, size=n) - 0.8, 0)
    return X, y


def of_mixture(model, X, **options):
    """Return what a fitted mixture says, in a few numbers."""
    found = {
        "log likelihood": model.log_likelihood_,
        "weights": model.weights_,
        "means": model.means_,
        "within": model.within_covariances_,
        "between": model.between_covariances_,
        "score": model.score_samples(X[:3]),
        "gamma": model.predict_proba(X[:3])[:, 0],
        "next": model.predictive(X[:2]).logpdf(np.full((2, X.shape[-1]), 11.0)),
        "bic": model.bic(X, **options),
    }
    return {name: np.ravel(part) for name, part in found.items()}


def em(covariance_type="full", member_model="independent", absent=False):
    X, start = members(absent=absent)
    model = EGMM(
        2, covariance_type=covariance_type, member_model=member_model, init_params=start, tol=0, max_iter=12
    )
    return of_mixture(model.fit(X), X)


def single_members():
    X, start = members()
    weights = 1 + np.arange(len(X)) % 3
    model = GMM(2, init_params=start, tol=0, max_iter=12).fit(X[:, 0], sample_weight=weights)
    return of_mixture(model, X[:, 0], sample_weight=weights)


def deep():
    X, _ = members()
    X = np.where((np.arange(len(X)) % 2 == 1)[:, None, None], X + 8, X)
    model = DEGMM(2, max_epochs=20, polish=30, n_init=4, hidden=(4,), random_state=0).fit(X)
    found = of_mixture(model, X)
    return {name: found[name] for name in ("log likelihood", "weights", "means", "within")}


def emos(family):
    X, y = cases()
    if family == "normal":
        X, y = X + 280, y + 279
    model = EMOS(family, max_iter=4).fit(X, y)
    forecast = model.predict(X[:3])
    return {
        "crps": np.ravel(model.crps_),
        "mean": forecast.mean(),
        "std": forecast.std(),
        "quantiles": np.ravel(forecast.quantile([0.1, 0.5, 0.95])),
        "cdf": forecast.cdf(y[:3]),
    }


def forecasts(family):
    """A mixture of two distributions of a family, whose parameters are given."""
    K = np.array([[0.3, 0.7], [0.6, 0.4]])
    places, scales = np.array([[1.0, 3.0], [0.5, 6.0]]), np.array([[0.5, 1.0], [0.4, 2.0]])
    shifts = {"shifts": np.full((2, 2), 0.2)} if family == "censored_gamma" else {}
    found = Forecast(K, places, scales, family=family, **shifts)
    y = np.array([0.8, 5.0])
    return {
        "mean": found.mean(),
        "std": found.std(),
        "crps": found.crps(y),
        "logpdf": found.logpdf(y),
        "cdf": found.cdf(y),
        "quantiles": np.ravel(found.quantile([0.3, 0.5, 0.95])),
    }


def scores():
    X, y = cases()
    X = X + 0.01 * np.random.default_rng(22).random(X.shape)  # no ties, which random numbers settle
    y = y + 0.005
    pairs = np.stack([X, np.roll(X, 1, axis=0)], axis=2), np.stack([y, np.roll(y, 1)], axis=1)
    found = crps_ensemble(X, y), crps_ensemble(X, y, fair=True)
    test = diebold_mariano(*found)
    held = coverage(X, y, 0.7)
    normal = Forecast(np.ones((len(y), 1)), X.mean(1)[:, None], X.std(1)[:, None] + 0.1)
    return {
        "crps": found[0][:5],
        "fair": found[1][:5],
        "means": [part.mean() for part in found],
        "energy": energy_score(*pairs)[:4],
        "variogram": variogram_score(*pairs)[:4],
        "ranks": rank_counts(X, y),
        "coverage": [held.coverage, held.nominal],
        "pit": pit(normal, y)[:4],
        "diebold_mariano": [test.statistic, test.p_value],
    }


FAMILIES = ("normal", "truncated_normal", "censored_logistic", "censored_gamma")
CASES = {
    "EM, full": em,
    "EM, diag": lambda: em("diag"),
    "EM, spherical": lambda: em("spherical"),
    "EM, tied": lambda: em("tied"),
    "EM, absent members": lambda: em(absent=True),
    "shared centres, full": lambda: em("full", "shared_centre"),
    "shared centres, diag, absent members": lambda: em("diag", "shared_centre", absent=True),
    "single members": single_members,
    "deep": deep,
    **{f"EMOS, {family}": lambda family=family: emos(family) for family in FAMILIES},
    **{f"forecast, {family}": lambda family=family: forecasts(family) for family in FAMILIES},
    "scores": scores,
}


def found_by(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a number of iterations that is fixed is no convergence
        return {name: np.ravel(part).astype(float).tolist() for name, part in CASES[case]().items()}


PINS = json.loads("""{
"EM, full": {"log likelihood": [-1127.77637932454], "weights": [0.541543188046092, 0.458456811953908],
  "means": [12.6887088607912, 8.09169417846697, 9.73001295577533, 9.99017671815277], "within":
  [2.75637738345346, 0.257406213198901, 0.257406213198901, 2.91962257210129, 1.5450786159996,
  -0.130139814952356, -0.130139814952356, 1.76132932909235], "between": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
  0.0], "score": [-15.7455081446718, -20.1986472273909, -15.2399031473721], "gamma": [2.55401137187342e-08,
  0.999999999999995, 2.68090561366369e-05], "next": [-3.21353962970376, -5.01695731900209], "bic":
  [2300.59054883353]},
"EM, diag": {"log likelihood": [-1128.74343860291], "weights": [0.551444773378039, 0.448555226621961],
  "means": [12.6640533159052, 8.11595736777344, 9.69501256411588, 10.0022558950697], "within":
  [2.76394405878135, 0.0, 0.0, 2.91654077184253, 1.4931908551806, 0.0, 0.0, 1.7723768800284], "between":
  [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], "score": [-15.8129123129546, -20.2293564653686,
  -15.1705394223192], "gamma": [1.70191926391822e-07, 1.0, 5.83809660857952e-05], "next": [-3.1755839949846,
  -4.80828673729033], "bic": [2294.33597826582]},
"EM, spherical": {"log likelihood": [-1129.17098012066], "weights": [0.544506980852171, 0.455493019147829],
  "means": [12.6772828481186, 8.09292940891825, 9.72442029492648, 10.0010531028209], "within":
  [2.83963389364215, 0.0, 0.0, 2.83963389364215, 1.64639797795945, 0.0, 0.0, 1.64639797795945], "between":
  [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], "score": [-15.8931522987649, -20.1483675591033,
  -15.1720784979287], "gamma": [1.64282596948057e-07, 0.999999999999996, 5.84894673277514e-05], "next":
  [-3.13366145680341, -4.86496583599361], "bic": [2287.00237217687]},
"EM, tied": {"log likelihood": [-1139.10716488296], "weights": [0.53045374997325, 0.46954625002675],
  "means": [12.7150374101589, 8.06272000150343, 9.77014573773342, 9.97807217310913], "within":
  [2.21435810784716, 0.0900640339939415, 0.0900640339939415, 2.36969267457798, 2.21435810784716,
  0.0900640339939415, 0.0900640339939415, 2.36969267457798], "between": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
  0.0], "score": [-16.6452788411781, -20.2988693770495, -15.9514363605124], "gamma": [4.86641166860399e-09,
  0.999999999961382, 1.41676175611732e-05], "next": [-3.20711294193357, -5.24097112149627], "bic":
  [2310.9690862637]},
"EM, absent members": {"log likelihood": [-964.579556157245], "weights": [0.57291942736549,
  0.42708057263451], "means": [12.6569002813416, 8.28881080730385, 9.55866743613565, 9.9950190039483],
  "within": [2.63513014309789, 0.071165840515451, 0.071165840515451, 3.11350847312478, 1.36874496972983,
  -0.267759463397068, -0.267759463397068, 1.76803338197839], "between": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
  0.0], "score": [-10.3296218135679, -4.43467400279265, -15.4590766793008], "gamma": [1.84174737972332e-05,
  0.999136175674133, 8.21680259245008e-05], "next": [-3.50629618986068, -4.62949026215709], "bic":
  [1974.19690249893]},
"shared centres, full": {"log likelihood": [-1075.7293045373], "weights": [0.51507722780603,
  0.48492277219397], "means": [12.7239204375262, 8.0423902059524, 9.85409054153396, 9.9389318367942],
  "within": [2.12286443818489, 0.0742156193515098, 0.0742156193515098, 1.92864315290166, 0.945065865417883,
  -0.106779872105672, -0.106779872105672, 1.04702405589911], "between": [0.713373547596294,
  0.21524386226219, 0.21524386226219, 1.0241476141582, 0.821032911766115, -0.108665225293442,
  -0.108665225293442, 0.734947609038394], "score": [-15.7961345646364, -19.7963509349486,
  -15.6899339736196], "gamma": [7.89523483507836e-05, 0.999976921183563, 0.00338752403182269], "next":
  [-3.04380192747563, -6.05918624900229], "bic": [2221.06246663237]},
"shared centres, diag, absent members": {"log likelihood": [-921.695359391097], "weights":
  [0.536227248275463, 0.463772751724537], "means": [12.722957314372, 8.10395624368753, 9.74506924008756,
  9.95374844015473], "within": [1.96388923743351, 0.0, 0.0, 1.93572521572705, 0.926968898542162, 0.0, 0.0,
  0.960579608429168], "between": [0.820711242755322, 0.0, 0.0, 1.11642046763466, 0.757834198101397, 0.0,
  0.0, 0.784298021916421], "score": [-11.2543073797755, -4.36661430964164, -15.4456678184989], "gamma":
  [0.00208337019126148, 0.9992451612171, 0.00788875614417459], "next": [-3.38239675758906,
  -6.07320166897941], "bic": [1896.61719809108]},
"single members": {"log likelihood": [-468.425920636242], "weights": [0.514545120513089, 0.485454879486911],
  "means": [12.4505332072563, 8.32804664754238, 9.71939647578804, 9.89617756441688], "within":
  [2.25841157134012, 0.458590756503167, 0.458590756503167, 2.80479539136479, 1.24006361100284,
  -0.431958216841945, -0.431958216841945, 1.85368992585685], "between": [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
  0.0], "score": [-2.97780125438385, -4.78821948603337, -3.09167098016115], "gamma": [0.0755214681173415,
  0.995944106951231, 0.167386996716298], "next": [-3.63363387916337, -4.82233828506819], "bic":
  [989.514250443088]},
"deep": {"log likelihood": [-1141.23801838931], "weights": [0.5, 0.5], "means": [9.92120747712441,
  9.93191756944835, 20.7433416601487, 15.9922152928746], "within": [1.90537954820448, -0.22297776465986,
  -0.22297776465986, 1.77668941142609, 2.86122339608019, 0.330365908974873, 0.330365908974873,
  2.90895574992258]},
"EMOS, normal": {"crps": [0.675236744690364], "mean": [280.833878661983, 279.061384578514,
  280.413103586014], "std": [1.04274741131205, 0.0388170130874207, 0.859793247487957], "quantiles":
  [279.497544084548, 280.833878661983, 282.549045523474, 279.011638574622, 279.061384578514,
  279.125232883278, 279.311234203651, 280.413103586014, 281.827337627573], "cdf": [0.998441838527549,
  0.056895205110576, 0.245316014908166]},
"EMOS, truncated_normal": {"crps": [0.672838035672844], "mean": [1.62246758991058, 0.00785255091325675,
  1.20465526587993], "std": [1.00515374040666, 0.007780383778154, 0.797273552962021], "quantiles":
  [0.377324624787486, 1.50958832624509, 3.44866113469173, 0.00083477366439761, 0.00547633235139273,
  0.0234131111806669, 0.245090844031024, 1.09231313163411, 2.68128301289538], "cdf": [0.997644751284301,
  0.0, 0.370410214117038]},
"EMOS, censored_logistic": {"crps": [0.672464733630216], "mean": [1.7706552986763, 0.0224606579518446,
  1.34810627471156], "std": [1.32324650314789, 0.0777412144725551, 1.13995860967278], "quantiles": [0.0,
  1.66292818198595, 4.12870992274356, 0.0, 0.0, 0.167425294430919, 0.0, 1.21001232113171, 3.43036960604124],
  "cdf": [0.97986341468665, 0.851828077847097, 0.373645351261021]},
"EMOS, censored_gamma": {"crps": [0.723219812377964], "mean": [1.85179704067163, 0.815598425752549,
  1.52364176015371], "std": [1.72747195696092, 2.10135121701082, 1.73817058260273], "quantiles":
  [0.121190312225022, 1.39980907446629, 5.25286228417005, 0.0, 0.0, 4.6709905644196, 0.0, 0.974046568941648,
  5.00501663686844], "cdf": [0.938102443243919, 0.62606452226339, 0.455199758369482]},
"forecast, normal": {"mean": [2.4, 2.7], "std": [1.27082650271388, 2.99265768172706], "crps":
  [0.9472382220741, 1.83364105906283], "logpdf": [-1.4032602750632, -2.65337644563877], "cdf":
  [0.113105890776352, 0.723415015490395], "quantiles": [1.50352984817826, 2.43661080867605,
  4.46523379269246, 0.498014243103704, 0.881408816123439, 8.300698760757]},
"forecast, truncated_normal": {"mean": [2.41139366673134, 2.75256438136938], "std": [1.25610000614534,
  2.95215142038592], "crps": [0.952647642317626, 1.81464196857455], "logpdf": [-1.38241466738665,
  -2.65202563567403], "cdf": [0.10759542424439, 0.723041149282969], "quantiles": [1.5118397572924,
  2.43945055182786, 4.46594122283644, 0.551988602116354, 0.911967986298202, 8.30233892575092]},
"forecast, censored_logistic": {"mean": [2.45305034775807, 2.79933286078188], "std": [1.74461655208165,
  3.47627264476527], "crps": [0.871691131926427, 2.00488339558612], "logpdf": [-1.57495592001075,
  -3.05717685776386], "cdf": [0.190219044350044, 0.751008463242178], "quantiles": [1.29203277973815,
  2.24066378728094, 5.56564879182469, 0.437634465179559, 1.01206749649828, 9.89182029986669]},
"forecast, censored_gamma": {"mean": [2.20012139866276, 2.51241436921198], "std": [1.27061288424746,
  2.98199560642726], "crps": [0.796585607347064, 1.90197096202525], "logpdf": [-1.38049778360504,
  -2.48242804942334], "cdf": [0.172621058333162, 0.751823264421031], "quantiles": [1.38362927693849,
  2.18637278292161, 4.37024426517002, 0.198311207532495, 0.639958940593335, 8.13231948992766]},
"scores": {"crps": [1.68626054891894, 0.000860367475416957, 0.840039806137925, 0.365546820954473,
  0.611829825087626], "fair": [1.611702445357, 0.000655621952600928, 0.782465983000215, 0.319469458475305,
  0.532166312224581], "means": [0.844426244054781, 0.753807327331163], "energy": [2.35501637472947,
  1.6862213135961, 0.840030019109509, 0.908662250716673], "variogram": [2.35435732901128, 0.712045257740836,
  0.519056355451296, 0.876729331896389], "ranks": [34.0, 21.0, 20.0, 17.0, 17.0, 15.0, 11.0, 7.0, 8.0],
  "coverage": [0.72, 0.777777777777778], "pit": [0.982863317485959, 0.504451313247098, 0.0691064519524115,
  0.734631715468029], "diebold_mariano": [14.3104834581462, 1.33890449961083e-16]}
}""")


@pytest.mark.parametrize("case", CASES)
def test_results_are_as_they_were(case):
    found, pinned = found_by(case), PINS[case]
    assert found.keys() == pinned.keys()
    for name, expected in pinned.items():
        scale = max(map(abs, expected))
        tolerance = TRAINED if case == "deep" else EXACT
        np.testing.assert_allclose(
            found[name], expected, rtol=tolerance, atol=tolerance * scale, err_msg=f"{case}: {name}"
        )


if __name__ == "__main__":
    for case in CASES:
        print(json.dumps({case: found_by(case)}))
