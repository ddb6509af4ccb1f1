"""The commands of ``vizdiff``, one module each: ``HELP`` and ``run_command``."""
