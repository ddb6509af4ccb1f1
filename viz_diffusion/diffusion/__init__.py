"""The theory of diffusion models: noise schedule, denoiser network, samplers, interventions and oracles."""
