"""One task is one command line: run here side by side, by Ray, or by SLURM.

Nothing here knows what a task computes. It is told which command to run, where its log goes, and
which file is there once it is done; the files on a disk that all machines share are all that is
exchanged.
"""
