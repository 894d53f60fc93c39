"""A training described whole (`recipe`), the ones with a name (`named`), and those of 2012.

`factors` has the small values that a recipe is written with, such as 0.1@25; `lab_notes` the
trainings of the 2012 code. Nothing in this folder imports torch.
"""
