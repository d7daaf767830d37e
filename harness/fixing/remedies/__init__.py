"""Code changes by name, as entries of the knowledge base recommend them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.fixing.remedies.select_columns import select_columns
from harness.fixing.remedies.statement_timeout import statement_timeout
from harness.fixing.remedies.upstream_calls import bound_upstream_calls
from harness.model.fix import WriteFile
from harness.model.source import SourceTree

Codemod = Callable[[SourceTree, Mapping[str, str | int | float | bool]], list[WriteFile]]

REMEDIES: Mapping[str, Codemod] = {
    "statement_timeout": statement_timeout,
    "bound_upstream_calls": bound_upstream_calls,
    "select_columns": select_columns,
}
