# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options that every module shares; the twin of CONNECTION in module_utils/_options.py."""

from __future__ import annotations


class ModuleDocFragment:
    """The group of options with which a deployment is reached."""

    DOCUMENTATION = r"""
options:
  sentinels:
    description:
      - Sentinels to begin with, each as C(host:port) or C(host); an IPv6 address is written C([address]:port).
      - One is enough, the others are discovered. All that are known must answer, whichever are named here.
      - If not set, the environment variable E(REDIS_SENTINELS) is used, a list separated by commas.
    type: list
    elements: str
    default: ["127.0.0.1:26379"]
  sentinel_username:
    description:
      - User name for the Sentinels. Sentinel knows user names since Redis 6.2; leave it out for a password alone.
      - If not set, the environment variable E(REDIS_SENTINEL_USERNAME) is used.
    type: str
  sentinel_password:
    description:
      - Password for the Sentinels.
      - If not set, the environment variable E(REDIS_SENTINEL_PASSWORD) is used.
      - In an ad-hoc command, a password among the arguments stands in the list of processes. Use the environment variable, or a file of variables
        that is encrypted with Ansible Vault.
    type: str
  redis_username:
    description:
      - User name for the data nodes; leave it out for a password alone.
      - If not set, the environment variable E(REDIS_USERNAME) is used.
    type: str
  redis_password:
    description:
      - Password for the data nodes.
      - If not set, the environment variable E(REDIS_PASSWORD) is used. What is said of O(sentinel_password) holds here, too.
    type: str
  tls:
    description:
      - Whether to speak TLS to the data nodes, and to the Sentinels unless O(sentinel_tls) says otherwise.
      - If not set, the environment variable E(REDIS_TLS) is used.
    type: bool
    default: false
  sentinel_tls:
    description:
      - Whether to speak TLS to the Sentinels, where that differs from O(tls).
      - If not set, the environment variable E(REDIS_SENTINEL_TLS) is used.
    type: bool
  validate_certs:
    description:
      - Whether a server's certificate must be signed by a known authority and name the host that is connected to.
      - If not set, the environment variable E(REDIS_VALIDATE_CERTS) is used.
    type: bool
    default: true
  ca_certs:
    description:
      - File with the certificates of the authorities to trust, in PEM form; the system's own if it is left out.
      - If not set, the environment variable E(REDIS_CA_CERTS) is used.
    type: path
  client_cert_file:
    description:
      - File with the client certificate, in PEM form. Needs O(client_key_file).
      - If not set, the environment variable E(REDIS_CLIENT_CERT_FILE) is used.
    type: path
  client_key_file:
    description:
      - File with the key of the client certificate, in PEM form. Needs O(client_cert_file).
      - If not set, the environment variable E(REDIS_CLIENT_KEY_FILE) is used.
    type: path
  connect_timeout:
    description:
      - How many seconds a connection, and an answer, may take. From 0.1 to 60.
    type: float
    default: 3.0
  address_map:
    description:
      - Where servers are reached from here, if not at the address that Sentinel announces (NAT, containers).
      - Leads from C(host:port) or C(host), as Sentinel announces it, to C(host:port) or C(host).
    type: dict
    default: {}
  renamed_commands:
    description:
      - What the data nodes call commands that C(rename-command) renamed there, for example C(CONFIG) leading to C(ADMINCONFIG). One word leads to
        one word; what follows a command, as in C(CONFIG SET), stays.
      - Sentinel has to be told of the new names, too (C(sentinel rename-command)).
    type: dict
    default: {}
requirements:
  - redis-py 3.5 or later; on Python 3.12 and later, redis-py 4.3.4 or later
notes:
  - A module runs wherever the Sentinels and nodes can be reached. Most often that is the controller (C(delegate_to) localhost), or a Sentinel's own host.
    Plugins of other kinds run on the controller.
  - Environment variables are those of the host that runs the module, so they reach only modules that run on the controller.
"""

    # Ansible itself reads the environment for a plugin that is not a module.
    PLUGIN = r"""
options:
  sentinels:
    env:
      - name: REDIS_SENTINELS
  sentinel_username:
    env:
      - name: REDIS_SENTINEL_USERNAME
  sentinel_password:
    env:
      - name: REDIS_SENTINEL_PASSWORD
  redis_username:
    env:
      - name: REDIS_USERNAME
  redis_password:
    env:
      - name: REDIS_PASSWORD
  tls:
    env:
      - name: REDIS_TLS
  sentinel_tls:
    env:
      - name: REDIS_SENTINEL_TLS
  validate_certs:
    env:
      - name: REDIS_VALIDATE_CERTS
  ca_certs:
    env:
      - name: REDIS_CA_CERTS
  client_cert_file:
    env:
      - name: REDIS_CLIENT_CERT_FILE
  client_key_file:
    env:
      - name: REDIS_CLIENT_KEY_FILE
"""
