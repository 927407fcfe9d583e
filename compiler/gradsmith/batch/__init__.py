"""What `vmap` does: ops, loops and branches along a new leading axis."""
