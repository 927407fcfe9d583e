"""A dozen small programs whose generated text is kept as goldens. Line numbers show in them: add at the end only."""

import gradsmith as gs


def layer(W, x, b):
    h = gs.tanh(W @ x + b)
    return gs.sum(h * h)


def branches(x, y):
    low = gs.where(x > y, x, y * y)
    return low * gs.maximum(x, 0.5) + gs.clip(y, -1.0, 1.0)


def gathered(v):
    first = v[0] * v[2]
    return first + gs.sum(v[[2, 0, 2]] ** 2) + gs.sum(v[::-1] * v)


def softmaxed(x):
    p = gs.softmax(x)
    return gs.sum(p * p) + gs.logsumexp(x)


def joined(a, b):
    both = gs.concatenate([a, gs.stack([b, b * 2.0])])
    return gs.prod(both) + gs.max(both)


PROGRAMS = {
    "chain_rule": ("a*b + c", None),
    "tanh": ("x*y + y + tanh(x)", None),
    "polynomial": ("x**2 + 3*x + 1", None),
    "quotient": ("(x + y)*(x - y)/(1 + x*x)", None),
    "reserved": ("double*exp(-lambda_)", None),
    "choice": ("x if x > 0 and y > 0 else -y", None),
    "layer": (layer, ((2, 3), (3,), (2,))),
    "branches": (branches, None),
    "gathered": (gathered, ((3,),)),
    "softmaxed": (softmaxed, ((3,),)),
    "joined": (joined, ((2,), ())),
    "values": (lambda x, y: {"sum": x + y, "outer": gs.outer(x, y)}, ((2,), (2,))),
}
