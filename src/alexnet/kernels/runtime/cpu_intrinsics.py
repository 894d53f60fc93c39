"""Instructions that Numba does not offer: bit casts, counts of bits, bf16, copies of vectors.

bf16 is the upper half of a float32, and NumPy has no such type, so kernels get bf16 arrays as
uint16 (`layout.as_array`):

    float32   s eeeeeeee mmmmmmm mmmmmmmmmmmmmmmm
    bf16      s eeeeeeee mmmmmmm

Each public name is a Numba intrinsic: a function for use inside kernels only, that is compiled to
the LLVM instructions written here. Imported by the `cpu.py` of operations; imports no operation.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from alexnet.kernels.runtime.layout import VECTOR

INT32, FLOAT32 = ir.IntType(32), ir.FloatType()
ROUND_HALF = 0x7FFF
"""Just under half of the last bit of a bf16, in the bits of a float32."""
NAN = 0x7FC0
"""The bits of a bf16 NaN."""


def _bit_cast(source: types.Type, target: types.Type, llvm_type: ir.Type) -> Callable:
    """Make an intrinsic that reads the bits of a `source` number as those of a `target` number."""

    def type_check(_: object, argument: types.Type) -> tuple[Any, Callable]:
        def generate(_: object, builder: ir.IRBuilder, __: object, values: list) -> ir.Value:
            return builder.bitcast(values[0], llvm_type)

        return target(source), generate

    return intrinsic(type_check)


as_integer = _bit_cast(types.float32, types.int32, INT32)
"""`as_integer(x)`: the bits of a float32 as an int32."""

as_float = _bit_cast(types.int32, types.float32, FLOAT32)
"""`as_float(i)`: the bits of an int32 as a float32."""


def _copy_vector(
    _: object, target: types.Array, to: types.Integer, source: types.Array, at: types.Integer
) -> tuple[Any, Callable]:
    def generate(context: Any, builder: ir.IRBuilder, _: object, values: list) -> ir.Value:
        def pointer_to_vector(array_type: types.Array, array: Any, offset: Any) -> ir.Value:
            start = context.make_array(array_type)(context, builder, array).data
            vector = ir.VectorType(start.type.pointee, VECTOR).as_pointer()
            return builder.bitcast(builder.gep(start, [offset]), vector)

        written = pointer_to_vector(target, values[0], values[1])
        read = pointer_to_vector(source, values[2], values[3])
        builder.store(builder.load(read, align=4), written, align=4)
        return context.get_dummy_value()

    return types.void(target, to, source, at), generate


copy_vector: Callable = intrinsic(_copy_vector)
"""`copy_vector(target, to, source, at)` copies `source[at : at + VECTOR]` to
`target[to : to + VECTOR]`; both arrays are 1-D. A plain loop over so few elements would be compiled
to scalar copies, because its length is not known at compile time."""


def _bf16_to_float32(_: object, value: types.Type) -> tuple[Any, Callable]:
    def generate(_: object, builder: ir.IRBuilder, __: object, values: list) -> ir.Value:
        if not isinstance(value, types.Integer):
            return values[0]
        bits = builder.shl(builder.zext(values[0], INT32), INT32(16))
        return builder.bitcast(bits, FLOAT32)

    return (types.float32 if isinstance(value, types.Integer) else value)(value), generate


def _cast_like(_: object, value: types.Float, array: types.Array) -> tuple[Any, Callable]:
    def generate(_: object, builder: ir.IRBuilder, __: object, values: list) -> ir.Value:
        if not isinstance(array.dtype, types.Integer):
            return values[0]
        bits = builder.bitcast(values[0], INT32)
        # Round to nearest, ties to even: add half of the last bit that is kept, a little more if
        # that bit is 1, and cut off the lower 16 bits. A NaN could overflow, so it is replaced.
        last_bit = builder.and_(builder.lshr(bits, INT32(16)), INT32(1))
        half = builder.add(last_bit, INT32(ROUND_HALF))
        nearest = builder.lshr(builder.add(bits, half), INT32(16))
        is_nan = builder.fcmp_unordered("uno", values[0], values[0])
        return builder.trunc(builder.select(is_nan, INT32(NAN), nearest), ir.IntType(16))

    result = array.dtype if isinstance(array.dtype, types.Integer) else value
    return result(value, array), generate


bf16_to_float32: Callable = intrinsic(_bf16_to_float32)
"""`bf16_to_float32(value)`: the bits of a bf16 as the float32 of the same value. A value that is
not an integer is returned unchanged, so that one kernel reads arrays of either type."""

cast_like: Callable = intrinsic(_cast_like)
"""`cast_like(value, array)`: the bits of the bf16 nearest to a float32 (ties to even) if `array`
stores bf16 as integers, otherwise the value unchanged. A NaN stays a NaN."""


def _count_ones(_: object, value: types.Integer) -> tuple[Any, Callable]:
    def generate(_: object, builder: ir.IRBuilder, __: object, values: list) -> ir.Value:
        return builder.ctpop(values[0])

    return value(value), generate


count_ones: Callable = intrinsic(_count_ones)
"""`count_ones(word)`: how many bits of an integer are 1, as an integer of the same type."""
