"""A contract for import-linter: which distributions some packages may import beside the standard library."""

import sys
from typing import Any, cast

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.application import contract_utils


class AllowedExternals(Contract):
    """The named modules import the standard library and each other only; `allowed` lists exceptions as imports."""

    type_name = "allowed_externals"

    modules = fields.SetField(subfield=fields.ModuleField())
    allowed = fields.SetField(subfield=fields.ImportExpressionField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find every direct import of something else."""
        contract_utils.remove_ignored_imports_and_report(
            graph=graph,
            ignore_imports=cast("Any", self.allowed),
            unmatched_alerting=contract_utils.AlertLevel.ERROR,
        )
        roots = {module.name for module in cast("Any", self.modules)}
        known = roots | sys.stdlib_module_names
        found = [
            (importer, imported)
            for root in sorted(roots)
            for importer in sorted({root, *graph.find_descendants(root)})
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if imported.partition(".")[0] not in known
        ]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print each import that is not allowed."""
        for importer, imported in check.metadata["found"]:
            output.print_error(f"- {importer} -> {imported}")
