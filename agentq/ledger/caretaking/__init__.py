"""The caretaker's transactions in the ledger: for due, lost and late jobs.

Each worker has a caretaker, and any number of them work on one ledger without a leader. ``work`` asks with one
statement whether there is something to do. If there is, one transaction takes a bounded batch of rows and moves
each by a guarded UPDATE, so two caretakers never do one thing twice: ``due_jobs`` queues the jobs whose time has
come, ``redelivery`` dispatches again the jobs whose message may be lost, ``rescues`` takes attempts from workers
whose lease is over, and ``expiry`` ends what is past its deadline. Messages are published
after the commit.
"""
