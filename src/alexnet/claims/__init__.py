"""The paper's measurable statements as data, what measures each, and what came out.

`claim` says what a claim is, `paper` holds all of them, `readings` gets numbers out of counts,
`verdict` judges them and `table` prints. `measuring` makes what is missing. Nothing here imports
torch; what trains and measures is imported when it is first needed.
"""
