"""One attempt at a job, in the process that runs it."""
