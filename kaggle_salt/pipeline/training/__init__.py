"""Networks learn: folds, pretraining, rounds of pseudo-labels, sweeps."""
