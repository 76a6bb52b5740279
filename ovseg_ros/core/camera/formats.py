"""What a CompressedImage's `format` says, read in one place.

image_transport's plugins write "encoding; transport codec", cameras and older plugins the codec alone:

| format | encoding | transport | codec | stored |
|---|---|---|---|---|
| `jpeg`, `png` | | compressed | jpeg, png | |
| `rgb8; jpeg compressed bgr8` | rgb8 | compressed | jpeg | bgr8 |
| `16UC1; compressedDepth`, `16UC1; compressedDepth png` | 16UC1 | compressedDepth | png | |
| `32FC1; compressedDepth rvl` | 32FC1 | compressedDepth | rvl | |
| `h264` | | compressed | h264 | |

Source: ros-perception/image_transport_plugins, compressed_image_transport, compressed_depth_image_transport.
"""

from __future__ import annotations

from typing import NamedTuple

COMPRESSED, COMPRESSED_DEPTH = "compressed", "compressedDepth"
PICTURE_CODECS = frozenset({"jpeg", "png", "tiff", "bmp", "webp", "jpeg2000"})
"""Those that are read as pictures, one message after the other; films (h264) are not."""

_CODECS = {"jpg": "jpeg", "jpeg": "jpeg", "tif": "tiff", "jp2": "jpeg2000", "j2k": "jpeg2000"}


class ImageFormat(NamedTuple):
    """A `format`, understood.

    Attributes:
        encoding: of the image before it was compressed, as in Image.encoding; "" where it is not said.
        transport: `COMPRESSED` or `COMPRESSED_DEPTH`.
        codec: in small letters: "jpeg", "png", "rvl", "h264"; "" where it is not said.
        stored: encoding of the pixels that the codec holds; "" where it is not said.
    """

    encoding: str
    transport: str
    codec: str
    stored: str

    @classmethod
    def parse(cls, text: str) -> ImageFormat:
        """Understands any text; what it does not say is "".

        >>> ImageFormat.parse("16UC1; compressedDepth rvl")
        ImageFormat(encoding='16UC1', transport='compressedDepth', codec='rvl', stored='')
        """
        encoding, semicolon, rest = text.partition(";")
        if not semicolon:
            encoding, rest = "", text
        words = rest.split()
        if any(word.lower() == COMPRESSED_DEPTH.lower() for word in words):
            codecs = [word.lower() for word in words if word.lower() != COMPRESSED_DEPTH.lower()]
            return cls(encoding.strip(), COMPRESSED_DEPTH, codecs[0] if codecs else "png", "")
        words = [word for word in words if word.lower() != COMPRESSED]
        codec = words[0].lower() if words else ""
        return cls(
            encoding.strip(), COMPRESSED, _CODECS.get(codec, codec), words[1] if len(words) > 1 else ""
        )
