"""Why figures of the tables miss their aims: the one list that the paragraphs under the tables are written from.

The first reason that fits a figure stands beside it. Measurements stand in the decisions and in the tables, not here: a
number that is typed in does not change with the code.
"""

from __future__ import annotations

from harness.aims import Reason

__all__ = ["REASONS"]

HAND, PEER = "/ hand", "/ best peer$"

REASONS = (
    # family, column, rows: why, where it is measured, and what of ours gives up what the reason says
    Reason("calls", "Python", "tanh|network",
           "types of arguments are looked at, which makes `f(2, 3)` right, and the slope of tanh is exact where"
           " `1 - y*y` has lost its digits", "0057-calls-of-python-code-free-their-numbers.md"),
    Reason("calls", "Python", "quaternion",
           "types of arguments are looked at, which makes `f(2, 3)` right, and a choice decides whether one division"
           " may stand for several", "0056-one-division-behind-a-branch.md"),
    Reason("calls", "Python", "",
           "types of arguments are looked at, which makes `f(2, 3)` right",
           "0057-calls-of-python-code-free-their-numbers.md"),
    Reason("calls", "out= / hand", "quaternion",
           "the kernel adds up slopes in an order in which what is ready last stands in the middle",
           "0064-calls-that-hold-no-buffers-and-choices-that-stand-together.md"),
    Reason("calls", "out= / hand", "array|Rosenbrock 10 ",
           "a tuple of places is taken apart, and looked through for shared memory, which C by hand does not do",
           "0038-calls-with-nothing-to-spare.md"),
    Reason("calls", "gradsmith C / hand C", "quaternion",
           "a new tuple of two new arrays stands in another one, as `wrt` is a tuple",
           "0064-calls-that-hold-no-buffers-and-choices-that-stand-together.md"),
    Reason("calls", PEER, "scalars.*CasADi C",
           "CasADi's buffers are bound before the call, which has neither arguments nor results",
           "0023-how-we-measure.md"),
    Reason("batches", PEER, "Rosenbrock.*heyoka",
           "both wait for the caches: 21 rows of points go through the third, whose state moves the ratio by a tenth",
           "0049-lines-asked-for-between-stores.md"),
    Reason("batches", PEER, "(tanh|network|Black-Scholes).*Dr.Jit",
           "Dr.Jit's tanh and erf are less exact than ours", "0023-how-we-measure.md",
           instead="gradsmith C, fast_math"),
    Reason("arrays", HAND, "mixture d=10",
           "code by hand keeps differences to the centres in registers",
           "0068-one-member-of-a-stack-at-a-time.md"),
    Reason("arrays", HAND, "mixture",
           "code by hand multiplies single numbers of triangles, not tiles, with points in the lanes",
           "0065-points-innermost.md"),
    Reason("convolutions", "share", "8x28x28",
           "vectors of 8 channels are half empty in float32, and rows of 26 results fill no whole number of them",
           "0050-vectors-that-rows-do-not-fill.md"),
    Reason("convolutions", "share", "slopes", "edges of pictures have fewer taps, so shorter loops",
           "0069-channels-in-lanes.md"),
    Reason("compile_time", "statement", "^(tree|Rosenbrock)", "statements of these texts hold several operations each",
           "0047-what-a-graph-has-is-asked-once.md"),
)  # fmt: skip
