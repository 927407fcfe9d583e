"""The frontends: readers of other notations. Each turns one kind of input into an `Expr` and the symbols it depends on."""
