"""What authors write: steps, canvases, the context of a running step."""
