"""The paper's measurable claims, and how the verdict on each is computed.

    paper.py           claim: a statement, its published numbers, the trainings that it compares
       │
    trainings.py       replicate: one seed of a measurement; makes the trainings that are missing
       │
    measuring.py       seed result: the counts of one seed, by role ("norm", "no norm", …)
       │               (convergence.py and probes.py hold the methods that are longer than a line)
    results.py         measurement: the seed results of all seeds, in results/NAME.json
       │
    quantities.py      values: one number per seed, for example a difference of two error rates
       │
    verdict.py         mean and 95 % confidence interval against the null value → a verdict
       │
    table.py, page.py  the rows of `alexnet claims`, and docs/claims.md

`claim.py` defines the terms, `lab_errors.py` holds what the 2012 lab notes recorded, and
`provenance.py` says on which machine and with which versions a measurement was made. Only counts
are saved: every rate, interval and verdict is computed again whenever it is shown.

To add a claim, append a `Claim` to `_CLAIMS` in `paper.py`; if no statistic in `quantities.py`
computes its number, add one there, and if no method in `measuring.METHODS` makes the counts that it
needs, add one there. The table, the page and the tests include it automatically; write
docs/claims.md again with `alexnet claims --markdown > docs/claims.md`.

`commands.claims` is the only caller. Importing these modules does not import torch.
"""
