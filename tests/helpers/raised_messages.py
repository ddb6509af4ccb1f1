"""The messages that the package's errors can have, read from its source: templates with a field for each value.

``f"{path} is missing"`` is the template ``{} is missing``. A value that is itself words, such as ``"a file" if … else
"a folder"``, the result of a function of the same module or what callers give for a parameter, is followed to where
it is written: short choices become templates of their own, the rest are phrases that stand in a template's field.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import viz_diffusion

PACKAGE = Path(viz_diffusion.__file__).parent
FIELD = "\0"
"""Stands in a template for a value that is no words."""
_MOST_CHOICES = 6
_DEEPEST = 6
SPOKEN = {
    "data.fitting": ("fitting_note",),
    "data.image_folder": ("list_images", "read_images", "split_note", "_notes"),
    "data.inspection": ("_transposed", "_inverted", "_blank", "_repeated"),
    "recording.store.reader": ("extent",),
    "recording.store.layout": ("describe",),
    "recording.timestep_reader": ("place", "_flow"),
    "training.checkpoint": ("load_checkpoint",),
    "training.checkpoint_series": ("read_newest", "resume"),
    "training.metrics_log": ("lost_metrics",),
}
"""Functions whose words the command line prints, in a message or as a note, by their module."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Module:
    """One source file: its constants, functions and imports."""

    name: str
    tree: ast.Module
    constants: dict[str, ast.expr] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)
    scopes: dict[ast.AST, Function | None] = field(default_factory=dict)
    """The innermost function that holds a node."""


@dataclass
class Messages:
    """What was read: templates and phrases, each with the place of one source."""

    templates: dict[str, str] = field(default_factory=dict)
    phrases: dict[str, str] = field(default_factory=dict)
    opaque: dict[str, str] = field(default_factory=dict)
    """Sites whose whole message is a value, by the place: the source text."""


