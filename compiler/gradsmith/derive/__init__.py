"""Derivatives of graphs: reverse mode, forward mode, Jacobians and Hessians, and the transforms that users nest."""
