"""What a worker's log says."""
