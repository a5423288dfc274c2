"""Messages that no worker can take, and jobs that this one cannot run."""
