"""The caretaker, in every worker's main process."""
