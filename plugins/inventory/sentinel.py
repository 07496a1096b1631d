# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Inventory plugin: hosts, groups and variables, as Sentinel sees them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: sentinel
short_description: Hosts and groups of Redis and Valkey deployments, as Sentinel sees them
version_added: 0.1.0
description:
  - Asks the Sentinels that are named, those that they know, and every node that they know, once for all masters, and makes hosts of them.
  - The name of the source's file ends in C(sentinel.yml) or C(sentinel.yaml); C(redis_ha_sentinel.yml) and C(fleet.sentinel.yml) are good names.
  - Groups are C(redis_masters), C(redis_replicas) and C(redis_sentinels), and for each master C(redis_NAME) with the children C(redis_master_of_NAME),
    C(redis_replicas_of_NAME) and C(redis_sentinels_of_NAME). What a group name may not have becomes an underscore. If two masters would share a group, the
    source fails.
  - Who is master is what a majority of those Sentinels name that answer. Where there is no majority, a warning says what each of them said, and none of that
    master's nodes is in C(redis_masters) or C(redis_replicas) for its sake.
  - A server that cannot be asked is in the inventory all the same, with the reason in its C(error). If no Sentinel can be asked, the source fails.
  - A node that stands in the tables of the Sentinels and belongs to another deployment is left out, and a warning names it.
  - Sends questions only (C(INFO), C(ROLE), and the questions of C(SENTINEL)).
author:
  - The redis_ha.sentinel authors (@redis-ha)
extends_documentation_fragment:
  - redis_ha.sentinel.connection
  - redis_ha.sentinel.connection.plugin
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: Marks this file as a source for this plugin.
    type: str
    required: true
    choices: [redis_ha.sentinel.sentinel]
  deployments:
    description:
      - Several deployments in one inventory. Each is a dictionary with its C(name) and with those of O(sentinels), O(sentinel_username), O(sentinel_password),
        O(redis_username), O(redis_password), O(tls), O(sentinel_tls), O(validate_certs), O(ca_certs), O(client_cert_file), O(client_key_file),
        O(connect_timeout), O(address_map) and O(renamed_commands) that differ from the options beside it. Values may be templates.
      - With it, the groups of a master are called C(redis_DEPLOYMENT_NAME), C(redis_master_of_DEPLOYMENT_NAME) and so on, and C(redis_DEPLOYMENT) has all
        hosts of a deployment.
      - If one of them cannot be asked, the source fails. An inventory that silently lacks a deployment would be worse than none.
    type: list
    elements: dict
    default: []
  master_names:
    description: Only these masters. All that the named Sentinels watch, if it is empty.
    type: list
    elements: str
    default: []
  host_for:
    description:
      - V(machine) makes one host of all servers that are on one machine, however many masters it carries.
      - V(server) makes one host of each server, called C(HOST_PORT).
    type: str
    choices: [machine, server]
    default: machine
  group_prefix:
    description: How the names of the groups of masters and deployments begin.
    type: str
    default: redis_
notes:
  - "Variables of a host: C(redis_servers) is a list with one entry for each server on it: C(address), C(host), C(port), C(role) (V(master), V(replica) or
    V(sentinel)), C(role_reported) (what it says itself), C(master_names), C(deployment), C(product), C(version), C(lag_bytes), C(link_up), C(error)."
  - "C(redis_master_of), C(redis_replica_of) and C(redis_sentinel_of) are lists of names of masters. C(redis_deployments) is a list of names."
  - "C(redis_address), C(redis_port), C(redis_role), C(redis_product) and C(redis_version) are null where the data nodes of a host differ. C(redis_lag_bytes) is
    the largest lag. On a host that has Sentinels only, they are those of the Sentinel."
  - "C(ansible_host) is where the servers are reached, after O(address_map)."
seealso:
  - plugin: redis_ha.sentinel.master
    plugin_type: lookup
  - module: redis_ha.sentinel.topology_info
"""

EXAMPLES = r"""
# sentinel.yml: passwords come from REDIS_PASSWORD and REDIS_SENTINEL_PASSWORD
plugin: redis_ha.sentinel.sentinel
sentinels: ["192.0.2.11:26379", "192.0.2.12:26379", "192.0.2.13:26379"]

