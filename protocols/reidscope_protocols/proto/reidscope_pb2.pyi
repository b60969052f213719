from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Envelope(_message.Message):
    __slots__ = ("dsse",)
    DSSE_FIELD_NUMBER: _ClassVar[int]
    dsse: bytes
    def __init__(self, dsse: _Optional[bytes] = ...) -> None: ...

class Envelopes(_message.Message):
    __slots__ = ("dsse",)
    DSSE_FIELD_NUMBER: _ClassVar[int]
    dsse: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, dsse: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Everything(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Accepted(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class EnrolRequest(_message.Message):
    __slots__ = ("dsse", "token")
    DSSE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    dsse: bytes
    token: str
    def __init__(self, dsse: _Optional[bytes] = ..., token: _Optional[str] = ...) -> None: ...

class ConstantRequest(_message.Message):
    __slots__ = ("sha256",)
    SHA256_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    def __init__(self, sha256: _Optional[str] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class Versions(_message.Message):
    __slots__ = ("reidscope", "protocol_major", "protocol_minor", "flower")
    REIDSCOPE_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MAJOR_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_MINOR_FIELD_NUMBER: _ClassVar[int]
    FLOWER_FIELD_NUMBER: _ClassVar[int]
    reidscope: str
    protocol_major: int
    protocol_minor: int
    flower: str
    def __init__(self, reidscope: _Optional[str] = ..., protocol_major: _Optional[int] = ..., protocol_minor: _Optional[int] = ..., flower: _Optional[str] = ...) -> None: ...

class Greeting(_message.Message):
    __slots__ = ("own", "accepted")
    OWN_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    own: Versions
    accepted: bool
    def __init__(self, own: _Optional[_Union[Versions, _Mapping]] = ..., accepted: _Optional[bool] = ...) -> None: ...
