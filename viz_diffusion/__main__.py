"""Entry point of ``vizdiff`` and of ``python -m viz_diffusion``."""

import sys

from viz_diffusion.stopping import run_stoppable


def main() -> int:
    """Run the command line; return its exit code."""

    def command() -> int:
        from viz_diffusion.cli import main as run  # while it is loaded, signals are handled already

        return run()

    return run_stoppable(command)


if __name__ == "__main__":
    sys.exit(main())
