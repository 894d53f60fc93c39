"""Reading of the formats: what they hold, and errors for damaged and hostile files."""

import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.importing import foreign

from alexnet.importing.caffe_files import read_binaryproto, read_caffemodel
from alexnet.importing.protobuf import Field, FieldCounter, iterate_fields, read_varints
from alexnet.importing.torch_files import read_pth, read_safetensors

TENSORS = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3)}


def fields(content, most=100):
    return list(iterate_fields(memoryview(content), FieldCounter(most)))


def save(content, path, new=True):
    torch.save(content, path, _use_new_zipfile_serialization=new)
    return path


def assert_same(found):
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], x) for name, x in TENSORS.items())


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: {"epoch": 3, "state_dict": x, "loss": 0.5}]
)
def test_a_state_dict_is_read_from_both_formats_and_from_checkpoints(new, wrap, tmp_path):
    assert_same(read_pth(save(wrap(TENSORS), tmp_path / "x.pth", new)))


def test_names_lose_what_data_parallel_has_added(tmp_path):
    parallel = {f"module.{name}": x for name, x in TENSORS.items()}
    assert_same(read_pth(save(parallel, tmp_path / "x.pth")))
    save_file(parallel, tmp_path / "x.safetensors")
    assert_same(read_safetensors(tmp_path / "x.safetensors"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.nn.Linear(2, 2), "no file of weights that torch.load"),
        ([1, 2], "no weights by name, but a list"),
        ({"epoch": 3}, "no weights by name, but 'epoch'"),
        ({"a": torch.ones(2).to_sparse()}, "no weights by name, but 'a'"),
        ({"module.a": torch.ones(2), "a": torch.ones(2)}, "differ in `module` only"),
    ],
)
def test_other_pickles_are_refused_without_running_them(content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        read_pth(save(content, tmp_path / "x.pth"))


class Hostile:
    """Pickled as a tensor of a million times as many bytes as its storage has."""

    def __reduce__(self):
        storage = torch.zeros(4)._typed_storage()
        return torch._utils._rebuild_tensor_v2, (storage, 0, (1 << 38,), (1,), False, {})


def test_a_tensor_that_is_larger_than_the_file_takes_no_memory(tmp_path):
    with pytest.raises(
        ValueError, match=r"its tensors are larger than the file|no file of weights"
    ):
        read_pth(save({"a": Hostile()}, tmp_path / "x.pth"))


def test_a_compressed_archive_is_refused(tmp_path):
    save(TENSORS, tmp_path / "x.pth")
    new = zipfile.ZipFile(tmp_path / "y.pth", "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(tmp_path / "x.pth") as old, new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
        new.writestr("archive/data/9", bytes(1 << 20))
    with pytest.raises(ValueError, match="its members are compressed"):
        read_pth(tmp_path / "y.pth")


@pytest.mark.parametrize("length", [0, 1, 100, 400])
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_a_file_that_ends_early_is_told_in_a_sentence(name, length, tmp_path):
    path = tmp_path / name
    if name == "x.pth":
        save(TENSORS, path)
    else:
        save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[: min(length, path.stat().st_size - 4)])
    with pytest.raises(ValueError, match="Download it again"):
        (read_pth if name == "x.pth" else read_safetensors)(path)


def test_fields_of_every_wire_type_are_read():
    content = (
        foreign.number(1, 300) + foreign.content(2, b"ab") + foreign.real(3, 0.5)
        + foreign.varint(4 << 3 | 1) + struct.pack("<d", 0.25)
    )  # fmt: skip
    found = [
        (x.number, x.value if isinstance(x.value, int) else bytes(x.value)) for x in fields(content)
    ]
    assert found == [
        (1, 300),
        (2, b"ab"),
        (3, struct.pack("<f", 0.5)),
        (4, struct.pack("<d", 0.25)),
    ]
    assert read_varints(memoryview(foreign.varint(1) + foreign.varint(1 << 40))) == [1, 1 << 40]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x08", "does not end"),
        (b"\x08" + b"\xff" * 11, "does not end"),
        (b"\x12\x05ab", "longer than what holds it"),
        (b"\x0d\0\0", "longer than what holds it"),
        (b"\x0b", "wire type 3"),
        (b"\x02\x00", "longer than what holds it"),
        (b"\x08\x01" * 101, "more than"),
    ],
)
def test_bytes_that_are_no_message_are_refused(content, message):
    with pytest.raises(ValueError, match=message):
        fields(content)


