"""The commands as functions: the one place where learning and ensembling meet."""
