"""Proof for users: does a generated function compute the right numbers, and if not, whose fault is it?

`check` compares with torch, with 50 digits or with differences; `blame` names the op whose own rule is wrong;
`nonfinite` finds where a NaN or an infinity came from; `debug` stops there; `grad_check` is all of it for pytest.
"""
