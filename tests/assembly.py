"""The assembly of register tiles: where inner loops are, and whether sums stay in registers."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from llvmlite import binding, ir

from npsrcnn.kernels.cpu import tiles

DOUBLE = r"^\s+v?(?:(?:add|sub|mul|div|min|max|sqrt|fn?m[a-z]+\d+)[sp]d|cvt\w+)\s"
"""x86 instructions that compute in float64."""


@dataclass(frozen=True)
class Language:
    """An assembly language: patterns of its instructions.

    ``jump`` is what comes before the label of a conditional jump, ``multiply_add`` begins an
    instruction on packed float32, ``added_to`` finds the register of its sum, ``spill`` the stack
    as an operand.
    """

    jump: str
    multiply_add: str
    added_to: str
    spill: str


X86 = Language(
    jump=r"j\w+",
    multiply_add=r"^\s+vfn?madd\d+ps\s",
    added_to=r"^\s+vfmadd231ps\s.*(%[yz]mm\d+)$",
    spill=r"\(%[re]?[sb]p\)",
)
ARM = Language(
    jump=r"(?:b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+, #\d+,)",
    multiply_add=r"^\s+fmla\s+v\d+\.4s",
    added_to=r"^\s+fmla\s+(v\d+)\.4s",
    spill=r"\[sp\b",
)

ARM_TRIPLE = "aarch64-unknown-linux-gnu"
ARM_FLOATS = {"x", "w", "bias", "out", "gate", "dy", "dw"}
ARM_TILES = [
    ("forward", (tiles.ROWS, tiles.VECTORS)),
    ("forward", (tiles.ROWS, 2)),
    ("forward", (tiles.FEW_ROWS, tiles.FEW_VECTORS)),
    ("forward", (1, tiles.THIN_VECTORS)),
    ("dot", (tiles.ROWS, tiles.DOT_TAPS)),
    ("dot", (1, tiles.THIN_DOT_TAPS)),
]


def compiled_tile(assembly: str, rows: int, vectors: int, kind: str) -> str:
    """The assembly of one tile's function; a tile in groups has its M at the end of its name."""
    name = rf"npsrcnn\.{kind}\.{rows}x{vectors}(?:x\d)?"
    found = re.search(rf"^({name}):.*?\n(.*?)^\s*\.size\s+\1", assembly, re.M | re.S)
    assert found, f"no function {name} in the assembly"
    return found[2]


def loop_over_taps(code: str, sums: int, language: Language) -> str:
    """The longest loop that adds to each of ``sums`` registers equally often.

    A loop is instructions that end in a jump back to their beginning. A tile in groups has
    another one, of its transform, which adds to all of them, but to some more often.
    """
    pattern = rf"^(\.?\w+):.*\n((?:(?!^\.?\w+:).*\n)*?)\s+{language.jump}\s+\1$"
    bodies = re.findall(pattern, code, re.M)
    counts = {body: Counter(re.findall(language.added_to, body, re.M)) for _, body in bodies}
    whole = {body: n for body, n in counts.items() if len(n) == sums and len({*n.values()}) == 1}
    assert whole, f"no loop that adds to {sums} sums, but {list(counts.values())}"
    return max(whole, key=lambda body: whole[body].total())


def check_tile(
    assembly: str,
    rows: int,
    vectors: int,
    register: str,
    kind: str = "forward",
    language: Language = X86,
) -> None:
    """Assert packed multiply-adds on the wide registers, and nothing of the loop in memory."""
    code = compiled_tile(assembly, rows, vectors, kind)
    loop = loop_over_taps(code, rows * vectors, language)
    adds = re.findall(language.multiply_add + r".*", loop, re.M)
    assert all(register in line for line in adds)
    assert not re.search(language.spill, loop), "sums spilled to the stack"
    assert not re.search(DOUBLE, code, re.M), "float64 in a float32 tile"


def check_arm_tiles(*cpus: str) -> None:
    """Compile the tiles for these processors of Arm, on any machine, and read what comes out.

    In a process with ``NPSRCNN_TILES=neon``, or on Arm.
    """
    module = ir.Module()
    module.triple = ARM_TRIPLE
    floats, numbers = tiles.F32.as_pointer(), tiles.I64.as_pointer()
    arguments = {
        "forward": "x off taps w bias out ldo act gate",
        "dot": "dy ldy sy x off first sx lines n dw ldw",
    }
    bodies = {"forward": tiles._forward_body, "dot": tiles._dot_body}
    for name, shape in ARM_TILES:
        kinds = [
            numbers if word == "off" else floats if word in ARM_FLOATS else tiles.I64
            for word in arguments[name].split()
        ]
        kind = ir.FunctionType(ir.VoidType(), kinds)
        builder = ir.IRBuilder(ir.Function(module, kind, f"{name}{shape}").append_basic_block())
        tiles.call_once(builder, name, bodies[name], shape, list(builder.function.args))
        builder.ret_void()
    for cpu in cpus:
        target = binding.Target.from_triple(ARM_TRIPLE)
        machine = target.create_target_machine(cpu=cpu, features="+neon", opt=3)
        assembly = machine.emit_assembly(binding.parse_assembly(str(module)))
        for name, shape in ARM_TILES:
            try:
                check_tile(assembly, *shape, ".4s", name, ARM)
            except AssertionError as error:
                raise AssertionError(f"{name} {shape} on {cpu}: {error}") from error


def knows_arm() -> bool:
    """Whether llvmlite was built with the compiler for Arm."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        binding.Target.from_triple(ARM_TRIPLE)
    except RuntimeError:
        return False
    return True
