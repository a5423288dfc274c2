"""What authors write in a step's module: the step, its parameters, its context, and the way of its values."""
