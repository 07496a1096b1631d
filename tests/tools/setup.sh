#!/usr/bin/env bash
# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# setup.sh run|dev: makes the private environment of this checkout under .cache/, or brings it up to date.
#
#   .cache/venv                                              Python environment: requirements/run.txt, or dev.txt on top of it
#   .cache/collections/ansible_collections/redis_ha/sentinel symlink to the checkout, so that Ansible finds the collection
#
# Says nothing when all is in place. PYTHON=/path/to/python chooses the interpreter of a new environment.
set -euo pipefail

requirement_set=${1:?usage: setup.sh run|dev}
root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
cache=$root/.cache
venv=$cache/venv
log=$cache/setup.log
export PIP_CACHE_DIR=$cache/pip

die() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

# Runs a command with its output in the log; shows the whole log if it fails.
logged() {
  printf '+ %s\n' "$*" >>"$log"
  if ! "$@" >>"$log" 2>&1 </dev/null; then
    cat -- "$log" >&2
    die "failed: $*"
  fi
}

usable_python() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

can_install() {
  [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null
}

has_venv_module() {
  "$1" -c 'import ensurepip, venv' 2>/dev/null
}

# ansible-core 2.19 runs on Python 3.11 to 3.13, 2.20 on 3.14; 3.11 comes first because Debian 12 has it. Debian's own comes before another one in
# PATH: it is built with profiles, and where somebody has built his own without them, the tests take 14 % more processor.
find_python() {
  local debian=/usr/bin/python3.11 candidate
  if [ -z "${PYTHON:-}" ] && usable_python "$debian" && ! has_venv_module "$debian"; then
    # Where its module venv cannot be had, another Python may do.
    { can_install && (install_packages python3.11-venv) >&2; } || debian=
  fi
  for candidate in ${PYTHON:+"$PYTHON"} ${debian:+"$debian"} python3.11 python3.13 python3.12 python3.14 python3; do
    if usable_python "$candidate"; then
      # The interpreter itself, not a wrapper that picks one by environment variables.
      "$candidate" -c 'import os, sys; print(os.path.realpath(sys.executable))'
      return
    fi
  done
  die 'needs Python 3.11, 3.12, 3.13 or 3.14 (PYTHON=/path/to/python chooses one)'
}

# Debian packages, for what PyPI does not have.
install_packages() {
  command -v apt-get >/dev/null || die "needs $*, and there is no apt-get to install them"
  [ "$(id -u)" -eq 0 ] || die "first run: sudo apt-get install $*"
  echo "setup: installing the Debian packages $*"
  export DEBIAN_FRONTEND=noninteractive
  logged apt-get -o DPkg::Lock::Timeout=120 update
  logged apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@"
}

# What is left out without it. A set-up that CI makes has to have all.
leave_out() {
  [ "${CI:-}" != true ] || die "$*"
  printf 'setup: left out: %s\n' "$*" >&2
}

# install_or_leave_out WHAT PACKAGE...: in words what there is to miss, and what would bring it.
install_or_leave_out() {
  local what=$1
  shift
  if can_install && (install_packages "$@"); then
    return
  fi
  leave_out "$what; needs: sudo apt-get install $*"
}

# Debian starts the service of a package that it installs; the tests start an engine of their own, and the machine's owner may want none.
install_engine() {
  local policy=/usr/sbin/policy-rc.d
  if [ "$(id -u)" -eq 0 ] && [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  local what='the Molecule scenarios, which run in containers'
  install_or_leave_out "$what" docker.io iproute2 iptables mmdebstrap
  # From Debian 13 on, the client is a package of its own, which docker.io only recommends.
  if can_install && ! command -v docker >/dev/null; then
    install_or_leave_out "$what" docker-cli
  fi
}

# Debian keeps ensurepip, without which no venv gets pip, in a package of its own.
ensure_venv_module() {
  local python=$1
  has_venv_module "$python" && return
  install_packages "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
}

# The tests write with Node.js clients, too, look at the report in a real browser, and have hosts of their own in containers.
ensure_test_tools() {
  local browser=() node=()
  command -v npm >/dev/null || node+=(nodejs npm)
  command -v chromium >/dev/null || browser+=(chromium fonts-dejavu-core fonts-liberation)
  # Of Playwright's own Node.js, which tells the browser what to do.
  grep -q libatomic.so.1 <(PATH=$PATH:/sbin:/usr/sbin ldconfig -p) || browser+=(libatomic1)
  [ "${#node[@]}" -eq 0 ] || install_or_leave_out 'tests with clients of Node.js' "${node[@]}"
  [ "${#browser[@]}" -eq 0 ] || install_or_leave_out 'tests that look at reports in a browser' "${browser[@]}"
  if ! docker version >/dev/null 2>&1 && ! { command -v dockerd && command -v docker && command -v mmdebstrap && command -v ip; } >/dev/null; then
    install_engine
  fi
}

# Of the package `ansible`, which brings a hundred collections, the tests need what speaks to Docker and to AWX; all of them would slow every tool down.
ensure_collections() {
  local python=$1 there=$cache/collections/ansible_collections missing=() name work
  for name in awx/awx community/docker community/library_inventory_filtering_v1; do
    [ -e "$there/$name/MANIFEST.json" ] || missing+=("$name")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  work=$(mktemp -d -- "$cache/ansible-XXXXXX")
  logged "$python" -m pip download --disable-pip-version-check --no-input --progress-bar off --no-deps --dest "$work" 'ansible>=12,<13'
  logged "$python" -c 'import pathlib, sys, zipfile
folder, *wanted = sys.argv[1:]
beginnings = tuple(f"ansible_collections/{name}/" for name in wanted)
with zipfile.ZipFile(next(pathlib.Path(folder).glob("ansible-*.whl"))) as wheel:
    wheel.extractall(folder, [name for name in wheel.namelist() if name.startswith(beginnings)])
' "$work" "${missing[@]}"
  for name in "${missing[@]}"; do
    mkdir -p -- "$there/${name%/*}"
    rm -rf -- "${there:?}/$name"
    mv -- "$work/ansible_collections/$name" "$there/$name"
  done
  rm -rf -- "$work"
}

# What an environment was made from: it is stale when the requirements change or the checkout moves (scripts name their interpreter by full path).
fingerprint() {
  { printf '%s\n' "$root" && cat -- "$@"; } | sha256sum | cut -d ' ' -f 1
}

requirements=("$root/requirements/run.txt")
[ "$requirement_set" = run ] || requirements+=("$root/requirements/$requirement_set.txt")
wanted=$(fingerprint "${requirements[@]}")
stamp=$venv/.made-from-$requirement_set
collection=$cache/collections/ansible_collections/redis_ha/sentinel

mkdir -p -- "$(dirname -- "$collection")"
# Two set-ups in one checkout wait for each other.
if command -v flock >/dev/null; then
  exec 9>"$cache/setup.lock"
  flock 9
fi
: >"$log"

[ -e "$collection/galaxy.yml" ] || ln -sfn ../../../.. "$collection"
[ "$requirement_set" = run ] || ensure_test_tools
if [ "$(cat -- "$stamp" 2>/dev/null)" = "$wanted" ] && "$venv/bin/python" -c '' 2>/dev/null; then
  [ "$requirement_set" = run ] || ensure_collections "$venv/bin/python"
  exit 0
fi

echo "setup: installing requirements/$requirement_set.txt into .cache/venv"
if [ "$(cat -- "$venv/.made-at" 2>/dev/null)" != "$root" ] || ! usable_python "$venv/bin/python"; then
  python=$(find_python)
  ensure_venv_module "$python"
  logged "$python" -m venv --clear "$venv"
  printf '%s\n' "$root" >"$venv/.made-at"
fi
logged "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off \
  -r "$root/requirements/$requirement_set.txt"
printf '%s\n' "$wanted" >"$stamp"
[ "$requirement_set" = run ] || ensure_collections "$venv/bin/python"
