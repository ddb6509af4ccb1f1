"""Training of the denoiser, and the run folders that it writes."""
