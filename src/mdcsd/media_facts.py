"""What a file says of itself, and what that suggests: metadata as evidence.

Metadata is easily stripped and easily forged, so nothing here changes a score. A hint says no
more than its fact carries. The only file that reads C2PA manifests.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mdcsd.inputs import IMAGE_SUFFIXES
from mdcsd.judging_nouns import Credentials, MediaFacts
from mdcsd.pictures import read_picture_facts, read_picture_size
from mdcsd.video import probe, read_container_facts

# x264 spends 0.05 to 0.07 bits on a pixel of the talking heads in our tests at CRF 23 (c23 of
# FaceForensics++), 0.02 to 0.03 at CRF 28, 0.007 to 0.009 at CRF 40 (c40). Newer codecs need
# about a third less for the same picture, MPEG-1, 2 and 4 about twice as much.
LOW_BITS_PER_PIXEL = 0.03
_NEWER = frozenset({"hevc", "vp9", "av1", "vvc"})
_OLDER = frozenset({"mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v3", "h263", "flv1", "wmv2"})

# Below IJG quality 70 the steps of the highest luma frequencies pass 60 of 255: most of the
# coefficients that a frequency branch looks at are then rounded to nothing.
LOW_JPEG_QUALITY = 70

_MUXERS = ("lavf", "lavc", "handbrake", "gpac", "mkvtoolnix", "mkvmerge")
_EDITORS = (
    "photoshop", "lightroom", "gimp", "premiere", "after effects", "final cut", "davinci",
    "capcut", "imovie", "canva", "snapseed", "affinity", "imagemagick",
)  # fmt: skip
_TOOL_TAGS = (
    "encoder",
    "encoder of the picture",
    "software",
    "writing_application",
    "application_platform",
    "creator_tool",
)
_PLACES = ("location", "gps", "xyz", "latitude", "longitude")
_GENERATED = frozenset({"trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"})
_MAX_TAGS = 40
_MAX_TAG_CHARS = 300


def read_media_facts(path: Path) -> MediaFacts:
    """Read a picture's or video's facts, with hints and the state of its Content Credentials.

    Raises: MediaError if the file is neither.
    """
    is_picture = path.suffix.lower() in IMAGE_SUFFIXES
    facts = read_picture_facts(path) if is_picture else read_container_facts(path)
    credentials, says_generated = read_credentials(path)
    places = {name for name in facts.tags if any(word in name.lower() for word in _PLACES)}
    facts = replace(
        facts,
        tags=_shortened({name: text for name, text in facts.tags.items() if name not in places}),
        has_gps=facts.has_gps or bool(places),
        credentials=credentials,
    )
    return replace(facts, hints=(*facts.hints, *_hints(facts, says_generated)))


def check_opens(path: Path) -> None:
    """Refuse what its header tells to be neither a picture nor a video that is read.

    Raises: InputError if there is no such file, MediaError if it is of no such kind.
    """
    if path.suffix.lower() in IMAGE_SUFFIXES:
        read_picture_size(path)
    else:
        probe(path)


def is_strongly_compressed(facts: MediaFacts) -> bool:
    """Whether so few bits were spent that traces of a manipulation may be gone."""
    if facts.jpeg_quality is not None:
        return facts.jpeg_quality < LOW_JPEG_QUALITY
    spent = facts.bits_per_pixel
    factor = 2 / 3 if facts.codec in _NEWER else 2.0 if facts.codec in _OLDER else 1.0
    return spent is not None and spent < LOW_BITS_PER_PIXEL * factor


def read_credentials(path: Path) -> tuple[Credentials, bool]:
    """Read the state of a file's C2PA manifest, without asking any server.

    Returns: the state, "not_checked" without the library, "unsupported" for a kind of file that
        it does not read, "unreadable" if no manifest can be had from the file
        itself; and whether the manifest says that the content was generated.
    """
    try:
        import c2pa
    except ImportError:
        return "not_checked", False
    offline = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    with c2pa.Context.from_dict(offline) as context, open(path, "rb") as file:
        try:
            reader = c2pa.Reader.try_create(None, file, context=context)
        except c2pa.C2paError.NotSupported:
            return "unsupported", False
        except c2pa.C2paError:
            return "unreadable", False
        if reader is None:
            return "none", False
        with reader:
            states: dict[str | None, Credentials] = {"Valid": "valid", "Trusted": "trusted"}
            state = states.get(reader.get_validation_state(), "invalid")
            return state, _is_generated(json.loads(reader.json()))


def _is_generated(found: Any) -> bool:
    """Whether an action's source type, anywhere in the manifests, is one of generative AI."""
    if isinstance(found, list):
        return any(_is_generated(each) for each in found)
    if not isinstance(found, dict):
        return False
    source = str(found.get("digitalSourceType", "")).rpartition("/")[2]
    return source in _GENERATED or any(_is_generated(each) for each in found.values())


def _shortened(tags: dict[str, str]) -> dict[str, str]:
    return {
        name[:_MAX_TAG_CHARS]: text if len(text) <= _MAX_TAG_CHARS else text[:_MAX_TAG_CHARS] + "…"
        for name, text in list(tags.items())[:_MAX_TAGS]
    }


def _hints(facts: MediaFacts, says_generated: bool) -> Iterator[str]:
    """Yield what the facts suggest, each no stronger than its fact."""
    if says_generated:
        yield "its Content Credentials say that the content, or a part, was made by generative AI"
    tools = {name: text for name, text in facts.tags.items() if name.lower() in _TOOL_TAGS}
    edited = [f"{name}: {text}" for name, text in tools.items() if _has_any(text, _EDITORS)]
    if edited:
        yield f"saved by editing software ({'; '.join(edited)})"
    packed = [f"{name}: {text}" for name, text in tools.items() if _has_any(text, _MUXERS)]
    if packed:
        yield (
            f"not as a camera writes it ({'; '.join(packed)}): cut, converted, encoded anew or "
            "only packed anew after it was recorded"
        )
    if facts.codec == "gif":
        yield "a GIF holds at most 256 colours a frame: it was converted from something else"


def _has_any(text: str, words: tuple[str, ...]) -> bool:
    lowered = text.lower()
    return any(word in lowered for word in words)
