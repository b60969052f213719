#!/usr/bin/env bash
# Make the folder that the images are built from: wheels of pinned versions, and their pins.
#
#   docker/context.sh [FOLDER]        default: build/containers/context
#
# Wheels come from wherever pip is configured to look. Configure PyTorch's CPU build first, as its
# own site says: the CUDA build would add gigabytes. Nothing is fetched after this step.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=$(realpath -m "${1:-$root/build/containers/context}")
python=${PYTHON:-python3}

rm -rf "$out"
mkdir -p "$out/wheels"
cp "$root/constraints.txt" "$root/requirements-data.txt" "$out/"
cd "$root"
pip=("$python" -m pip --quiet --disable-pip-version-check wheel --wheel-dir "$out/wheels")
"${pip[@]}" -c constraints.txt '.[demo]'
"${pip[@]}" --no-deps -r requirements-data.txt

if compgen -G "$out/wheels/nvidia_*" > /dev/null; then
  echo "context.sh: torch came as its CUDA build; have pip find the CPU build, then run this again" >&2
  exit 1
fi
# What went into the images, byte for byte: kept beside them, compared by whoever builds them again.
(cd "$out/wheels" && sha256sum -- *.whl) > "$out/wheels.sha256"
echo "$(find "$out/wheels" -name '*.whl' | wc -l) wheels, $(du -sh "$out/wheels" | cut -f1), in $out"
