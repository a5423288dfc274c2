"""The command line: parse, call one function of ``operations``, print."""
