# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real Redis and Valkey deployments on loopback, shared by tests, demo, Molecule and benchmarks."""

from __future__ import annotations

from lab.deployment import Deployment, NotReadyError
from lab.errors import LabError
from lab.process import Process
from lab.servers import Server, find_server

__all__ = ["Deployment", "LabError", "NotReadyError", "Process", "Server", "find_server"]
