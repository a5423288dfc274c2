"""A soak: workflows all the time, while everything around them is killed, frozen, flushed and restarted."""
