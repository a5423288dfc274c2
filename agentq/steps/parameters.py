"""A function's annotations: checked at the start, rebuilt at execution."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import zip_longest
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import PydanticSchemaGenerationError, PydanticUserError

from agentq.exceptions import InvalidArguments, InvalidResult, InvalidValue, StepDefinitionError
from agentq.redaction import clean, show
from agentq.steps.context import Context
from agentq.steps.values.annotations import FAULTS, Annotation, fault_of
from agentq.steps.values.shapes import Shape, anything, given, taken

Adapter = Annotation | None
"""None where a value has no annotation: it passes as it is."""

_AS_THEY_ARE = (Any, inspect.Parameter.empty, inspect.Signature.empty, object)
_GIVEN = object()  # stands for the value that the step before will give


class Parameters:
    """The check, the storage and the rebuilding of one step's arguments and result.

    Raises StepDefinitionError where an annotation cannot be understood or has no JSON form.
    """

    def __init__(self, step: str, function: Callable[..., Any]) -> None:
        self._step = step
        self.function = function
        self._hints = hints = _hints(step, function)
        full = inspect.signature(function)
        self._context = next((name for name in full.parameters if _is_context(hints.get(name))), None)
        self._context_place = _place(full, self._context)
        parameters = [item for name, item in full.parameters.items() if name != self._context]
        self._signature = full.replace(parameters=parameters)
        self._adapters = {item.name: _adapter(step, item.name, hints.get(item.name, Any)) for item in parameters}
        self._result = _adapter(step, "the result", hints.get("return", Any))

    @property
    def first(self) -> str:
        """The name of its first parameter, which the step before fills."""
        return next(self._positional_names())

    @cached_property
    def gives(self) -> Shape:
        """The JSON that its results can be."""
        return anything if self._result is None else given(self._result.schema)

    @cached_property
    def takes(self) -> Shape:
        """The JSON that its first parameter can take."""
        adapter = self._adapter_of(self.first)
        return anything if adapter is None else taken(adapter.schema)

    def type_of(self, name: str) -> str:
        """Return the annotation of a parameter, or of the result as "return", as it is written."""
        return _as_written(self._hints.get(name, Any))

    @property
    def takes_context(self) -> bool:
        """True if one of them is the ``Context`` of the attempt."""
        return self._context is not None

    @functools.cached_property
    def digest(self) -> str:
        """A short hash of what they are: names, kinds, which have a default, and the JSON that fits each."""
        return digest_of(self._signature, [adapter and adapter.shape for adapter in self._adapters.values()])

    def dump(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], *, given: bool
    ) -> tuple[list[Any], dict[str, Any]]:
        """Check arguments against the annotations and return them ready for JSON.

        *given* says that the step before will put one more argument in front.
        Raises InvalidArguments naming the parameter, the path and, where it is no secret, the value.
        """
        before: tuple[Any, ...] = (_GIVEN,) if given else ()
        self._bind((*before, *args), kwargs)
        names = self._positional_names()
        positional = [self._dump_one(next(names), value) for value in (*before, *args)]
        return positional[len(before) :], {name: self._dump_one(name, value) for name, value in kwargs.items()}

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, given: bool) -> dict[str, Any]:
        """Return arguments by the names of their parameters, with defaults; *given* as for ``dump``.

        The one that the step before gives is left out. The arguments fit, as ``dump`` has seen.
        """
        bound = self._signature.bind(*((_GIVEN,) if given else ()), *args, **kwargs)
        bound.apply_defaults()
        return {name: value for name, value in bound.arguments.items() if not given or name != self.first}

    def loaded(self, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Rebuild JSON arguments, all of them, and return them as ``arguments`` does. Raises InvalidArguments."""
        values, named = self._load(args, kwargs)
        return self.arguments(tuple(values), named, given=False)

    def check(self, args: list[Any], kwargs: dict[str, Any], *, given: bool) -> None:
        """Check JSON arguments as ``load`` will; *given* as for ``dump``. Raises InvalidArguments."""
        before = [_GIVEN] if given else []
        self._bind((*before, *args), kwargs)
        names = self._positional_names()
        for value in (*before, *args):
            self._load_one(next(names), value)
        for name, value in kwargs.items():
            self._load_one(name, value)

    def load(
        self, args: list[Any], kwargs: dict[str, Any], context: Context | None
    ) -> tuple[list[Any], dict[str, Any]]:
        """Rebuild JSON arguments as the annotations say, with the context where the function takes one.

        Raises InvalidArguments.
        """
        return self._with_context(*self._load(args, kwargs), context)

    def by_name(self, args: list[Any], kwargs: dict[str, Any], *, given: bool) -> dict[str, Any]:
        """Return JSON arguments by the names of their parameters, without those that are as their default.

        So a call is the same however it is written; *given* as for ``dump``.
        """
        named: dict[str, Any] = {}
        names = self._positional_names()
        for value in (*([_GIVEN] if given else []), *args):
            name = next(names, "")
            if value is _GIVEN:
                continue
            if self._is_variadic(name):
                named.setdefault(name, []).append(value)
            else:
                named[name] = value
        named |= kwargs
        return {name: value for name, value in named.items() if not self._is_default(name, value)}

    def dump_result(self, value: Any) -> Any:
        """Check what the function returned and return it ready for JSON; raises InvalidResult."""
        if self._result is None:
            return value
        try:
            return self._result.dump(value)
        except InvalidValue as error:
            raise InvalidResult(f"the result of step {self._step!r} cannot be kept: {error}") from None
        except FAULTS as error:
            raise InvalidResult(
                f"step {self._step!r} returned {show(value)}, which does not fit its annotation: "
                f"{fault_of(error, 'the result')}"
            ) from None

    def load_result(self, value: Any) -> Any:
        """Rebuild a JSON result as the annotation says; raises InvalidResult where it does not fit."""
        if self._result is None:
            return value
        try:
            return self._result.load(value)
        except FAULTS as error:
            raise InvalidResult(
                f"the result of step {self._step!r} does not fit its annotation: {fault_of(error, 'the result')}"
            ) from None

    def _load(self, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        self._bind(tuple(args), kwargs)
        names = self._positional_names()
        values = [self._load_one(next(names), value) for value in args]
        return values, {name: self._load_one(name, value) for name, value in kwargs.items()}

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(
                f"step {self._step!r} cannot be called like this: {error}; its parameters are "
                f"{self._signature.replace(return_annotation=inspect.Signature.empty)}"
            ) from None

    def _positional_names(self) -> Iterator[str]:
        for parameter in self._signature.parameters.values():
            yield parameter.name
            while parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                yield parameter.name

    def _is_variadic(self, name: str) -> bool:
        parameter = self._signature.parameters.get(name)
        return parameter is None or parameter.kind is inspect.Parameter.VAR_POSITIONAL

    def _is_default(self, name: str, value: Any) -> bool:
        parameter = self._signature.parameters.get(name)
        if parameter is None or parameter.default is inspect.Parameter.empty:
            return False
        try:
            default = self._dump_one(name, parameter.default)
        except InvalidArguments:  # such as None for a str
            default = parameter.default
        # As JSON: there, 1 is neither 1.0 nor True.
        return json.dumps(default, sort_keys=True, default=repr) == json.dumps(value, sort_keys=True)

    def _adapter_of(self, name: str) -> Adapter:
        if name not in self._adapters:  # one of **kwargs
            name = next(reversed(self._signature.parameters))
        return self._adapters[name]

    def _dump_one(self, name: str, value: Any) -> Any:
        adapter = self._adapter_of(name)
        if adapter is None or value is _GIVEN:
            return value
        try:
            return adapter.dump(value, or_given=True)
        except InvalidValue as error:
            raise InvalidArguments(f"step {self._step!r}: argument {name!r} cannot be kept: {error}") from None
        except FAULTS as error:
            raise self._misfit(name, value, error) from None

    def _load_one(self, name: str, value: Any) -> Any:
        adapter = self._adapter_of(name)
        if adapter is None or value is _GIVEN:
            return value
        try:
            return adapter.load(value)
        except FAULTS as error:
            raise self._misfit(name, value, error) from None

    def _misfit(self, name: str, value: Any, error: BaseException) -> InvalidArguments:
        return InvalidArguments(
            f"step {self._step!r}: argument {name!r} does not fit its annotation: {fault_of(error, name)} "
            f"(got {show(value, name=name)})"
        )

    def _with_context(
        self, values: list[Any], named: dict[str, Any], context: Context | None
    ) -> tuple[list[Any], dict[str, Any]]:
        if self._context is None:
            return values, named
        if self._context_place is not None and len(values) >= self._context_place:
            return [*values[: self._context_place], context, *values[self._context_place :]], named
        return values, {**named, self._context: context}


def digest_of(signature: inspect.Signature, shapes: Sequence[Any] = ()) -> str:
    """A short hash of parameters, and of the shapes of the JSON that fits each, where these are known."""
    described = [
        (item.name, item.kind.name, item.default is item.empty, shape)
        for item, shape in zip_longest(signature.parameters.values(), shapes)
    ]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:12]


