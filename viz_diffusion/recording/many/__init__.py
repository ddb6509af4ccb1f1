"""Many samples or trajectories in one store, made by one worker or by several; read back chunk by chunk."""
