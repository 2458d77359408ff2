"""The measurements behind every figure that this project quotes.

`python -m benchmarks` takes them all and prints each next to its budget; `docs/benchmarks.md` says
what each one means.
"""
