# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Long results are kept and do not fill the terminal."""

from __future__ import annotations

from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._quiet import WHOLE, kept, quiet


def test_a_result_is_whole_for_programs_and_short_on_the_terminal() -> None:
    result = {"changed": True, "timeline": [1, 2, 3]}
    assert quiet(result, WHOLE) == result
    for verbosity in range(WHOLE):
        short = quiet(result, verbosity)
        assert short.pop("_ansible_verbose_override") is True
        assert short == result


def test_what_became_of_another_task_is_not_said_of_the_one_that_keeps_it() -> None:
    lost = {"unreachable": True, "failed": True, "skipped": False, "msg": "no route", "changed": False}
    assert kept(lost) == {"msg": "no route", "changed": False}
