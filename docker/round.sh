#!/usr/bin/env bash
# One round between the built root file systems: two sites, one coordinator, one verified report.
#
#   docker/round.sh FOLDER            FOLDER as docker/images.sh left it
#
#   PEOPLE     synthetic people a site               default: 2
#   REFERENCE  public constants of the study         default: examples/consortium/reference
#   ANCHORS    gallery sizes that it asks for        default: 100,1000
#   PATIENCE   seconds for both sites to release     default: 600
#
# Every host is a network namespace of its own, with one cable to the coordinator and no way out.
# Every process has a read-only root file system, no capability, and a user id that is not root's.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
reference=$(realpath "${REFERENCE:-$here/../examples/consortium/reference}")
work=$1
people=${PEOPLE:-2}
sites=(alpha bravo)
study=containers
space=reidscope$$
buildah=(buildah --root "$work/store" --runroot "$work/run")
declare -A rootfs daemon

step() { printf '\n== %s\n' "$*"; }
fail() { echo "round.sh: $*" >&2; exit 1; }

clean_up() {
  local host
  # Process 1 first: a change of user id takes away what would end it with its parent.
  for host in "${!daemon[@]}"; do
    pkill -KILL --parent "${daemon[$host]}" 2> /dev/null || true
    kill -KILL "${daemon[$host]}" 2> /dev/null || true
  done
  wait 2> /dev/null || true
  for host in coordinator "${sites[@]}"; do ip netns delete "$space-$host" 2> /dev/null || true; done
  "${buildah[@]}" rm --all > /dev/null 2>&1 || true
}

# A field of an image's configuration, one entry a line.
image() {
  "${buildah[@]}" inspect --type image --format "{{range .OCIv1.Config.$2}}{{println .}}{{end}}" \
    "localhost/reidscope-$1" | sed '/^$/d'
}

mount_images() {
  local kind made
  for kind in server site; do
    made=$("${buildah[@]}" from "localhost/reidscope-$kind")
    rootfs[$kind]=$("${buildah[@]}" mount "$made")
    mkdir -p "${rootfs[$kind]}"/{exchange,data,reference}
    image "$kind" Env > "$work/$kind.environment"
    "${buildah[@]}" inspect --type image --format '{{.OCIv1.Config.User}}' \
      "localhost/reidscope-$kind" > "$work/$kind.user"
    [[ $(cat "$work/$kind.user") =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]] || fail "$kind runs as root"
  done
}