def test_a_field_of_another_type_is_refused():
    with pytest.raises(ValueError, match="a number was wanted"):
        _ = Field(1, memoryview(b"")).integer
    with pytest.raises(ValueError, match="bytes were wanted"):
        _ = Field(1, 5).content


@pytest.mark.parametrize("old", [True, False])
def test_layers_have_their_names_types_arrays_and_parameters(old, tmp_path):
    weights = {name: (np.full(shape[:1] + (1,) * (len(shape) - 1), 2.5), np.ones(shape[0]))
               for name, shape in foreign.SHAPES.items()}  # fmt: skip
    (tmp_path / "x.caffemodel").write_bytes(foreign.caffemodel(weights, True, old))
    layers = {layer.name: layer for layer in read_caffemodel(tmp_path / "x.caffemodel")}
    assert [layers[x].type for x in ("conv1", "norm1", "pool1", "fc6")] == [
        *("Convolution", "LRN", "Pooling", "InnerProduct"),
    ]
    assert layers["conv2"].parameters == {1: 256, 3: 2, 5: 2, 6: 1}
    assert layers["norm1"].parameters == pytest.approx({1: 5, 2: 1e-4, 3: 0.75})
    assert layers["fc8"].blobs[0].shape == ((1, 1, 7, 1) if old else (7, 1))
    assert (layers["fc8"].blobs[0] == 2.5).all()


def test_doubles_and_single_values_are_arrays_too(tmp_path):
    doubles = struct.pack("<3d", 1, 2, 3)
    shape = foreign.content(7, foreign.number(1, 3))
    (tmp_path / "a").write_bytes(shape + foreign.content(8, doubles))
    (tmp_path / "b").write_bytes(shape + b"".join(foreign.real(5, x) for x in (1, 2, 3)))
    for name in "ab":
        assert read_binaryproto(tmp_path / name).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no layers"),
        (b"not a network", "not a file of Caffe, or is damaged"),
        (foreign.content(2, foreign.content(1, b"")), "of Caffe's first format, of 2013"),
        (
            foreign.content(
                100, foreign.content(7, b"".join(foreign.number(i, 9) for i in (1, 2, 3, 4)))
            ),
            "has 0 values",
        ),
        (foreign.content(100, foreign.number(1, 3)), "bytes were wanted"),
        (foreign.content(100, foreign.content(7, foreign.content(5, b"abc"))), "inside a number"),
    ],
)
def test_a_damaged_caffemodel_is_told_in_a_sentence(content, message, tmp_path):
    (tmp_path / "x.caffemodel").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_caffemodel(tmp_path / "x.caffemodel")


def test_the_reader_agrees_with_googles(tmp_path):
    """A blob that the library `protobuf` has written, with a descriptor made here."""
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="blob.proto", package="x", syntax="proto2")
    shape = file.message_type.add(name="BlobShape")
    shape.field.add(name="dim", number=1, type=3, label=3).options.packed = True
    blob = file.message_type.add(name="BlobProto")
    blob.field.add(name="shape", number=7, type=11, label=1, type_name=".x.BlobShape")
    blob.field.add(name="data", number=5, type=2, label=3).options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    written = message_factory.GetMessageClass(pool.FindMessageTypeByName("x.BlobProto"))()
    written.shape.dim.extend([2, 300])
    values = np.random.default_rng(0).normal(size=600).astype(np.float32)
    written.data.extend(values.tolist())
    (tmp_path / "x").write_bytes(written.SerializeToString())
    assert np.array_equal(read_binaryproto(tmp_path / "x"), values.reshape(2, 300))


def test_a_zip_that_says_it_spans_several_disks_is_refused(tmp_path):
    path = tmp_path / "x.pth"
    torch.save({"weight": torch.ones(2)}, path)
    content = bytearray(path.read_bytes())
    locator = b"PK\x06\x07" + struct.pack("<LQL", 1, 0, 9)  # of a zip64 archive of nine disks
    end = content.rindex(b"PK\x05\x06")
    path.write_bytes(content[:end] + locator + content[end:])
    with pytest.raises(ValueError, match=r"x\.pth"):
        read_pth(path)
