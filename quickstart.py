#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The seed's `python quickstart.py --ai-mode`: runs ./quickstart, which does the work."""

import os
import sys

args = [a for a in sys.argv[1:] if a != "--ai-mode"]
if len(args) < len(sys.argv) - 1:
    print("quickstart.py: --ai-mode is accepted and changes nothing: there is one mode", file=sys.stderr)
script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "quickstart")
os.execv(script, [script, *args])
