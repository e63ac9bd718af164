"""
Expressions over named observations: arithmetic and comparisons, as a person writes them.

    x_dot > 0.5            theta * theta_dot > 0            abs(x) + 0.5 * abs(x_dot) >= 2 and not falling

What can stand in one: names, numbers, + - * / and ** with a whole exponent, comparisons (also chained), and, or, not, and the functions of
`FUNCTIONS`. A text is read by Python's `ast`, every node is checked against that list, and the tree is walked with numpy arrays: nothing
is ever executed. Numbers and truths are kept apart: `x > 0` is a truth, `x + 1` a number, and neither takes the other's place.
"""

import ast
import operator
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from spikeloom.errors import ConfigError, NumericError

Kind = Literal["number", "truth"]
Column = NDArray[Any]
"""[n], float64 for numbers and bool for truths."""
LONGEST = 2000
"""Characters of an expression."""
DEEPEST = 60
"""Nestings of an expression."""
MOST_EXPONENT = 8

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "abs": (1, np.abs),
    "sqrt": (1, np.sqrt),
    "sin": (1, np.sin),
    "cos": (1, np.cos),
    "sign": (1, np.sign),
    "min": (2, np.minimum),
    "max": (2, np.maximum),
    "atan2": (2, np.arctan2),
}
"""By name: how many arguments, and what they become."""
ALLOWED = f"names, numbers, + - * / **, comparisons, and, or, not, {', '.join(FUNCTIONS)}"


@final
@dataclass(frozen=True)
class Expression:
    """A checked expression; two with the same text and kind are equal."""

    text: str
    kind: Kind
    reads: frozenset[str]

    def __call__(self, values: Mapping[str, Column]) -> Column:
        """Its value for columns [n] by name. Raises NumericError where a sample gives no number (0/0, the root of a negative one)."""
        samples = len(next(iter(values.values())))
        with np.errstate(all="ignore"):
            return np.broadcast_to(_value(_tree(self.text, ""), values, self.text), (samples,))


def parsed(text: object, known: Mapping[str, Kind], where: str) -> Expression:
    """The expression in a text, over the names `known`, each a number or a truth; `where` begins every message.

    Raises ConfigError for what is no expression, a name that is not known, or a truth where a number must stand (and the other way).
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        text = repr(text)
    if not isinstance(text, str) or not text.strip():
        raise ConfigError(f"{where}: an expression is wanted", found=text, allowed="text such as 'x_dot > 0.5'")
    text = " ".join(text.split())
    tree = _tree(text, where)
    reads = set[str]()
    return Expression(text, _kind(tree, known, where, reads, 0), frozenset(reads))


def truth(text: object, known: Mapping[str, Kind], where: str) -> Expression:
    """As `parsed`; raises ConfigError also where the expression is a number."""
    found = parsed(text, known, where)
    if found.kind != "truth":
        raise ConfigError(f"{where}: a condition is wanted, not a number", found=found.text, allowed="a comparison, such as x > 0.5")
    return found


def _tree(text: str, where: str) -> ast.expr:
    if len(text) > LONGEST:
        raise ConfigError(f"{where}: the expression is too long", found=f"{len(text)} characters", allowed=f"at most {LONGEST}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError, Warning) as error:
        said = f"{text!r} ({getattr(error, 'msg', None) or error})"
        raise ConfigError(f"{where}: this is no expression", found=said, allowed=ALLOWED) from error


def _kind(node: ast.expr, known: Mapping[str, Kind], where: str, reads: set[str], depth: int) -> Kind:
    """What a node gives; raises ConfigError where it may not stand there."""
    if depth > DEEPEST:
        raise ConfigError(f"{where}: the expression is nested too deeply", found=f"over {DEEPEST} levels", allowed="fewer; name its parts")

    def all_are(nodes: list[ast.expr], due: Kind, gives: Kind) -> Kind:
        for each in nodes:
            if _kind(each, known, where, reads, depth + 1) != due:
                wanted = "a number, such as x" if due == "number" else "a comparison, such as x > 0"
                raise ConfigError(f"{where}: a {due} must stand here", found=ast.unparse(each), allowed=wanted)
        return gives

    match node:
        case ast.Constant(value=value) if type(value) in (int, float) and abs(value) < float("inf"):  # pyright: ignore[reportArgumentType]
            return "number"
        case ast.Name(id=name) if name in known:
            reads.add(name)
            return known[name]
        case ast.Name(id=name):
            raise ConfigError(f"{where}: there is nothing of this name", found=name, allowed=", ".join(known))
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return all_are([operand], "number", "number")
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return all_are([operand], "truth", "truth")
        case ast.BoolOp(values=values):
            return all_are(values, "truth", "truth")
        case ast.BinOp(left=left, right=right) if _takes(node):
            return all_are([left, right], "number", "number")
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARE for op in ops):
            return all_are([left, *others], "number", "truth")
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS and len(args) == FUNCTIONS[name][0]:
            return all_are(args, "number", "number")
        case _:
            pass
    raise ConfigError(f"{where}: this cannot stand in an expression", found=ast.unparse(node), allowed=ALLOWED)


def _takes(node: ast.BinOp) -> bool:
    """Whether an operation is arithmetic; of powers those with a whole exponent."""
    if isinstance(node.op, ast.Pow):
        right = node.right
        return isinstance(right, ast.Constant) and type(right.value) is int and 0 <= right.value <= MOST_EXPONENT
    return type(node.op) in _BINARY


def _value(node: ast.expr, values: Mapping[str, Column], text: str) -> Any:
    match node:
        case ast.Constant(value=value):
            return np.float64(value)  # pyright: ignore[reportArgumentType]
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=op, operand=operand):
            inner = _value(operand, values, text)
            return ~inner if isinstance(op, ast.Not) else -inner if isinstance(op, ast.USub) else inner
        case ast.BoolOp(op=op, values=parts):
            join = np.logical_and if isinstance(op, ast.And) else np.logical_or
            return join.reduce(np.broadcast_arrays(*(_value(part, values, text) for part in parts)))
        case ast.BinOp(left=left, op=op, right=right):
            return _number(_BINARY[type(op)](_value(left, values, text), _value(right, values, text)), text)
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = [_value(side, values, text) for side in (left, *others)]
            pairs = zip(ops, sides, sides[1:], strict=False)
            return np.logical_and.reduce(np.broadcast_arrays(*(_COMPARE[type(op)](a, b) for op, a, b in pairs)))
        case ast.Call(func=ast.Name(id=name), args=args):
            return _number(FUNCTIONS[name][1](*(_value(each, values, text) for each in args)), text)
        case _:
            raise ConfigError("this cannot stand in an expression", found=ast.unparse(node), allowed=ALLOWED)


def _number(found: Any, text: str) -> Any:
    if np.isnan(found).any():
        todo = "keep it away from 0/0 and from roots of negative numbers, as by max(..., 0)"
        raise NumericError("an expression gives no number for an observation", found=text, todo=todo)
    return found
