"""A small model of the protocol between ledger, broker and workers, explored completely.

- ``state``: what the model knows at one time, as a row of small numbers.
- ``protocol``: what the engine does by itself. ``faults``: what is done to it, from a budget.
- ``promises``: what must hold in every state. ``explore``: every state there is, shortest way first.
- ``variants``: the protocol with one part broken, each of which must be caught.
- ``limits``, ``rates``, ``caps``: models of their own, explored by ``search``; broken parts are in their tests.

The moves have the engine's words, and each is one transaction or one message of the engine: what happens between
two of them is explored, what happens inside one is left to the database.

Modelled: a start, two headers, a join and a body; two workers, each with one process that runs steps; a broker
that keeps, loses, repeats and forgets; leases; the claim with its token, the record with its fence, hand-over and
fan-in in one transaction; retries, rescues, releases and deadlines; dead letters, their replay and their result by
hand; cancel; and commits whose reply is lost.

Not modelled: time (what waits may happen at any later time, so every order of two clocks is there, but no rate
and no pause), arguments and results, ``each``, priorities, prefetched messages (they count as queued), a database
that does not answer, and locks: a transaction is one move, except in variants that take one apart. A caretaker or
an operator that dies between its commit and its dispatch is a commit and a lost message.
"""
