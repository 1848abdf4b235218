"""Speed and memory of the toolkit: ``scripts/bench``, ``scripts/growth`` and ``scripts/compare``.

To add an item, write a function with :func:`benchmarks.harness.item` above it into the module
where its like is; its docstring's first sentence says what is measured. Nothing else is needed:
the table takes the items of all modules. A peer's answer is compared with ours first, by
:func:`benchmarks.harness.require_equal`. Nothing in the package imports this, and no test
asserts a time.
"""
