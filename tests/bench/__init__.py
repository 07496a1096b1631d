# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures the figures that the documentation gives, on real servers, and writes them down."""