# fleet.sentinel.yml: two deployments, composed variables and groups
# plugin: redis_ha.sentinel.sentinel
# deployments:
#   - name: shop
#     sentinels: ["192.0.2.11:26379"]
#     redis_password: "{{ lookup('ansible.builtin.env', 'SHOP_REDIS_PASSWORD') }}"
#   - name: search
#     sentinels: ["198.51.100.11:26379"]
#     address_map: {10.0.0.1: 198.51.100.11, 10.0.0.2: 198.51.100.12}
# compose:
#   ansible_user: "'admin'"
#   carries_masters: redis_master_of | length
# groups:
#   lags: redis_lag_bytes is not none and redis_lag_bytes > 1048576
# keyed_groups:
#   - key: redis_version
#     prefix: redis_version
# cache: true
# cache_plugin: ansible.builtin.jsonfile
# cache_connection: /tmp/redis_ha_inventory
# cache_timeout: 60
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible_collections.redis_ha.sentinel.plugins.module_utils._census import take_snapshots, watched_masters
from ansible_collections.redis_ha.sentinel.plugins.module_utils._connection import Fleet
from ansible_collections.redis_ha.sentinel.plugins.module_utils._options import CONNECTION
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._access import opened_fleet
from ansible_collections.redis_ha.sentinel.plugins.plugin_utils._hosts import (
    GroupNameTakenError,
    Inventory,
    Row,
    inventory_of,
    server_rows,
    warnings,
)

ENDINGS = ("sentinel.yml", "sentinel.yaml")


def _untrusted(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Variables whose text is never taken for a template: servers wrote it. Since ansible-core 2.19 that is so by itself."""
    if hasattr(BaseInventoryPlugin, "trusted_by_default"):
        return dict(variables)
    from ansible.utils.unsafe_proxy import wrap_var

    return {name: wrap_var(value) for name, value in variables.items()}


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """Asks, and hands hosts to Ansible."""

    NAME = "redis_ha.sentinel.sentinel"

    def verify_file(self, path: str) -> bool:
        """Whether the file is called as a source of this plugin is."""
        return bool(super().verify_file(path)) and path.endswith(ENDINGS)

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Fill the inventory.

        Raises:
            AnsibleParserError: An option cannot be used, or a deployment cannot be asked.
        """
        super().parse(inventory, loader, path)
        self._read_config_data(path)
        try:
            found = inventory_of(
                self._cached_rows(path, cache), self.get_option("host_for"), self.get_option("group_prefix")
            )
        except GroupNameTakenError as error:
            raise AnsibleParserError(
                f"{error}. Set group_prefix, name the deployments otherwise, or give the two sources of their own with master_names."
            ) from error
        self._fill(found)

    def _cached_rows(self, path: str, cache: bool) -> list[Row]:
        key = self.get_cache_key(path)
        kept = self.get_option("cache")
        if kept and cache:
            try:
                rows: list[Row] = self._cache[key]
                return rows
            except KeyError:
                pass  # not asked yet, or too long ago
        asked = self._rows()
        if kept:
            self._cache[key] = asked
        return asked

    def _rows(self) -> list[Row]:
        options = {name: self.get_option(name) for name in CONNECTION}
        deployments = self.get_option("deployments")
        if not deployments:
            return self._rows_of("", options)
        rows = []
        names: set[str] = set()
        for deployment in deployments:
            own = {str(name): value for name, value in deployment.items()}
            name = str(own.pop("name", "") or "")
            if not name or name in names:
                raise AnsibleParserError("Each of the deployments needs a name of its own.")
            names.add(name)
            rows += self._rows_of(name, {**options, **own})
        return rows

    def _rows_of(self, deployment: str, options: Mapping[str, Any]) -> list[Row]:
        label = f"Deployment {deployment}: " if deployment else ""
        try:
            with opened_fleet({name: self._templated(value) for name, value in options.items()}) as fleet:
                snapshots = take_snapshots(fleet, self._wanted_masters(fleet), settings=False)
                rows = server_rows(deployment, snapshots, fleet.options)
        except AnsibleError as error:
            raise AnsibleParserError(f"{label}{error}") from error
        for text in warnings(snapshots):
            self.display.warning(f"{label}{text}")
        return rows

    def _wanted_masters(self, fleet: Fleet) -> list[str]:
        """The masters to look at; with several deployments, those that this one has."""
        wanted = self.get_option("master_names")
        watched = watched_masters(fleet)
        missing = sorted(set(wanted) - set(watched))
        if missing and not self.get_option("deployments"):
            raise AnsibleError(f"None of the named Sentinels watches {', '.join(missing)}")
        return [name for name in watched if not wanted or name in wanted]

    def _templated(self, value: Any) -> Any:
        return self.templar.template(value) if isinstance(value, str) else value

    def _fill(self, found: Inventory) -> None:
        for host in found.hosts:
            self.inventory.add_host(host.name)
            for group in host.groups:
                self.inventory.add_group(group)
                self.inventory.add_child(group, host.name)
            for name, value in _untrusted(host.variables).items():
                self.inventory.set_variable(host.name, name, value)
        for child, parent in found.parents.items():
            self.inventory.add_group(parent)
            self.inventory.add_group(child)
            self.inventory.add_child(parent, child)
        for host in found.hosts:
            self._construct(host.name, _untrusted(host.variables))

    def _construct(self, host: str, variables: dict[str, Any]) -> None:
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, host, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, host, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, host, strict=strict)
