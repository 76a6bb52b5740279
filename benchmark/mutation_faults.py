"""Small faults in a module's meaning, one at a time: what `benchmark/mutation.py` puts into the core."""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NO_MEANING = ("logger", "logging", "warnings", "_LOG", "_log")

COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
}


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        path: of the file, below the repository.
        line: of the changed expression, from 1.
        change: in words.
        number: of the change within its file.
    """

    path: str
    line: int
    change: str
    number: int


class Mutator(ast.NodeTransformer):
    """Visits what can be changed; changes the `wanted` one, if any, and counts."""

    def __init__(self, path: str, wanted: int = -1) -> None:
        self.found: list[Mutant] = []
        self._path, self._wanted = path, wanted

    def _change(self, node: ast.AST, words: str, changed: Callable[[], ast.AST]) -> ast.AST:
        number = len(self.found)
        self.found.append(Mutant(self._path, node.lineno, words, number))  # type: ignore[attr-defined]
        if number != self._wanted:
            return node
        return ast.fix_missing_locations(ast.copy_location(changed(), node))

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Leaves out what has no meaning for results: annotations, docstrings, messages, logging."""
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_comment", "bases", "keywords_"):
                continue
            if isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
            elif isinstance(value, list):
                value[:] = [self.visit(item) if isinstance(item, ast.AST) else item for item in value]
        return node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        call = node.value
        if isinstance(call, ast.Constant) or (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Attribute)
            and isinstance(call.func.value, ast.Name)
            and call.func.value.id in NO_MEANING
        ):
            return node
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node
        self.generic_visit(node)
        node.test = self._change(  # type: ignore[assignment]
            node.test, "condition turned round", lambda: ast.UnaryOp(ast.Not(), node.test)
        )
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        return self._change(node, "branches swapped", lambda: ast.IfExp(node.test, node.orelse, node.body))

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        other = COMPARISONS[type(node.ops[0])]
        words = f"{type(node.ops[0]).__name__} to {other.__name__}"
        return self._change(
            node, words, lambda: ast.Compare(node.left, [other(), *node.ops[1:]], node.comparators)
        )

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        other = OPERATORS.get(type(node.op))
        text = any(isinstance(side, ast.Constant | ast.JoinedStr) and _is_text(side) for side in _sides(node))
        if other is None or text:
            return node
        words = f"{type(node.op).__name__} to {other.__name__}"
        return self._change(node, words, lambda: ast.BinOp(node.left, other(), node.right))

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        other = OPERATORS.get(type(node.op))
        if other is None:
            return node
        words = f"{type(node.op).__name__}= to {other.__name__}="
        return self._change(node, words, lambda: ast.AugAssign(node.target, other(), node.value))

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        other = ast.Or if isinstance(node.op, ast.And) else ast.And
        words = f"{type(node.op).__name__} to {other.__name__}"
        return self._change(node, words, lambda: ast.BoolOp(other(), node.values))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not | ast.USub | ast.Invert):
            return self._change(node, f"{type(node.op).__name__} left out", lambda: node.operand)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        value = node.value
        if isinstance(value, bool):
            return self._change(node, f"{value} to {not value}", lambda: ast.Constant(not value))
        if isinstance(value, int | float) and math.isfinite(value):
            other = value + 1 if isinstance(value, int) else value * 1.5 + 0.1
            return self._change(node, f"{value} to {other}", lambda: ast.Constant(other))
        return node

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None):
            return node
        return self._change(node, "returns None", lambda: ast.Return(ast.Constant(None)))


def _sides(node: ast.BinOp) -> tuple[ast.expr, ast.expr]:
    return node.left, node.right


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or isinstance(getattr(node, "value", None), str)


def mutants_of(path: Path) -> list[Mutant]:
    """All faults that can be put into a file."""
    mutator = Mutator(str(path.relative_to(ROOT)))
    mutator.visit(ast.parse(path.read_text(encoding="utf-8")))
    return mutator.found


def mutated(mutant: Mutant) -> ast.Module:
    """The file's tree with the fault in it."""
    tree = ast.parse((ROOT / mutant.path).read_text(encoding="utf-8"))
    changed = Mutator(mutant.path, mutant.number).visit(copy.deepcopy(tree))
    return ast.fix_missing_locations(changed)
