#!/usr/bin/env bash
# Make a base image out of Debian's packages, for whoever may or can pull none.
#
#   docker/base.sh FOLDER             a root file system: Debian 12, Python 3.11, nothing else
#
# Needs root and Debian's debootstrap; packages come from wherever debootstrap looks (MIRROR, SUITE).
set -euo pipefail
folder=$1
suite=${SUITE:-bookworm}

debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
  "$suite" "$folder" ${MIRROR:+"$MIRROR"} > "$folder.log" 2>&1 \
  || { echo "base.sh: debootstrap failed, see $folder.log" >&2; exit 1; }
chroot "$folder" apt-get clean
# Documentation, translations and package lists: a quarter of it, and never read in an image.
rm -rf "$folder"/usr/share/{doc,man,info,locale,lintian} "$folder"/var/lib/apt/lists/* \
  "$folder"/var/cache/{apt,debconf,ldconfig} "$folder"/var/log/*