class Reader:
    """Reads all modules of the package."""

    def __init__(self, folder: Path = PACKAGE) -> None:
        self.modules = {module.name: module for module in map(_module, sorted(folder.rglob("*.py")))}
        self.errors = self._error_names()
        self.owners = {one: module for module in self.modules.values() for one in module.scopes.values() if one}
        self.calls: dict[str, list[tuple[Module, ast.Call]]] = {}
        for module in self.modules.values():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call):
                    self.calls.setdefault(_called(node), []).append((module, node))
        self.assignments: dict[Function, dict[str, list[ast.expr]]] = {}
        self.found = Messages()
        self.place = ""

    def read(self) -> Messages:
        """Return the messages of all errors."""
        for module in self.modules.values():
            for node in ast.walk(module.tree):
                call = node.exc if isinstance(node, ast.Raise) else node
                if isinstance(call, ast.Call) and call.args and (call is not node or _called(call) in self.errors):
                    self.site(module, call.args[0], _called(call) in self.errors)
                if isinstance(node, ast.ClassDef) and node.name in self.errors - {"VizdiffError"}:
                    for inner in ast.walk(node):
                        if isinstance(inner, ast.Call) and _called(inner) == "__init__":
                            self.site(module, inner.args[0], True)
        for name, functions in SPOKEN.items():
            module = self.modules[f"viz_diffusion.{name}"]
            for node in (node for function in functions for node in _words(module.functions[function])):
                self.site(module, node, False)
        return self.found

    def site(self, module: Module, message: ast.expr, whole: bool) -> None:
        """Read one message; of another error than the package's, which a message may quote, only words."""
        self.place = f"{module.name.replace('.', '/')}.py: {ast.unparse(message)}"
        for template in self.texts(message, module, 0):
            if not whole and not re.search(f"[a-z{FIELD}] [a-z]", template):
                continue
            if not template.strip(FIELD):
                self.found.opaque[self.place] = template
            elif not re.search("^[ ,]|  | ,", template):  # a value that is never empty here
                self.found.templates.setdefault(template, self.place)

    def texts(self, node: ast.expr, module: Module, depth: int) -> set[str]:
        """Return the texts that an expression can have; only :data:`FIELD` where it is not known to be words."""
        if isinstance(node, ast.Constant):
            return {node.value} if isinstance(node.value, str) else {FIELD}
        if depth > _DEEPEST:
            return {FIELD}
        if isinstance(node, ast.JoinedStr):
            return self.joined([self.part(part, module, depth) for part in node.values])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self.joined([self.texts(side, module, depth) for side in (node.left, node.right)])
        if isinstance(node, ast.IfExp):
            return self.texts(node.body, module, depth) | self.texts(node.orelse, module, depth)
        if isinstance(node, ast.BoolOp):
            return set().union(*(self.texts(value, module, depth) for value in node.values)) - {""}
        if isinstance(node, ast.Subscript):
            return self.items(node.value, module, depth)
        if isinstance(node, ast.Name):
            return self.named(node, module, depth)
        if isinstance(node, ast.Call):
            return self.returned(node, module, depth)
        return {FIELD}

    def joined(self, parts: list[set[str]]) -> set[str]:
        return {re.sub(f"{FIELD}+", FIELD, "".join(chosen)) for chosen in product(*parts)}

    def part(self, node: ast.expr, module: Module, depth: int) -> set[str]:
        """Return what a part of an f-string can be; its words become phrases where they are many, or may be a value."""
        if isinstance(node, ast.Constant):
            return {str(node.value)}
        assert isinstance(node, ast.FormattedValue)
        if node.conversion == ord("r") or node.format_spec is not None:
            return {FIELD}
        if isinstance(node.value, ast.Call) and _called(node.value) == "join":
            return self.listed(node.value, module)
        found = self.texts(node.value, module, depth + 1)
        if FIELD not in found and len(found) <= _MOST_CHOICES:
            return found
        for phrase in found - {FIELD}:
            if re.search("[a-z] [a-z]", phrase):
                self.found.phrases.setdefault(phrase, self.place)
        return {FIELD} | found & {""}

    def listed(self, call: ast.Call, module: Module) -> set[str]:
        """Return a list of values: as many as a constant has where "or" stands between them, else one field."""
        separator, values = getattr(getattr(call.func, "value", None), "value", None), call.args[0]
        if separator != " or ":
            return {FIELD}
        constant = self.constant(values.id, module)[0] if isinstance(values, ast.Name) else None
        counts = [len(constant.elts)] if isinstance(constant, ast.Tuple) else [1, 2]
        return {" or ".join([FIELD] * count) for count in counts}

    def items(self, node: ast.expr, module: Module, depth: int) -> set[str]:
        """Return the values of a dictionary or a row of words."""
        value, owner = self.constant(node.id, module) if isinstance(node, ast.Name) else (node, module)
        if isinstance(value, ast.Dict):
            return {FIELD}.union(*(self.texts(one, owner, depth + 1) for one in value.values))
        return {FIELD}

    def constant(self, name: str, module: Module) -> tuple[ast.expr | None, Module]:
        """Return a constant of a module, or of that which it imports it from."""
        if name in module.constants:
            return module.constants[name], module
        source, known = module.imports.get(name, ("", ""))
        return self.constant(known, self.modules[source]) if source in self.modules else (None, module)

    def named(self, node: ast.Name, module: Module, depth: int) -> set[str]:
        """Return what a name can stand for: a local value, a parameter that callers give, or a constant."""
        function = module.scopes.get(node)
        if function is not None:
            values = self.assigned(function).get(node.id, [])
            if values:
                return set().union(*(self.texts(value, module, depth + 1) for value in values))
            if node.id in _parameters(function):
                return self.given(function, node.id, depth + 1)
        value, owner = self.constant(node.id, module)
        return {FIELD} if value is None else self.texts(value, owner, depth + 1)

    def assigned(self, function: Function) -> dict[str, list[ast.expr]]:
        """Return what a function assigns to each name."""
        if function not in self.assignments:
            found = self.assignments[function] = {}
            for one in ast.walk(function):
                if isinstance(one, ast.Assign | ast.AnnAssign) and one.value is not None:
                    for to in _targets(one):
                        for name, value in _unpacked(to, one.value):
                            found.setdefault(name, []).append(value)
        return self.assignments[function]

    def given(self, function: Function, name: str, depth: int) -> set[str]:
        """Return what callers give for a parameter."""
        names, found = _parameters(function), set[str]()
        for module, call in self.callers(function):
            offset = 1 if names[0] in ("self", "cls") else 0
            given = [word.value for word in call.keywords if word.arg == name]
            given += call.args[names.index(name) - offset :][:1]
            for value in given:
                found |= self.texts(value, module, depth + 1)
        arguments = function.args
        by_place = [*arguments.posonlyargs, *arguments.args]
        defaults = dict(zip((one.arg for one in reversed(by_place)), reversed(arguments.defaults), strict=False))
        defaults |= {
            one.arg: value for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value
        }
        if name in defaults:
            found |= self.texts(defaults[name], self.owners[function], depth + 1)
        return found or {FIELD}

    def callers(self, function: Function) -> list[tuple[Module, ast.Call]]:
        """Return the calls of a function, found by its name; none of ``__init__``, which its class is called for."""
        calls = self.calls.get(function.name, []) if not function.name.startswith("__") else []
        own = self.owners[function]
        return [(module, call) for module, call in calls if module is own or not function.name.startswith("_")]

    def returned(self, node: ast.Call, module: Module, depth: int) -> set[str]:
        """Return what a function of the package returns; a format string with its fields filled in."""
        name = _called(node)
        if name == "did_you_mean":  # translated wherever it stands
            return {""}
        if name == "format" and isinstance(node.func, ast.Attribute):
            return {re.sub(r"\{[^}]*\}", FIELD, one) for one in self.texts(node.func.value, module, depth + 1)}
        function = module.functions.get(name)
        source, known = module.imports.get(name, ("", ""))
        if function is None and source in self.modules:
            module = self.modules[source]
            function = module.functions.get(known)
        if function is None:
            return {FIELD}
        values = [one.value for one in ast.walk(function) if isinstance(one, ast.Return) and one.value is not None]
        return set().union({FIELD} if not values else set(), *(self.texts(v, module, depth + 1) for v in values))

    def _error_names(self) -> set[str]:
        names = {"VizdiffError"}
        classes = [n for m in self.modules.values() for n in ast.walk(m.tree) if isinstance(n, ast.ClassDef)]
        for _ in range(3):
            names |= {c.name for c in classes if any(isinstance(b, ast.Name) and b.id in names for b in c.bases)}
        return names


def _module(path: Path) -> Module:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    module = Module(".".join(parts).removesuffix(".__init__"), ast.parse(path.read_text("utf-8")))
    for node in module.tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            for to in _targets(node):
                module.constants |= dict(_unpacked(to, node.value))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            module.imports |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        elif isinstance(node, Function):
            module.functions[node.name] = node
            for inner in ast.walk(node):
                module.scopes[inner] = node
    return module


def _words(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the texts of a function that are not in another text, an error or a docstring."""
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        yield node
    elif not isinstance(node, ast.Raise) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        for inner in ast.iter_child_nodes(node):
            yield from _words(inner)


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _unpacked(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield names and what they get, also where ``a, b = 1, 2`` or ``a, b = (1, 2) if … else (3, 4)``."""
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple):
        for row in [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]:
            if isinstance(row, ast.Tuple):
                for inner, one in zip(target.elts, row.elts, strict=False):  # a row may be unpacked by a star
                    yield from _unpacked(inner, one)


def _parameters(function: Function) -> list[str]:
    return [one.arg for one in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
