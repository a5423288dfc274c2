"""`agentq demo`: a digest of real documents, made by a workflow that survives what the demo does to it."""
