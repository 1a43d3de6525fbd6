"""The original program's command: compare the models on generated ensembles.

    python main.py --n 1000 --M 10 --D 2 --K 3 --num_epochs 1000 --seed 0

The same job as ``degmm compare``.
"""

from degmm.cli import main_compare

if __name__ == "__main__":
    main_compare()
