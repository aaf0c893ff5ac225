"""What schemathesis is told beyond the OpenAPI description: half of the files begin like a GIF."""

from __future__ import annotations

import schemathesis

from web_judges import GIF


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, bytes) and len(body) % 2 == 0:
        return GIF + body
    return body
