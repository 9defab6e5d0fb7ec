# SPDX-License-Identifier: Apache-2.0
"""A writer of GGUF files for tests: true metadata and tensor shapes over sparse, empty data."""

import struct

BOOL, STRING, ARRAY, U64, U32, F32 = 7, 8, 9, 10, 4, 6
TENSOR_TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q8_0": (8, 32, 34), "Q4_1": (3, 32, 20)}


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(item):
    """(type, bytes) of a metadata value."""
    if isinstance(item, bool):
        return BOOL, struct.pack("<?", item)
    if isinstance(item, int):
        return U32, struct.pack("<I", item)
    if isinstance(item, float):
        return F32, struct.pack("<f", item)
    if isinstance(item, str):
        return STRING, text(item)
    kinds = {value(element)[0] for element in item}
    kind = kinds.pop() if kinds else U32
    return ARRAY, struct.pack("<IQ", kind, len(item)) + b"".join(value(element)[1] for element in item)


def write(path, metadata, tensors, alignment=32, cut=0):
    """tensors: rows {"name", "type", "shape"} as /api/show lists them. `cut` leaves out that many bytes at the end."""
    header = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))
    for key, item in metadata.items():
        kind, raw = value(item)
        header += text(key) + struct.pack("<I", kind) + raw
    offset = 0
    for tensor in tensors:
        number, per_block, block_bytes = TENSOR_TYPES[tensor["type"]]
        elements = 1
        for edge in tensor["shape"]:
            elements *= edge
        header += text(tensor["name"]) + struct.pack("<I", len(tensor["shape"]))
        header += b"".join(struct.pack("<Q", edge) for edge in tensor["shape"]) + struct.pack("<IQ", number, offset)
        offset += -(-elements // per_block * block_bytes // alignment) * alignment
    start = -(-len(header) // alignment) * alignment
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(start + offset - cut)
    return path
