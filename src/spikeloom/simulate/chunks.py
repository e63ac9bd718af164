"""
Chunks: a spiking program bound to K time steps that go on from a state, so that T steps run as several chunks, one after another.

    chunk(inputs, constants, states) → (output, the outputs of some nodes, states)

Everything a chunk reads comes in as an argument, its constants too: gradients flow to all of them, and the graph can be cut anywhere. The
K steps are folded into the batch as in `execute`; T/K chunks from rest give what one run of T steps gives. A state is a membrane, or what
an operation over time remembers; None is rest. Under autocast membranes and outputs stay in the dtype of the parameters.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor, fx

from spikeloom.ir import Program, args_of, calls, clone, constant_name, dynamic, kwargs_of, population, read, staircase, target_of
from spikeloom.neuron import Axis, Membrane, Running, along, continue_difference, continue_table, continue_uniform, run_table, run_uniform
from spikeloom.simulate.execute import Template, check_calibrated, check_foldable, check_timesteps, neuron_options, over_time


@final
@dataclass(frozen=True)
class Chunk:
    """A graph whose placeholders are the program's `inputs`, its `constants` and the `states`, under these names, and whose output is
    (output, what the `wanted` nodes gave, states)."""

    graph: fx.Graph
    inputs: tuple[str, ...]
    constants: dict[str, str]
    states: tuple[str, ...]
    wanted: tuple[str, ...]


def go_on(
    x: Tensor, step: Tensor, v0: Tensor, decay: Tensor | float, leak: Tensor | float, v: Membrane | None, *, axis: Axis, **options: Any
) -> tuple[Tensor, Membrane]:
    """K steps of a population: (input [K·B, …], parameters, membrane) → (output, membrane)."""
    x = x.to(step.dtype)
    return continue_uniform(x, along(v0, axis, x) if v is None else v, step, decay, leak, axis=axis, **options)


def fire_once(x: Tensor, step: Tensor, v0: Tensor, decay: Tensor | float, leak: Tensor | float, **options: Any) -> Tensor:
    """The only step of a population: (input [B, …], parameters) → output."""
    return run_uniform(x.to(step.dtype), step, v0, decay, leak, **options)


def read_on(
    x: Tensor, thresholds: Tensor, values: Tensor, gain: Tensor | None, state: Running | None, *, axis: Axis, timesteps: int
) -> tuple[Tensor, Running]:
    """K steps of a function staircase: (input [K·B, …], table, gain, memory) → (output, memory)."""
    return continue_table(x, state, thresholds, values, gain, axis=axis, timesteps=timesteps)


@final
class Continued:
    """An operation between spike trains for K steps on running means, going on from a memory."""

    def __init__(self, function: Callable[..., Any], template: Template, timesteps: int) -> None:
        self.function, self.template, self.timesteps = function, template, timesteps
        self.__name__ = getattr(function, "__name__", "continued")

    def __call__(self, state: Running | None, *values: Tensor) -> tuple[Any, Running]:
        function, moving = self.template.of_moving(self.function, values, self.timesteps)
        return continue_difference(function, state, *moving, timesteps=self.timesteps)


def chunk(program: Program, timesteps: int, *, wanted: Collection[str] = (), trained: Collection[str] = (), alone: bool = False) -> Chunk:
    """The program bound to K steps. Decays and leaks that do nothing cost nothing, but for those `trained`, by their names; where K steps
    are `alone`, all there are, the states that come out are None.

    Raises NumericError before calibration, ConfigError for K < 1, UnsupportedError where something with a state does not have its batch
    in front (but for one step alone).
    """
    check_timesteps(timesteps)
    check_calibrated(program)
    if timesteps > 1 or not alone:
        check_foldable(program)
    graph = clone(program.graph)
    live = dynamic(graph)
    single = timesteps == 1 and alone
    inputs = tuple(node.name for node in graph.nodes if node.op == "placeholder")
    states: dict[str, fx.Node] = {}
    for node in list(calls(graph)):
        if node.target is population:
            node.target, node.args = (fire_once if single else go_on), (*node.args[:3], *_dynamics(node, program, trained))
            node.kwargs = neuron_options(node.kwargs) | {"timesteps": timesteps}
        elif node.target is staircase:
            node.target, node.kwargs = (run_table if single else read_on), {"axis": kwargs_of(node)["axis"], "timesteps": timesteps}
            node.args = (*node.args[:3], node.args[3] if len(node.args) > 3 else None)
        elif over_time(node, live) and not single:
            template = Template(node, live)
            node.target, node.args, node.kwargs = Continued(target_of(node), template, timesteps), tuple(template.operands), {}
        else:
            continue
        if not single:
            live.add(_stateful(node, graph, states))
    constants = _opened(graph)
    return _closed(Chunk(graph, inputs, constants, tuple(states), tuple(wanted)), states, alone)


def _dynamics(node: fx.Node, program: Program, trained: Collection[str]) -> tuple[Any, ...]:
    """Decay and leak, as the plain numbers 1 and 0 where they are that throughout and are not trained."""
    given = zip(args_of(node)[3:5], (1.0, 0.0), strict=True)
    return tuple(
        neutral if constant_name(operand) not in trained and bool((read(program.tensor(operand)) == neutral).all()) else operand
        for operand, neutral in given
    )


def _stateful(node: fx.Node, graph: fx.Graph, states: dict[str, fx.Node]) -> fx.Node:
    """The node takes its state as an argument and gives a pair, whose first part its readers get; returns that part."""
    with graph.inserting_before(node):
        state = graph.placeholder(f"state_of_{node.name}")
    first = isinstance(node.target, Continued)
    readers = list(node.users)
    node.args = (state, *node.args) if first else (*node.args, state)
    with graph.inserting_after(node):
        sent = graph.call_function(_first, (node,))
    with graph.inserting_after(sent):
        states[state.name] = graph.call_function(_second, (node,))
    for reader in readers:
        reader.replace_input_with(node, sent)
    sent.meta = node.meta
    return sent


def _first(pair: tuple[Any, Any]) -> Any:
    return pair[0]


def _second(pair: tuple[Any, Any]) -> Any:
    return pair[1]


def _opened(graph: fx.Graph) -> dict[str, str]:
    """Constants that are read become placeholders, in front, one for each tensor: the placeholder's name to the tensor's."""
    made: dict[str, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "get_attr":
            continue
        if node.users and node.target not in made:
            with graph.inserting_before(next(iter(graph.nodes))):
                made[str(node.target)] = graph.placeholder(f"constant_{len(made)}")
        if node.users:
            node.replace_all_uses_with(made[str(node.target)])
        graph.erase_node(node)
    return {node.name: name for name, node in made.items()}


def _closed(made: Chunk, states: dict[str, fx.Node], alone: bool) -> Chunk:
    """The graph with all that it gives in its output."""
    named = {node.name: node for node in made.graph.nodes}
    given = [_sent(named[name]) for name in made.wanted]
    output = next(iter(reversed(made.graph.nodes)))
    output.args = ((output.args[0], tuple(given), tuple(None if alone else node for node in states.values())),)
    made.graph.eliminate_dead_code()
    made.graph.lint()
    return made


def _sent(node: fx.Node) -> fx.Node:
    """What a node gives its readers."""
    return next((user for user in node.users if user.target is _first), node)
