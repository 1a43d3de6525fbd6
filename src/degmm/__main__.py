"""``python -m degmm``: the command line, as ``degmm``."""

from degmm.cli import main

if __name__ == "__main__":
    main()
