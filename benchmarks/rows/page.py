"""The page of a result: freqlstm's tearsheet against QuantStats on the same minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.ground import CASH_NAME, Ground
