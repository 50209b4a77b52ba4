# SPDX-License-Identifier: MIT
"""The container: magic, version, sections and checksums of a snapshot file.

A snapshot is read front to back, one section at a time, so that memory is bounded by the largest
payload the format allows and not by what a damaged length field claims. What the payloads mean is
`_tables.py`'s business; the format itself is described in core/FORMAT.md.

Invariants:
- every length is checked against the format's limit and the file's true size before it is read;
- each fault is a `SnapshotError` that names the file, the offset, and what was expected there;
- with `salvage`, a fault costs the section it is in and is remembered in `faults`.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from typing import BinaryIO, Iterator, List, NamedTuple, Optional, Tuple

MAGIC = b"\x89MPROF\r\n"
MAJOR = 1
MINOR = 0
PAYLOAD_MAX = 1 << 20

_HEADER = struct.Struct("<8sHHI")
_SECTION = struct.Struct("<4sIQII")
_END = struct.Struct("<QQ")
_MUST_KNOW = 1
_FAULTS_KEPT = 20


class SnapshotError(ValueError):
    """A snapshot that cannot be read: which file, where, and why."""

    def __init__(self, path: str, offset: int, reason: str) -> None:
        super().__init__(path, offset, reason)
        self.path = path
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return "%s: at offset %d: %s" % (self.path, self.offset, self.reason)


class Section(NamedTuple):
    tag: bytes
    must_know: bool
    offset: int
    payload: bytes


def _padded(length: int) -> int:
    return (length + 7) & ~7


class Container:
    """One snapshot file, seen as a sequence of sections."""

    def __init__(self, path: str, salvage: bool = False, descriptor: int = -1) -> None:
        """The file is *path*, or what *descriptor* has open; then *path* is what it is called."""
        self.path = path
        self.salvage = salvage
        self._descriptor = descriptor
        self.size = 0
        self.version = (MAJOR, MINOR)
        self.faults: List[SnapshotError] = []
        self.faults_left_out = 0

    def sections(self) -> Iterator[Section]:
        """The sections in file order, `END ` checked and left out."""
        with self._open() as file:
            self._check_header(file)
            offset: Optional[int] = _HEADER.size
            count = 0
            while offset is not None:
                try:
                    tag, flags, length, crc = self._read_section_header(file, offset)
                except SnapshotError as error:
                    self.fault(error)
                    offset = self._find_section(file, offset + 8)
                    continue
                start, end = offset, offset + _SECTION.size + _padded(length)
                # A file that was cut inside this section has no next one to look for.
                offset = end if end <= self.size else None
                try:
                    payload = self._read_payload(file, start, tag, length, crc)
                    if tag == b"END ":
                        self._check_end(start, end, payload, count)
                except SnapshotError as error:
                    self.fault(error)
                    payload = b""
                else:
                    if tag != b"END ":
                        yield Section(tag, bool(flags & _MUST_KNOW), start, payload)
                if tag == b"END ":
                    return
                count += 1

    def error(self, offset: int, reason: str) -> SnapshotError:
        return SnapshotError(self.path, offset, reason)

    def fault(self, error: SnapshotError) -> None:
        if not self.salvage:
            raise error
        if len(self.faults) < _FAULTS_KEPT:
            self.faults.append(error)
        else:
            self.faults_left_out += 1

    def _open(self) -> BinaryIO:
        if self._descriptor < 0:
            file = open(self.path, "rb")
        else:
            file = open(self._descriptor, "rb", closefd=False)
            file.seek(0)
        try:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_ISFIFO(mode) or (self.salvage and stat.S_ISREG(mode)):
                data = file.read()
                file.close()
                self.size = len(data)
                return io.BytesIO(data)
            if not stat.S_ISREG(mode):
                raise self.error(0, "not a regular file; expected an mprofile snapshot")
            self.size = os.fstat(file.fileno()).st_size
            return file
        except BaseException:
            file.close()
            raise

    def _check_header(self, file: BinaryIO) -> None:
        data = file.read(_HEADER.size)
        if not data:
            raise self.error(0, "the file is empty; expected an mprofile snapshot")
        if data[:8] != MAGIC[: len(data)]:
            if self.salvage and self._section_at(file, _HEADER.size):
                self.fault(self.error(0, "the magic is damaged"))
                return
            raise self.error(0, _foreign(data))
        if len(data) < _HEADER.size:
            raise self.error(len(data), "the file was cut short inside its header of 16 bytes")
        _, major, minor, crc = _HEADER.unpack(data)
        if crc != zlib.crc32(data[:12]):
            self.fault(self.error(8, "the file's header is damaged: its checksum does not match"))
            return
        if major != MAJOR:
            raise self.error(
                8,
                "the snapshot has format version %d.%d; this reader knows version %d: "
                "read it with the mprofile-read that came with the library that wrote it"
                % (major, minor, MAJOR),
            )
        self.version = (major, minor)

    def _read_section_header(self, file: BinaryIO, offset: int) -> Tuple[bytes, int, int, int]:
        file.seek(offset)
        data = file.read(_SECTION.size)
        if not data:
            raise self.error(offset, "the file ends without its END section: it was cut short")
        if len(data) < _SECTION.size:
            raise self.error(
                offset,
                "the file ends inside a section's header (%d of %d bytes): it was cut short"
                % (len(data), _SECTION.size),
            )
        tag, flags, length, crc, own_crc = _SECTION.unpack(data)
        if own_crc != zlib.crc32(data[:20]):
            raise self.error(offset, "a section's header is damaged: its checksum does not match")
        if length > PAYLOAD_MAX:
            raise self.error(
                offset,
                "section %s claims a payload of %d bytes; at most %d are allowed"
                % (tag_text(tag), length, PAYLOAD_MAX),
            )
        return tag, flags, length, crc

    def _read_payload(
        self, file: BinaryIO, offset: int, tag: bytes, length: int, crc: int
    ) -> bytes:
        want = _padded(length)
        data = file.read(want)
        if len(data) < want:
            raise self.error(
                offset,
                "the file ends inside section %s (%d of %d bytes): it was cut short"
                % (tag_text(tag), len(data), want),
            )
        payload = data[:length] if want > length else data
        if zlib.crc32(payload) != crc:
            raise self.error(
                offset, "section %s is damaged: its checksum does not match" % tag_text(tag)
            )
        if any(data[length:]):
            raise self.error(
                offset + _SECTION.size + length,
                "section %s is damaged: expected zero bytes behind its payload" % tag_text(tag),
            )
        return payload

    def _check_end(self, offset: int, end: int, payload: bytes, count: int) -> None:
        if len(payload) < _END.size:
            raise self.error(offset, "section 'END ' has %d bytes; expected 16" % len(payload))
        want_count, want_size = _END.unpack_from(payload)
        if want_count != count and not self.faults:
            raise self.error(
                offset, "the file has %d sections; its end says %d" % (count, want_count)
            )
        if want_size != self.size or end != self.size:
            raise self.error(
                offset, "the file has %d bytes; its end says %d" % (self.size, want_size)
            )

    def _section_at(self, file: BinaryIO, offset: int) -> bool:
        try:
            self._read_section_header(file, offset)
        except SnapshotError:
            return False
        return True

    def _find_section(self, file: BinaryIO, offset: int) -> Optional[int]:
        """The next offset with a section header whose checksum is right (salvage only)."""
        assert isinstance(file, io.BytesIO)
        data = file.getbuffer()
        try:
            for at in range(offset, self.size - _SECTION.size + 1, 8):
                # The cheap tests first: the high bytes of a length of at most 2^20 are zero.
                if data[at + 11] or data[at + 15] or not 0x20 <= data[at] < 0x7F:
                    continue
                if self._section_at(file, at):
                    return at
            return None
        finally:
            data.release()


def tag_text(tag: bytes) -> str:
    return repr(tag)[1:]


def _foreign(data: bytes) -> str:
    if data[:1] == b"\x80":
        return (
            "not an mprofile snapshot; it looks like a pickle: if you trust it, "
            "mprofile.Snapshot.load() reads it"
        )
    return "not an mprofile snapshot: it does not begin with %r" % MAGIC
