"""The graph of d = a*b + a: boxes for values, circles for operations, arrows for the flow of data.

`a` is used twice, so it receives two cotangents, which add up. Writes out/02_graph.svg (the function, with value and
gradient in each box), out/02_adjoint.svg (the gradient's own graph) and out/02_graph.md, which GitHub and GitLab draw.
"""

from pathlib import Path

import gradsmith as gs

out = Path("out")
out.mkdir(exist_ok=True)

a, b = gs.symbols("a b")
d = a * b + a
f = gs.compile(d, name="d")

point = {"a": 2.0, "b": -3.0}
value, (d_a, d_b) = f.value_and_grad(**point)
print(f"d = a*b + a at a = 2, b = -3 is {value:g}")
print(f"  dd/da = b + 1 = {d_a:g}   (from a*b and from a)")
print(f"  dd/db = a     = {d_b:g}")

# a graph is a networkx.DiGraph: its algorithms apply
print(f"\nThe graph has {f.graph.number_of_nodes()} nodes and {f.graph.number_of_edges()} edges:\n")
print(f.graph.text())

mermaid = f.graph.to_mermaid(point=point)
(out / "02_graph.md").write_text(f"```mermaid\n{mermaid}```\n", encoding="utf-8")
print("\nwrote out/02_graph.md")
try:
    (out / "02_graph.svg").write_text(f.graph.to_svg(point=point), encoding="utf-8")
    (out / "02_adjoint.svg").write_text(f.adjoint.to_svg(point=point), encoding="utf-8")
    print("wrote out/02_graph.svg and out/02_adjoint.svg")
except gs.MissingExtraError as error:
    print(f"no SVG: {error}\n\nThe same picture as a Mermaid flowchart:\n\n{mermaid}")
