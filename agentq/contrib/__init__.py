"""agentq beside other programs and frameworks."""
