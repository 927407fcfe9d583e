"""Showing a graph to people: pictures (`draw`), the chain rule in words (`explain`), notebooks (`notebook`).

Nothing that compiles imports this package; it only reads graphs. `picture`, `notation`, `formula`, `tongue`, `lecture`
and `blackboard` are the parts that the three share: boxes and arrows, names and numbers, formulas, words, and layouts
as text, Markdown and LaTeX.
"""
