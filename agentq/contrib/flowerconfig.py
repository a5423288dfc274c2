"""Flower's settings for agentq, annotated. Your own ``flowerconfig.py``, where Flower starts, may begin with them:

``from agentq.contrib.flowerconfig import *``

Flower is open to all who reach it. Keep it on loopback, or set ``basic_auth`` or ``auth``.
"""

from agentq.contrib.flower import format_task as format_task  # more rows: workflow, tenant, job status

address = "127.0.0.1"
port = 5555

# Flower's buttons to revoke would cancel jobs, without a reason and without a name. Cancel with agentq instead.
read_only = True

tasks_columns = "name,uuid,state,kwargs,received,runtime,retries,worker"

# Tasks kept in memory; the ledger has them all.
max_tasks = 20_000

# Histogram of run times, in seconds. Flower's own buckets end at 10 s; steps that call models take longer.
task_runtime_metric_buckets = [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0]
