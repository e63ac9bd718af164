"""
The network under trial: one program, run operation by operation with the parameters of any candidate, from the start or from a cut.

A candidate that alters populations from one on gives, up to there, what its base gives: the values alive at a cut of the base are kept,
and the run goes on from them. Values nobody reads any more are dropped. The operations and their order are those of
`simulate.executable`, so that a candidate's answers are those of the program it becomes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from torch import Tensor, fx

from spikeloom.errors import InternalError
from spikeloom.ir import OPERATIONS, Program, constant_name, driven_by, read, target_of
from spikeloom.simulate import decoded, executable, firing, primary, repeated

Fire = Callable[[Sequence[Tensor]], Tensor]
Watch = Callable[[str, Sequence[Tensor], Tensor], None]
"""Called with each population's name, what drives it, and what it sends."""
Values = dict[str, Any]


def unwatched(name: str, driving: Sequence[Tensor], sent: Tensor) -> None:
    """Nobody looks."""


@final
class Network:
    """A spiking program bound to T steps. `populations` are its nodes by name, `place` tells where each node stands in the order."""

    def __init__(self, program: Program, timesteps: int) -> None:
        self.program, self.timesteps = program, timesteps
        bound = executable(program, timesteps)
        self.graph, self.modules, self.nodes = bound.graph, dict(bound.named_modules()), list(bound.graph.nodes)
        self.populations = {node.name: node for node in program.graph.nodes if node.target in OPERATIONS.values()}
        self.place = {node.name: at for at, node in enumerate(self.nodes)}
        self.last = {operand.name: at for at, node in enumerate(self.nodes) for operand in node.all_input_nodes}
        self.own = {name: firing(node, program.tensors, timesteps) for name, node in self.populations.items()}

    def fires(self, tensors: Mapping[str, Tensor]) -> dict[str, Fire]:
        """What every population does with these tensors (by the program's names) in the places of its own."""
        merged = {**self.program.tensors, **tensors}
        changed = {name for name, node in self.populations.items() if any(key in tensors for key in parameters_of(node))}
        return {name: firing(self.populations[name], merged, self.timesteps) if name in changed else own for name, own in self.own.items()}

    def run(
        self,
        inputs: Sequence[Tensor],
        fires: Mapping[str, Fire],
        watch: Watch = unwatched,
        *,
        begin: int = 0,
        kept: Values | None = None,
        cut: Callable[[int, Values], None] | None = None,
    ) -> Tensor:
        """The answers for inputs [B, …], decoded. With `begin` the run starts there from the values `kept`; `cut` is shown the values
        alive before each operation."""
        values: Values = dict(kept or {})
        shown = iter(inputs)
        for at, node in enumerate(self.nodes):
            if node.op == "placeholder":
                values[node.name] = repeated(next(shown), self.timesteps)
            elif node.op == "get_attr" and self.last.get(node.name, -1) >= begin:
                values[node.name] = read(self.program.tensors[constant_name(node)])
            if at < begin or node.op in ("placeholder", "get_attr"):
                continue
            if cut is not None:
                cut(at, values)
            if node.op == "output":
                return primary(decoded(_filled(node.args[0], values), self.timesteps))
            values[node.name] = self._value(node, values, fires, watch)
            for operand in node.all_input_nodes:
                if self.last[operand.name] == at:
                    values.pop(operand.name, None)
        raise InternalError("a program without an output")

    def _value(self, node: fx.Node, values: Values, fires: Mapping[str, Fire], watch: Watch) -> Any:
        if node.name in self.populations:
            driving = [values[operand.name] for operand in driven_by(self.populations[node.name])]
            sent = fires[node.name](driving)
            watch(node.name, driving, sent)
            return sent
        args, kwargs = _filled(node.args, values), _filled(node.kwargs, values)
        if node.op == "call_module":
            return self.modules[str(node.target)](*args, **kwargs)
        return target_of(node)(*args, **kwargs)

    def alive(self, at: int) -> list[str]:
        """The values made before an operation that it or a later one reads; inputs and constants are not among them."""
        made = (node for node in self.nodes[:at] if node.op not in ("placeholder", "get_attr"))
        return [node.name for node in made if self.last.get(node.name, -1) >= at]


def parameters_of(node: fx.Node) -> list[str]:
    """The names of a population's tensors."""
    return [constant_name(operand) for operand in node.args[1:] if isinstance(operand, fx.Node) and operand.op == "get_attr"]


def _filled(argument: Any, values: Values) -> Any:
    return fx.map_arg(argument, lambda operand: values[operand.name])
