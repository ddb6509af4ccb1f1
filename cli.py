"""Run the command line from a checkout: ``python cli.py --help`` is ``vizdiff --help``."""

from viz_diffusion.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main())
