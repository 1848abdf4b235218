"""What a network is made of, and what its parts hand to one another: learned by watching it run.

The network runs once or twice on the device ``meta``, where maps have a shape and no values: that
takes a fraction of a second, whatever its size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: Depth of the modules that the list of layers names: ``encoder.layer1`` has two.
DEPTH = 2

#: What :attr:`Block.sources` calls the network's input.
INPUT = "input"

#: Lists of modules, which do nothing themselves: their members are named instead.
LISTS = (nn.ModuleList, nn.ModuleDict)

#: Layers that a drawing counts to the block before them.
NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)

#: Called with the name of a module, what it was given and what it gave.
Watch = Callable[[str, Any, Any], None]


@dataclass(frozen=True)
class Layer:
    """A line of the list of layers.

    Args:
        name: Dotted name of the module; empty for what is the network's own.
        kind: Its class.
        shape: Of what it last gave to one tile, ``(C, h, w)`` for a map; empty if it is not
            called.
        parameters: Number of its trainable parameters.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class Block:
    """A part of a network as a drawing shows it.

    Args:
        name: Dotted name of the module.
        kind: Its class.
        channels: Of the map that it gives.
        shape: (height, width) of that map.
        sources: Blocks whose maps it is given, by name, in the order they ran; :data:`INPUT` is
            the network's own input.
    """

    name: str
    kind: str
    channels: int
    shape: tuple[int, int]
    sources: tuple[str, ...]


def list_layers(network: nn.Module, channels: int, shape: tuple[int, int]) -> list[Layer]:
    """The layers of a network two modules deep, those among them that only training calls.

    Every trainable parameter belongs to one of them. Where a list of modules stands that deep,
    its members are named.

    Args:
        network: Left in the mode (train or eval) it came in.
        channels: Input channels.
        shape: (height, width) of the input, in pixels.
    """
    shapes = _shapes(network, channels, shape, training=True)
    names = _layer_names(network)
    counts = _count_by(names, network)
    modules = dict(network.named_modules())
    return [
        Layer(name, type(modules[name]).__name__, shapes.get(name, ()), counts[name])
        for name in names
        if counts[name] or (name in shapes and not isinstance(modules[name], nn.Identity))
    ]


def list_blocks(network: nn.Module, channels: int, shape: tuple[int, int]) -> list[Block]:
    """The blocks through which a tile goes when it is predicted, and what each is given.

    A block is a module right below the network, or, where the maps in it change their size, one
    of the modules below that. What has no parameters, and norms, belong to the block before.

    Args:
        network: Left in the mode (train or eval) it came in.
        channels: Input channels.
        shape: (height, width) of the input, in pixels.

    Returns:
        The blocks that give maps, in the order in which they run.
    """
    shapes = _shapes(network, channels, shape, training=False)
    names = _block_names(network, shapes)
    sources = _trace(network, channels, shape, names)
    modules = dict(network.named_modules())
    blocks = []
    for name, taken in sources.items():
        if len(shapes[name]) == 3:  # a head may give a number
            count, height, width = shapes[name]
            kind = type(modules[name]).__name__
            blocks.append(Block(name, kind, count, (height, width), tuple(taken)))
    return blocks


def _layer_names(network: nn.Module) -> list[str]:
    """Modules of depth :data:`DEPTH`, or less where they have none below; lists are opened."""
    names = list(_descend(network, "", 0))
    modules = dict(network.named_modules())
    rest = {
        name.rpartition(".")[0]
        for name, _ in network.named_parameters()
        if _owner(name, names) is None
    }  # of modules that have parameters of their own beside what is below them
    return [name for name in modules if name in {*names, *rest}]


def _descend(module: nn.Module, name: str, depth: int) -> Iterator[str]:
    children = dict(module.named_children())
    if not isinstance(module, LISTS) and (depth >= DEPTH or not children):
        yield name
        return
    for child, below in children.items():
        yield from _descend(below, f"{name}.{child}".lstrip("."), depth + 1)


def _owner(name: str, names: Iterable[str]) -> str | None:
    """The longest of ``names`` that is ``name`` or a module around it."""
    around = [one for one in names if not one or f"{name}.".startswith(f"{one}.")]
    return max(around, key=len, default=None)


def _count_by(names: Sequence[str], network: nn.Module) -> dict[str, int]:
    counts = dict.fromkeys(names, 0)
    for name, parameter in network.named_parameters():
        owner = _owner(name, names)
        if owner is not None and parameter.requires_grad:
            counts[owner] += parameter.numel()
    return counts


