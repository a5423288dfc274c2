"""Celery's configuration for agentq in production: ``app.config_from_object("celeryconfig")``.

Only what differs between places is here. What agentq needs of Celery (prefetch one, endless reconnection
to the broker) is set by ``AgentQ(app)``; a setting of this file wins over it.
"""

broker_url = "redis://localhost:6379/0"

# The source of truth. Bring its schema up first: agentq db upgrade
agentq_ledger = "postgresql://agentq@localhost/agentq"
# agentq_tenant = "acme"  # the tenant of workflows that are started without one
# agentq_lease = 20  # seconds after which a dead worker's jobs are rescued
# agentq_flower_url = "http://localhost:5555"  # agentq jobs show then prints the address of the job's page there

# Steps choose their queue with @step(queue=…). Steps and tasks that choose none:
task_default_queue = "default"

# agentq needs no result backend. Set one only for plain tasks whose results are read.
# result_backend = "redis://localhost:6379/1"

# On Redis, the message of a plain task is delivered again when it was not acknowledged for a number of seconds;
# make it longer than the longest plain task. The messages of steps are not: the ledger has their jobs.
broker_transport_options = {"visibility_timeout": 6 * 3600}

# On SIGQUIT, and on SIGTERM under REMAP_SIGTERM=SIGQUIT, a worker gives its steps some seconds, then gives them
# back to the ledger. On a plain SIGTERM it waits until they end.
worker_soft_shutdown_timeout = 10.0

# Renew the pool's processes now and then, where model clients or parsers leak memory.
# worker_max_tasks_per_child = 1_000
