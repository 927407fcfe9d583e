"""The Black-Scholes price of a European call and its Greeks, each the gradient by one argument.

The numbers are those of J. C. Hull's textbook, "Options, Futures, and Other Derivatives" (the chapter on Greek
letters): a share at 49, a strike of 50, 5 % interest, 20 % volatility, 20 weeks to go. Closed formulas confirm them.
"""

import math

import gradsmith as gs


def normal(x):
    """The cumulative distribution of the standard normal law."""
    return 0.5 * (1.0 + gs.erf(x / math.sqrt(2.0)))


def call(S, K, T, r, sigma):
    """Price of a European call: share price, strike, years to go, interest rate, volatility."""
    spread = sigma * gs.sqrt(T)
    d1 = (gs.log(S / K) + (r + sigma**2 / 2) * T) / spread
    d2 = d1 - spread
    return S * normal(d1) - K * gs.exp(-r * T) * normal(d2)


f = gs.compile(call)
S, K, T, r, sigma = 49.0, 50.0, 20 / 52, 0.05, 0.20
price, (d_S, d_K, d_T, d_r, d_sigma) = f.value_and_grad(S, K, T, r, sigma)

# the closed formulas, by hand
root = sigma * math.sqrt(T)
d1 = (math.log(S / K) + (r + sigma**2 / 2) * T) / root
d2 = d1 - root
N = lambda x: 0.5 * math.erfc(-x / math.sqrt(2))
density = math.exp(-d1 * d1 / 2) / math.sqrt(2 * math.pi)
discounted = K * math.exp(-r * T)
rows = [
    ("price", "", price, S * N(d1) - discounted * N(d2)),
    ("delta", "d/dS", d_S, N(d1)),
    ("vega", "d/dsigma", d_sigma, S * density * math.sqrt(T)),
    ("theta", "-d/dT", -d_T, -S * density * sigma / (2 * math.sqrt(T)) - r * discounted * N(d2)),
    ("rho", "d/dr", d_r, discounted * T * N(d2)),
    ("strike", "d/dK", d_K, -math.exp(-r * T) * N(d2)),
]

print("A European call, by Hull: S = 49, K = 50, T = 20 weeks, r = 5 %, sigma = 20 %\n")
print("                     generated   closed formula   difference")
for name, slope, generated, closed in rows:
    print(f"  {name:<8}{slope:<10}{generated:>11.6f}{closed:>17.6f}{abs(generated - closed):>13.1e}")
    assert math.isclose(generated, closed, rel_tol=1e-12)

print(f"\nThe price alone takes {sum(f.cost.value.values())} operations, price and all five slopes", end=" ")
print(f"{sum(f.cost.value_and_grad.values())}: {f.cost.ratio:.1f} times as many.")
print(f"\n{f.check(raise_on_error=True)}")
