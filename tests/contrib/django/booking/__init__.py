"""An application whose steps write with their completion."""
