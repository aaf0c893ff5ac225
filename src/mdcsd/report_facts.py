"""The facts on a verdict's page as pairs of a name and a text, in the order shown.

Whatever a file brought with it is made readable: nothing that a terminal or page would obey.
"""

from __future__ import annotations

from mdcsd.judging_nouns import MediaFacts, Verdict, readable
from mdcsd.wording import tell_time


def file_facts(verdict: Verdict) -> list[tuple[str, str]]:
    """What there is to say of the file itself."""
    facts = [("Path", readable(verdict.path)), ("SHA-256", verdict.sha256)]
    media = verdict.media
    if media is None:
        return facts
    turned = f", turned by {media.rotation_deg}° when shown" if media.rotation_deg else ""
    facts += [
        ("Size", f"{media.size_bytes:,} bytes"),
        ("Container", readable(f"{media.container_description} ({media.container})")),
        ("Codec", readable(f"{media.codec_description} ({media.codec})")),
        ("Resolution", f"{media.width_px} x {media.height_px} px{turned}"),
    ]
    if media.duration_s is not None:
        facts.append(("Duration", tell_time(media.duration_s, media.duration_s)))
    if media.frame_rate is not None:
        facts.append(("Frame rate", f"{media.frame_rate:.5g} a second"))
    if media.bit_rate_bps is not None and media.bits_per_pixel is not None:
        rate = f"{media.bit_rate_bps / 1000:,.0f} kbit/s, {media.bits_per_pixel:.3f} bits a pixel"
        facts.append(("Bit rate", rate))
    if media.jpeg_quality is not None:
        facts.append(("JPEG quality", f"about {media.jpeg_quality} of 100, from its tables"))
    facts.append(("Place of recording", "stated in the file" if media.has_gps else "not stated"))
    return facts


def tags_of(media: MediaFacts | None) -> list[tuple[str, str]]:
    """What the file says of itself."""
    tags = media.tags if media else {}
    return [(readable(name), readable(text)) for name, text in tags.items() if text]


def made_facts(verdict: Verdict) -> list[tuple[str, str]]:
    """How it was judged, as far as that is known."""
    said = {True: "yes", False: "no"}
    settings = ", ".join(
        f"{name} {said[value] if isinstance(value, bool) else value}"
        for name, value in verdict.settings.items()
    )
    facts = [
        ("Model id", verdict.checkpoint_id),
        ("Network", verdict.network),
        ("Thresholds", ", ".join(
            f"{name.replace('_', ' ')} {value:.3g}" for name, value in verdict.thresholds.items()
        )),
        ("Fitted on", readable(verdict.calibrated_on)),
        ("Licence of the weights", readable(verdict.weights_licence)),
        ("Settings", settings),
        ("Frames to score", verdict.pooling),
        ("Frames looked at", str(verdict.n_frames_sampled)),
        ("Software", f"mdcsd {verdict.mdcsd}, {verdict.backend}"),
        ("Date", verdict.judged_at),
    ]  # fmt: skip
    return [(name, text) for name, text in facts if text]
