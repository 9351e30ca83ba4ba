#!/bin/sh
# Makes the node's WireGuard device and keeps it: the kernel's own where it has one, else a process, which this becomes.
# Keys and peers are the agent's to tell, whenever it runs.
set -eu
device=cilium_wg0
if ip -details link show dev "$device" 2> /dev/null | grep -q '^ *wireguard ' || ip link add dev "$device" type wireguard 2> /dev/null; then
  echo "$device is the kernel's own"
  exec sleep infinity
fi
echo "$device is wireguard-go's: the kernel has no WireGuard"
# The process would say otherwise that Linux needs none; errors are enough of its log, which never has keys.
export WG_PROCESS_FOREGROUND=1 LOG_LEVEL=error
exec /opt/cilium/bin/wireguard-go --foreground "$device"
