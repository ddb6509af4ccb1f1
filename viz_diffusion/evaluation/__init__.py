"""Quality of a model: classifier accuracy, distances to real digits, likelihood, and confidence intervals."""
