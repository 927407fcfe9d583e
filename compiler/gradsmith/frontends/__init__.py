"""The frontends: readers of other notations. Each gives an `Expr` and the symbols that it depends on."""