make_hosts() {
  local host number=1
  rm -rf "$work/hosts"
  for host in coordinator "${sites[@]}"; do
    mkdir -p "$work/hosts/$host"/{home,witness,exchange,data}
    chmod 0700 "$work/hosts/$host"/{home,witness}
    chown 10001:10001 "$work/hosts/$host"/*
    ip netns add "$space-$host"
    ip -n "$space-$host" link set lo up
  done
  printf '127.0.0.1 localhost\n10.77.0.1 coordinator\n' > "$work/names"
  ip -n "$space-coordinator" link add hub type bridge
  ip -n "$space-coordinator" address add 10.77.0.1/24 dev hub
  ip -n "$space-coordinator" link set hub up
  for host in "${sites[@]}"; do
    number=$((number + 1))
    ip -n "$space-$host" link add cable type veth peer name "port$number" netns "$space-coordinator"
    ip -n "$space-$host" address add "10.77.0.$number/24" dev cable
    ip -n "$space-$host" link set cable up
    ip -n "$space-coordinator" link set "port$number" master hub up
  done
}

# on HOST COMMAND...: replace this (sub)shell by the command in the host's image, with its volumes.
on() {
  local host=$1 kind=site at=$work/hosts/$1 data=ro
  shift
  [[ $host != coordinator ]] || kind=server
  [[ $* != *reidscope_site.synthetic* ]] || data=rw
  local volumes=("$work/names:/etc/hosts:ro" "$at/home:/var/lib/reidscope" "$at/exchange:/exchange")
  if [[ $kind == site ]]; then
    volumes+=("$at/data:/data:$data" "$at/witness:/var/lib/reidscope-witness")
  else
    volumes+=("$reference:/reference:ro")
  fi
  ENV_FILE=$work/$kind.environment exec ip netns exec "$space-$host" \
    unshare --mount --pid --ipc --uts --fork --kill-child -- \
    "$here/inside.sh" "${rootfs[$kind]}" "$(cat "$work/$kind.user")" "${volumes[@]}" -- "$@"
}

# start HOST COMMAND...: a daemon, until `stop` or the end.
start() {
  (on "$@") > "$work/logs/$1.log" 2>&1 &
  daemon[$1]=$!
}

# stop HOST: as an engine does it: SIGTERM to process 1, which must end by itself.
stop() {
  pkill -TERM --parent "${daemon[$1]}"
  wait "${daemon[$1]}" || fail "$1 did not end with exit code 0 on SIGTERM"
  unset "daemon[$1]"
}

# until_true SECONDS WHAT COMMAND...
until_true() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    ((SECONDS < deadline)) || fail "no $what in time: see logs/"
    sleep 1
  done
}

listening() { ip netns exec "$space-$1" ss --no-header --listening --tcp --udp --numeric; }
# gRPC writes the same address as IPv6 does.
open_doors() { listening coordinator | awk '{print $5}' | tr -d '[]' | sed 's/::ffff://' | sort | xargs; }
doors_are() { [[ $(open_doors) == "$*" ]]; }
said() { grep -qs -- "$2" "$work/logs/$1.log"; }
copy() { install --owner 10001 --group 10001 --mode 0600 "$@"; }

trap clean_up EXIT
mkdir -p "$work/logs"
mount_images
make_hosts

step "what a process may do in these root file systems"
for host in coordinator alpha; do
  (on "$host" /bin/sh -c '
    id -u | grep -qx 10001 && ! touch /opt/reidscope/x /etc/x /x 2> /dev/null &&
    grep -qx "CapEff:	0000000000000000" /proc/self/status &&
    grep -qx "CapBnd:	0000000000000000" /proc/self/status &&
    grep -qx "NoNewPrivs:	1" /proc/self/status &&
    ! command -v pip && ! command -v uv && ! python3 -m pip --version 2> /dev/null') \
    || fail "$host: root, capabilities, a writable tree or an installer"
  echo "$host: user id 10001, no capability, read-only tree, no installer"
done
(on coordinator /bin/sh -c '! python3 -c "import pydicom" 2> /dev/null &&
  ! python3 -c "import torch" 2> /dev/null && ! python3 -c "import reidscope_deid" 2> /dev/null') \
  || fail "the coordinator's image can read images"
echo "coordinator: no pydicom, no torch, no de-identifier"
(on alpha python3 -c 'from reidscope_site.isolation import check_network_closes as look; look()') \
  || fail "alpha: the kernel would not close the evaluator's network"
echo "alpha: the kernel closes the network of whatever evaluates people"
# shellcheck disable=SC2016  # a template of buildah, not of the shell
mapfile -t exposed < <("${buildah[@]}" inspect --type image \
  --format '{{range $port, $_ := .OCIv1.Config.ExposedPorts}}{{println $port}}{{end}}' \
  localhost/reidscope-site | sed '/^$/d')
((${#exposed[@]} == 0)) || fail "the site's image exposes a port"

step "coordinator"
(on coordinator reidscope-server init --host coordinator)
start coordinator reidscope-server up
until_true 60 "coordinator" said coordinator "listening"

step "sites: synthetic people, enrolment with a one-time token, index"
for host in "${sites[@]}"; do
  (on "$host" python3 -m reidscope_site.synthetic --out /data --people "$people" --site "$host")
  (on coordinator reidscope-server token "$host" --out "/exchange/$host.json")
  copy "$work/hosts/coordinator/exchange/$host.json" "$work/hosts/$host/exchange/invitation"
  (on "$host" reidscope-site init --name "$host" --dicom /data/dicom --photos /data/photos \
    --links /data/links.csv --declared-people "$people" --population "synthetic people" \
    --witness /var/lib/reidscope-witness/witness.json)
  (on "$host" reidscope-site enroll /exchange/invitation)
  (on "$host" reidscope-site index)
done
until_true 20 "closed enrolment port" doors_are 10.77.0.1:8442 10.77.0.1:8443
echo "coordinator listens on 8442 and 8443 alone: enrolment closed with the last token"

step "a signed study"
names=$(IFS=,; echo "${sites[*]}")
(on coordinator reidscope-server study new --id "$study" --sites "$names" \
  --constants /reference --out /exchange/draft.json --population "synthetic people" \
  --anchors "${ANCHORS:-100,1000}" --minimum-people "$people" --minimum-sites 2 --days 1)
(on coordinator reidscope-server study sign /exchange/draft.json --out /exchange/study.dsse.json)
(on coordinator reidscope-server study open /exchange/study.dsse.json --constants /reference)

step "agents, and a person's yes"
for host in "${sites[@]}"; do
  start "$host" reidscope-site serve
  until_true 120 "calibration at $host" said "$host" "calibration kept"
  (on "$host" reidscope-site approve "$study")
done

step "the round"
began=$SECONDS
while ! (on coordinator reidscope-server collect "$study" --timeout 10); do
  for host in "${sites[@]}"; do
    [[ -z $(listening "$host") ]] || fail "a port is open at $host: $(listening "$host")"
  done
  ((SECONDS < began + ${PATIENCE:-600})) || fail "no release in time: see logs/"
done
for host in "${sites[@]}"; do
  [[ -z $(listening "$host") ]] || fail "a port is open at $host"
  said "$host" "released after" || fail "$host released nothing"
done
echo "$((SECONDS - began)) s; no port was open at any site"

step "health checks, as compose.yaml has them, by hand"
(on alpha reidscope-site status --running --json > /dev/null) && echo "site: answers"
(on coordinator python3 -c 'import socket; socket.create_connection(("coordinator", 8442), 5)') \
  && echo "coordinator: accepts connections"

step "the report"
(on coordinator reidscope-server report "$study" --out /exchange/report)
(on coordinator reidscope-server verify /exchange/report)
for host in "${sites[@]}"; do
  cp -r "$work/hosts/coordinator/exchange/report" "$work/hosts/$host/exchange/report"
  chown -R 10001:10001 "$work/hosts/$host/exchange/report"
  (on "$host" reidscope-site verify /exchange/report)
done

step "an orderly end"
for host in "${sites[@]}" coordinator; do stop "$host"; done
echo "every process ended by itself on SIGTERM"
