"""How the benchmarks measure: one process an entry, answers first, then times in turns on one core.

`records` says what a workload is, `worker` is the process that builds and times one entry, `rounds` has all of them
take turns, `verdict` decides whether an answer is right, `table` writes what came out, and `machine` says where.
"""
