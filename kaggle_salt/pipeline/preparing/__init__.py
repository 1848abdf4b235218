"""Before any training: folds, checks, mosaics, and what a preset is."""
