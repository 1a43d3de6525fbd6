"""DEGMM beside scikit-learn, gmmx and pomegranate: ``python -m benchmarks.side_by_side [--quick]``.

Every measurement runs in a process of its own, one at a time, and all libraries get the same array: float32
members drawn by ``make_exchangeable_mixture``, the same K, the same number of starts, the same largest
number of iterations, and the same tolerance in nats per member. DEGMM fits the ensembles; the others know none
and fit the n·M members laid flat, which is what one does with them. At M = 1 the model is the same.
"""
