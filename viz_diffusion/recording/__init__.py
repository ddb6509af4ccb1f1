"""Recording of generations: hooks on a denoiser, trajectories, their storage on disk, and comparison runs."""
