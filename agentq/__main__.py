"""``python -m agentq``, the same as ``agentq``."""

from agentq.cli.main import main

if __name__ == "__main__":
    main()
