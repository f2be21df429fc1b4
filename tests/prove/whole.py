"""Whether proofs run at their full length, or as on each push."""

from __future__ import annotations

import os

IS_WHOLE = bool(os.environ.get("PROVE_ALL"))
"""``make prove ALL=1`` asks for it."""
