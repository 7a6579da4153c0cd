"""Reads pprof from the bytes that a client sent. It shares nothing with Upriver's decoder and knows
no more than the clients here write; field numbers are those of google/pprof's `profile.proto`."""

import gzip
from collections import defaultdict

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def fields(message):
    """The fields of a protobuf message: number to its values, in order."""
    found = defaultdict(list)
    position = 0
    while position < len(message):
        key, position = varint(message, position)
        wire_type = key & 7
        if wire_type == VARINT:
            value, position = varint(message, position)
        else:
            length = {FIXED64: 8, FIXED32: 4}.get(wire_type)
            if wire_type == BYTES:
                length, position = varint(message, position)
            if length is None or position + length > len(message):
                raise ValueError(f"no protobuf message: wire type {wire_type} at {position}")
            value = message[position : position + length]
            position += length
        found[key >> 3].append(value)
    return found


def varint(message, position):
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def integers(values):
    """A repeated integer, packed or not."""
    for value in values:
        if isinstance(value, int):
            yield signed(value)
            continue
        position = 0
        while position < len(value):
            number, position = varint(value, position)
            yield signed(number)


def signed(number):
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def integer(message, number):
    return signed(message[number][-1]) if message[number] else 0


def unzipped(body):
    return gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body


def of_push(body):
    """The profiles in a body of `push.v1.PusherService/Push`."""
    request = fields(unzipped(body))
    for series in request[1]:
        for sample in fields(series)[2]:
            yield fields(sample)[1][-1]


def read(body):
    """How many samples a profile has, and each value of each sample but zeros, which no table
    keeps: when, what, how much, on which frames (leaf first), with which labels."""
    profile = fields(unzipped(body))
    return {"samples": len(profile[2]), "observations": list(observations(profile))}


def observations(profile):
    strings = [text.decode() for text in profile[6]]
    types = [fields(value_type) for value_type in profile[1]]
    names = [(strings[integer(of, 1)], strings[integer(of, 2)]) for of in types]
    functions = {
        integer(of, 1): (strings[integer(of, 2)], strings[integer(of, 4)])
        for of in map(fields, profile[5])
    }
    locations = {
        integer(of, 1): [
            (*functions[integer(line, 1)], integer(line, 2)) for line in map(fields, of[4])
        ]
        for of in map(fields, profile[4])
    }
    for sample in map(fields, profile[2]):
        frames = [frame for place in integers(sample[1]) for frame in locations[place]]
        labels = [label(fields(of), strings) for of in sample[3]]
        values = list(integers(sample[2]))
        if len(values) != len(names):
            raise ValueError(f"{len(values)} values for {len(names)} sample types")
        for (name, unit), value in zip(names, values):
            if value != 0:
                yield {
                    "time": integer(profile, 9),
                    "type": name,
                    "unit": unit,
                    "value": value,
                    "frames": frames,
                    "labels": dict(labels),
                }


def label(of, strings):
    text = strings[integer(of, 2)]
    return strings[integer(of, 1)], text or str(integer(of, 3))
