"""Which cells NAS-Bench-201 counts as one network, as ``to_unique_str(consider_zero=True)`` of its
code writes them.
"""

from __future__ import annotations

from dcbench.nas.nasbench201 import NODES, CellDesign


def unique_string(cell: CellDesign) -> str:
    """Each node as its terms, sorted and joined by +.

    ``skip_connect`` gives what its source is written as; ``none`` gives #, and so does any operation on a node that is written #; else the
    term is (source)@operation. A sum of several # is not written #, so that not all cells that compute the same are written the same.
    """
    written = ["0"]
    for node in range(1, NODES):
        terms = [
            _term(cell.operations[edge], written[source]) for edge, source in cell.edges_into(node)
        ]
        written.append("+".join(sorted(terms)))
    return written[-1]


def _term(operation: str, source: str) -> str:
    if operation == "none" or source == "#":
        return "#"
    return source if operation == "skip_connect" else f"({source})@{operation}"
