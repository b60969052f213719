#!/usr/bin/env bash
# Run one command in a built root file system as a container would: read-only, not root, no
# capability, nothing writable but the mounts that are named. Called by prove.sh in new namespaces.
#
#   inside.sh ROOT USER:GROUP [SOURCE:TARGET[:ro]]... -- COMMAND...      environment: ENV_FILE
set -euo pipefail
root=$1 user=${2%:*} group=${2#*:}
shift 2

mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o nosuid,nodev,mode=1777 tmp "$root/tmp"
mount -t tmpfs -o nosuid,mode=0755 dev "$root/dev"
for device in null zero random urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"
mount -t tmpfs -o nosuid,nodev,noexec,mode=1777 shm "$root/dev/shm"
while [[ $1 != -- ]]; do
  IFS=: read -r source target mode <<< "$1"
  mount --bind "$source" "$root$target"
  [[ $mode != ro ]] || mount -o remount,bind,ro "$root$target"
  shift
done
shift
mount -o remount,bind,ro "$root"

mapfile -t environment < "$ENV_FILE"
exec chroot "$root" /usr/bin/env -i "${environment[@]}" /usr/bin/setpriv --reuid "$user" \
  --regid "$group" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"