def _place(signature: inspect.Signature, name: str | None) -> int | None:
    """Return the position of a parameter that can be given by position."""
    if name is None or signature.parameters[name].kind is inspect.Parameter.KEYWORD_ONLY:
        return None
    return list(signature.parameters).index(name)


def _is_context(annotation: Any) -> bool:
    """Say whether it is ``Context``, also as ``Context | None`` or with metadata."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return any(map(_is_context, get_args(annotation)))
    return annotation is Context


def _as_written(annotation: Any) -> str:
    """Return an annotation in words, without the modules of its names."""
    text = annotation.__name__ if type(annotation) is type else inspect.formatannotation(annotation)
    return clean(re.sub(r"\b(?:\w+|<locals>)\.", "", text), 200)


def _hints(step: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except Exception as error:
        raise StepDefinitionError(
            f"step {step!r}: an annotation cannot be evaluated: {error}; import the name at run time, not only "
            "for type checking"
        ) from error


def _adapter(step: str, name: str, annotation: Any) -> Adapter:
    if annotation in _AS_THEY_ARE:
        return None
    try:
        adapter = Annotation(annotation)
    except (PydanticSchemaGenerationError, PydanticUserError) as error:
        raise StepDefinitionError(
            f"step {step!r}: {name!r} is annotated {show(annotation)}, which has no JSON form "
            f"({str(error).splitlines()[0]}); use a Pydantic model, a dataclass or a plain type, or drop it"
        ) from None
    return adapter
