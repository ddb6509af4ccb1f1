"""Entry point of ``vizdiff`` and of ``python -m viz_diffusion``."""

import sys

from viz_diffusion.cli import main

if __name__ == "__main__":
    sys.exit(main())
