"""What can be done with an experiment, one file each: a function `run(experiment)` that returns the exit status."""
