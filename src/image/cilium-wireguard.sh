#!/bin/sh
# Makes one WireGuard device of the node and keeps it: `cilium-wireguard DEVICE auto|always|never`. The kernel's own where it has
# one, else a process; always or never such a process. Keys and peers are the agent's to tell, whenever it runs. A device that
# somebody deletes, and a process that somebody kills, are made again at once: the kubelet would take ever longer.
set -eu
device=$1
userspace=$2
child=
is_kernels() {
  ip -details link show dev "$device" 2> /dev/null | grep -q '^ *wireguard '
}
# The first process of a container gets no signal that it does not ask for.
end() {
  if [ -n "$child" ]; then kill "$child" 2> /dev/null || true; fi
  exit 0
}
trap end TERM INT
if [ "$userspace" = always ]; then
  # Made before the setting was: a process cannot take the name.
  if is_kernels; then ip link delete dev "$device"; fi
elif is_kernels || ip link add dev "$device" type wireguard 2> /dev/null; then
  echo "$device is the kernel's own"
  # No process ends with it: it is looked for, and made again when somebody deletes it.
  while [ -e "/sys/class/net/$device" ]; do sleep 0.5; done
  exec "$0" "$@"
elif [ "$userspace" = never ]; then
  echo "$device cannot be made: the kernel has no WireGuard, and encryption.wireguard.userspace=never wants no process" >&2
  exit 1
fi
echo "$device is wireguard-go's"
# The process would say otherwise that Linux needs none; errors are enough of its log, which never has keys.
export WG_PROCESS_FOREGROUND=1 LOG_LEVEL=error
began=$(date +%s)
/opt/cilium/bin/wireguard-go --foreground "$device" &
child=$!
status=0
wait "$child" || status=$?
# One that cannot even start is the kubelet's to try again, less and less often.
if [ $(($(date +%s) - began)) -lt 2 ]; then exit "$((status == 0 ? 1 : status))"; fi
echo "$device: its process has ended ($status), and is started again" >&2
exec "$0" "$@"
