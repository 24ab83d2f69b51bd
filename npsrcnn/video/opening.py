"""Open the file of a clip, or say why it is none."""

from __future__ import annotations

from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from npsrcnn.errors import UserError
from npsrcnn.runtime.files import quoted

PLAYLISTS = {"concat", "dash", "hls", "imf"}
"""FFmpeg's names of files that name others, which may be anywhere."""
STILLS = {"gif", "apng", "image2"}  # and all that end with STILL
STILL = "_pipe"


def open_clip(path: Path) -> InputContainer:
    """Open a file; times that it leaves out are made up from the order of its packets.

    Raises
    ------
    UserError, OSError
        Not a clip, damaged, missing; in one line.
    """
    options = {"fflags": "+genpts", "protocol_whitelist": "file"}
    try:
        # By its whole path: what comes before a colon would be a protocol
        container = av.open(str(path.absolute()), options=options)
    except av.error.FFmpegError as error:
        if isinstance(error, OSError):  # missing, forbidden
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise UserError(f"{path}: {_why_not(path)}") from error
    kind = container.format.name
    if kind in PLAYLISTS:
        reason = "names other files, as a playlist does: give these"
    elif kind in STILLS or kind.endswith(STILL):
        suffix = f".{kind.removesuffix(STILL)}"
        right = quoted(path.with_suffix(suffix).name)
        reason = f"holds a picture, and no clip: name it {right}"
    else:
        return container
    container.close()
    raise UserError(f"{path}: {reason}")


def video_stream(container: InputContainer, index: int, ahead: bool = True) -> VideoStream:
    """Return the stream of the picture, which decodes on all cores, several frames ahead."""
    stream = container.streams[index]
    assert isinstance(stream, VideoStream)
    stream.thread_type = "AUTO" if ahead else "SLICE"
    return stream


def _why_not(path: Path) -> str:
    """Say why a file cannot be opened: MP4 and MOV without their index are the commonest case."""
    whole = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(12)
        if not head:
            return "empty (0 bytes)"
        if head[4:8] != b"ftyp":
            return "not a clip, or of an unknown format"
        position, names = 0, set()
        while len(head) >= 8:
            size = int.from_bytes(head[:4], "big")
            names.add(head[4:8])
            if size == 1:  # a long one, in 64 bits
                size = int.from_bytes(file.read(4) if len(head) < 12 else head[8:12], "big") << 32
                size += int.from_bytes(file.read(4), "big")
            position += size
            if size < 8 or position > whole:
                break
            file.seek(position)
            head = file.read(12)
    if b"moov" in names:
        return "damaged: it cannot be opened"
    return (
        "has no index (moov): the recording was cut off, or the copy; copy it again, or let a "
        "tool such as untrunc rebuild it"
    )
