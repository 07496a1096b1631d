# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Lookup plugin: the address of the current master."""

from __future__ import annotations

DOCUMENTATION = r"""
name: master
short_description: The address of the current master, as a majority of the Sentinels names it
version_added: 0.1.0
description:
  - Asks the Sentinels that are named, and those that they know, who is master, and returns the address that a majority of them all names.
  - Fails where no majority names one master, and says what each Sentinel said. One that cannot be asked counts as one that does not agree.
  - Asks Sentinels only. It asks anew each time that it is evaluated; keep the result with M(ansible.builtin.set_fact) where several tasks need the same.
author:
  - The redis_ha.sentinel authors (@redis-ha)
extends_documentation_fragment:
  - redis_ha.sentinel.connection
  - redis_ha.sentinel.connection.plugin
options:
  _terms:
    description: Names of masters, as Sentinel knows them.
    type: list
    elements: str
    required: true
  result:
    description:
      - V(address) gives each as C(host:port), an IPv6 address as C([address]:port).
      - V(parts) gives each as a dictionary with C(host) and C(port).
    type: str
    choices: [address, parts]
    default: address
notes:
  - The address is the one that Sentinel announces, which applications use. O(address_map) only says how the Sentinels are reached from here.
seealso:
  - plugin: redis_ha.sentinel.sentinel
    plugin_type: inventory
  - module: redis_ha.sentinel.topology_info
"""

EXAMPLES = r"""
- name: Tell the application where its cache is
  ansible.builtin.template:
    src: application.conf.j2
    dest: /etc/application.conf
    mode: "0644"
  vars:
    cache: "{{ lookup('redis_ha.sentinel.master', 'mymaster', sentinels=['192.0.2.11:26379', '192.0.2.12:26379'], result='parts') }}"

- name: Show two masters; the Sentinels and their password come from REDIS_SENTINELS and REDIS_SENTINEL_PASSWORD
  ansible.builtin.debug:
    msg: "{{ query('redis_ha.sentinel.master', 'shop', 'search') }}"
"""

RETURN = r"""
_raw:
  description: The address of the master, for each name in its place.
  type: list
  elements: raw
  sample: ["192.0.2.21:6379"]
"""

from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.redis_ha.sentinel.plugins.module_utils._census import ask_sentinels
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import CONNECTION
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._access import opened_fleet
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._agreement import agreement


class LookupModule(LookupBase):
    """Asks, and returns what most say."""

    def run(self, terms: list[Any], variables: Any = None, **options: Any) -> list[Any]:
        """The address of each master.

        Raises:
            AnsibleError: No majority of the Sentinels names one master, or an option cannot be used.
        """
        self.set_options(var_options=variables, direct=options)
        names = [str(term) for term in terms]
        if not names or not all(name.strip() for name in names):
            raise AnsibleError("Name a master, as Sentinel does.")
        with opened_fleet({name: self.get_option(name) for name in CONNECTION}) as fleet:
            views = ask_sentinels(fleet, names)
            found = [agreement(name, views[name], fleet.endpoint) for name in names]
        missing = [voted.reason for voted in found if voted.master is None]
        if missing:
            raise AnsibleError(" ".join(missing))
        parts = self.get_option("result") == "parts"
        return [voted.master.as_result() if parts else str(voted.master) for voted in found if voted.master]
