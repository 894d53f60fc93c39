"""What Numba cannot say itself: a number's bits, bf16, and several numbers moved as one.

bf16 is the upper half of a float32. NumPy has no such type, so kernels get it as uint16.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from alexnet.kernels.runtime.layout import VECTOR

WORD, FLOAT = ir.IntType(32), ir.FloatType()


def _bits(source: types.Type, target: types.Type, kind: ir.Type) -> Callable:
    """A function for kernels that reads the bits of a number as those of another type."""

    def read(_: object, given: types.Type) -> tuple[Any, Callable]:
        def bitcast(__: object, builder: ir.IRBuilder, ___: object, numbers: list) -> ir.Value:
            return builder.bitcast(numbers[0], kind)

        return target(source), bitcast

    return intrinsic(read)


as_integer = _bits(types.float32, types.int32, WORD)
as_float = _bits(types.int32, types.float32, FLOAT)
"""The bits of a float32 as an int32, and back."""


def _copy_vector(
    _: object, target: types.Array, to: types.Integer, source: types.Array, at: types.Integer
) -> tuple[Any, Callable]:
    def generate(context: Any, builder: ir.IRBuilder, __: object, given: list) -> ir.Value:
        vectors = []
        for kind, array, place in ((target, given[0], given[1]), (source, given[2], given[3])):
            start = context.make_array(kind)(context, builder, array).data
            pointer = ir.VectorType(start.type.pointee, VECTOR).as_pointer()
            vectors.append(builder.bitcast(builder.gep(start, [place]), pointer))
        builder.store(builder.load(vectors[1], align=4), vectors[0], align=4)
        return context.get_dummy_value()

    return types.void(target, to, source, at), generate


copy_vector: Callable = intrinsic(_copy_vector)
"""`copy_vector(target, to, source, at)`: VECTOR numbers of a flat array, from `at` on, to another's
place `to`. A loop over few numbers would be compiled for single ones, its end being unknown."""


def _widened(_: object, value: types.Type) -> tuple[Any, Callable]:
    def generate(__: object, builder: ir.IRBuilder, ___: object, given: list) -> ir.Value:
        if not isinstance(value, types.Integer):
            return given[0]
        upper = builder.shl(builder.zext(given[0], WORD), WORD(16))
        return builder.bitcast(upper, FLOAT)

    return (types.float32 if isinstance(value, types.Integer) else value)(value), generate


def _narrowed(_: object, value: types.Float, array: types.Array) -> tuple[Any, Callable]:
    def generate(__: object, builder: ir.IRBuilder, ___: object, given: list) -> ir.Value:
        if not isinstance(array.dtype, types.Integer):
            return given[0]
        bits = builder.bitcast(given[0], WORD)
        odd = builder.and_(builder.lshr(bits, WORD(16)), WORD(1))
        nearest = builder.lshr(builder.add(bits, builder.add(odd, WORD(0x7FFF))), WORD(16))
        nan = builder.fcmp_unordered("uno", given[0], given[0])
        return builder.trunc(builder.select(nan, WORD(0x7FC0), nearest), ir.IntType(16))

    result = array.dtype if isinstance(array.dtype, types.Integer) else value
    return result(value, array), generate


bf16_to_float32: Callable = intrinsic(_widened)
"""`bf16_to_float32(value)`: a bf16's bits as the float32 that it is; any
other number as it stands."""

cast_like: Callable = intrinsic(_narrowed)
"""`cast_like(value, array)`: a float32 as the bits of the nearest bf16, ties to even, if the array
holds such; else as it stands. A NaN stays one."""
