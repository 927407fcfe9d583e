"""The passes: one file each, a function from graph to graph; `pipeline` says in which order they run."""
