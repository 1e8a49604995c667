"""Which engine runs a strategy: the reference, stock Backtrader, or the compiled one."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any

from freqlstm.errors import PluginError, UnknownName
from freqlstm.progress import Progress, silent
from freqlstm.strategy import CONDITIONS, Strategy

if TYPE_CHECKING:
    from freqlstm.engines.fills import Simulation

ENGINES = ("backtrader", "backtrader-stock", "compiled")


def check_engine(name: str) -> None:
    """An error for a name that no engine has."""
    if name not in ENGINES:
        raise UnknownName("engine", name, ENGINES, f"There are {', '.join(ENGINES[:-1])} and {ENGINES[-1]}.")


def engine(name: str, progress: Progress = silent) -> Callable[..., Simulation]:
    """The ``simulate`` of the engine of that name; ``progress`` is told where it has to be compiled first."""
    check_engine(name)
    if name == "compiled":
        from freqlstm.compiling import announced
        from freqlstm.engines import compiled

        def simulate(*what: Any, **how: Any) -> Simulation:
            with announced(progress, "the engine"):
                return compiled.simulate(*what, **how)

        return simulate
    if name == "backtrader-stock":
        from freqlstm.engines import stock

        return stock.simulate
    from freqlstm.engines import backtrader

    return backtrader.simulate


def require_conditions_alone(strategy: type[Any], instead: str = "Run it with --engine backtrader.") -> None:
    """An error for a strategy that does more than its conditions say, which the compiled engine would never ask."""
    name = strategy.__name__
    runs = "the compiled engine runs conditions over columns only"
    if not issubclass(strategy, Strategy):
        raise PluginError(f"{name} is a plain Backtrader strategy, and {runs}. {instead}")
    for base in strategy.__mro__[: strategy.__mro__.index(Strategy)]:
        for method, value in vars(base).items():
            own = isinstance(value, FunctionType | property) and hasattr(Strategy, method)
            if own and method not in (*CONDITIONS, "share"):
                raise PluginError(f"{name} has its own {method}(), and {runs}. {instead}")
