#!/usr/bin/env bash
# Build both images without a Docker engine, and run one round between their root file systems.
#
#   sudo docker/prove.sh              Debian's buildah, debootstrap, iproute2, procps, util-linux
#
#   WORK       where everything is made           default: build/containers
#   BASE       base image, as buildah names it    default: one that docker/base.sh makes
#   PYTHON     a Python 3.11 with pip             default: .venv/bin/python, else python3
#   PEOPLE     synthetic people a site            default: 2
#   REFERENCE, ANCHORS, PATIENCE                  as docker/round.sh says
#
# What a Docker engine alone could show (compose's networks, its health checks) is not shown.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
work=$(realpath -m "${WORK:-$root/build/containers}")
if [[ -z ${PYTHON:-} && -x $root/.venv/bin/python ]]; then export PYTHON=$root/.venv/bin/python; fi
[[ $EUID == 0 ]] || { echo "prove.sh: needs root, for debootstrap and namespaces" >&2; exit 2; }
for tool in buildah debootstrap ip pkill ss unshare; do
  command -v "$tool" > /dev/null || { echo "prove.sh: no $tool: install it first" >&2; exit 2; }
done

"$here/images.sh" "$work"
"$here/round.sh" "$work"
printf '\n== image sizes\n'
cat "$work/sizes"
