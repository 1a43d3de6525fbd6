"""The store of compiled programs on disk: where it is, and its files. Nothing here imports jax."""

from degmm.store.entries import MOST_BYTES, Store, Summary
from degmm.store.place import Place, find_place

__all__ = ["MOST_BYTES", "Place", "Store", "Summary", "find_place"]