def _block_names(network: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Names of the modules that are blocks of their own."""
    layers = _layer_names(network)
    modules, counts = dict(network.named_modules()), _count_by(layers, network)
    layers = [name for name in layers if counts[name] and name in shapes]
    blocks: dict[str, None] = {}  # in order, each once
    for name in layers:
        top = name.partition(".")[0]
        sides = {shapes[one][1:] for one in layers if one.partition(".")[0] == top}
        whole = (
            name != top
            and len(sides) == 1
            and not isinstance(modules[top], LISTS)
            and top in shapes
        )
        if whole or not isinstance(modules[name], NORMS):
            blocks[top if whole else name] = None
    return list(blocks)


def _shapes(
    network: nn.Module, channels: int, shape: tuple[int, int], *, training: bool
) -> dict[str, tuple[int, ...]]:
    """What each module that ran gave last, without the batch; of several tensors the first."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, _: Any, given: Any) -> None:
        found = [leaf for leaf in tree_leaves(given) if isinstance(leaf, Tensor)]
        around = name.split(".")
        for depth in range(1, len(around) + 1) if found else ():
            shapes[".".join(around[:depth])] = tuple(found[0].shape[1:])

    with _watched(network, {name for name, _ in network.named_modules()}, after=note):
        _run(network, _meta_input(channels, shape), training=training)
    return shapes


def _trace(
    network: nn.Module, channels: int, shape: tuple[int, int], names: Sequence[str]
) -> dict[str, list[str]]:
    """For each block, in the order they ran first, the blocks whose maps it was given."""
    origins = _Origins()
    sources: dict[str, list[str]] = {}

    def before(name: str, taken: Any, _: Any) -> None:
        block = _owner(name, names)
        if block is not None:
            known = sources.setdefault(block, [])
            known += sorted(origins.of(taken) - {block, *known}, key=[INPUT, *sources].index)

    def after(name: str, taken: Any, given: Any) -> None:
        block = _owner(name, names)
        if block is not None:
            origins.set(given, block, unless=taken)

    inside = {name for name, _ in network.named_modules() if _owner(name, names)}
    tile = _meta_input(channels, shape)
    origins.set(tile, INPUT)
    with _watched(network, inside, before=before, after=after), origins:
        _run(network, tile, training=False)
    return sources


class _Origins(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers for every tensor the blocks that it comes from, through sums and joins."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        # the tensor beside its origins keeps its id from being given to another
        self._known: dict[int, tuple[Tensor, frozenset[str]]] = {}

    def of(self, tensors: Any) -> frozenset[str]:
        none = (None, frozenset[str]())
        return frozenset().union(*(self._known.get(id(t), none)[1] for t in tree_leaves(tensors)))

    def set(self, tensors: Any, block: str, unless: Any = ()) -> None:
        """Say that tensors come from a block, unless they are those that it was given."""
        given = {id(leaf) for leaf in tree_leaves(unless)}
        for tensor in tree_leaves(tensors):
            if isinstance(tensor, Tensor) and id(tensor) not in given:
                self._known[id(tensor)] = (tensor, frozenset({block}))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        origins = self.of((args, kwargs))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._known[id(tensor)] = (tensor, origins)
        return result


@contextmanager
def _watched(
    network: nn.Module, names: set[str], *, before: Watch | None = None, after: Watch | None = None
) -> Iterator[None]:
    """Call ``before`` and ``after`` around each call of the modules of these names."""
    with ExitStack() as stack:
        for name, module in network.named_modules():
            if name not in names:
                continue
            if before is not None:
                hook = _before_hook(name, before)
                stack.enter_context(module.register_forward_pre_hook(hook, with_kwargs=True))
            if after is not None:
                done = _after_hook(name, after)
                stack.enter_context(module.register_forward_hook(done, with_kwargs=True))
        yield


def _before_hook(name: str, watch: Watch) -> Callable[[nn.Module, Any, Any], None]:
    return lambda module, args, kwargs: watch(name, (args, kwargs), None)


def _after_hook(name: str, watch: Watch) -> Callable[[nn.Module, Any, Any, Any], None]:
    return lambda module, args, kwargs, given: watch(name, (args, kwargs), given)


def _meta_input(channels: int, shape: tuple[int, int]) -> Tensor:
    return torch.zeros(2, channels, *shape, device="meta")  # one alone is too few for batch norm


def _run(network: nn.Module, inputs: Tensor, *, training: bool) -> None:
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    meta = {name: tensor.to("meta") for name, tensor in tensors.items()}
    was_training = network.training
    network.train(training)
    try:
        with torch.no_grad():
            torch.func.functional_call(network, meta, (inputs,))
    finally:
        network.train(was_training)
