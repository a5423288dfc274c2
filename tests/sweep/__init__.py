"""The crash sweep: a reference workflow is crashed at every point there is, recovered, and audited.

A point is the time before or after a SQL statement, a commit, a publish, an acknowledgement or an effect. They
are found by instrumentation, so new code is covered without new tests.

A crash leaves nothing but the ledger and what the world saw. So one run is enough: it waits at each point while a
snapshot of these is taken. At a few points a run really crashes, which must leave what the snapshot has.
"""
