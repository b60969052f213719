#!/usr/bin/env bash
# Build both images without a Docker engine: buildah, chroot isolation, nothing fetched.
#
#   docker/images.sh FOLDER           FOLDER/store holds the images afterwards
#
#   BASE    base image, as buildah names it    default: one that docker/base.sh makes
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$1
buildah=(buildah --root "$work/store" --runroot "$work/run")
mkdir -p "$work/logs"

if [[ -z ${BASE:-} ]]; then
  BASE=localhost/reidscope-base
  if ! "${buildah[@]}" inspect --type image "$BASE" > /dev/null 2>&1; then
    echo "base: Debian and Python, by debootstrap"
    rm -rf "$work/base"
    "$here/base.sh" "$work/base"
    made=$("${buildah[@]}" from scratch)
    "${buildah[@]}" add --quiet "$made" "$work/base" / > /dev/null
    "${buildah[@]}" commit --quiet "$made" "$BASE" > /dev/null
    "${buildah[@]}" rm "$made" > /dev/null
    rm -rf "$work/base"
  fi
fi

"$here/context.sh" "$work/context"
for role in server site; do
  echo "$role: building"
  "${buildah[@]}" bud --isolation chroot --format docker --build-arg "BASE=$BASE" \
    --tag "localhost/reidscope-$role" --file "$here/$role.Dockerfile" "$work/context" \
    > "$work/logs/build-$role.log" 2>&1 \
    || { tail -20 "$work/logs/build-$role.log" >&2; exit 1; }
done
rm -rf "$work/context/wheels"
# What an earlier run built, and nothing names any more.
"${buildah[@]}" rmi --prune > /dev/null
"${buildah[@]}" images --format '{{.Name}} {{.Size}}' | tee "$work/sizes"
