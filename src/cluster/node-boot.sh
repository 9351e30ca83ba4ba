#!/bin/sh
# First process of a node: the caller has put it into the node's network, mount, cgroup and UTS namespace.
# It gives the node a file system of its own and then stays, so that the namespaces have a holder.
#   NODE_NAME  host name          NODE_DISK  directory with what survives a restart of the node
#   CGROUPS    one word per hierarchy: <v1|v2>:<folder below /sys/fs/cgroup>:<mount options>
set -eu

mount --make-rprivate /
hostname "$NODE_NAME"

# sysfs shows the network devices of the namespace in which it was mounted.
mount -t sysfs sysfs /sys
mount -t bpf bpf /sys/fs/bpf
if [ "$CGROUPS" = "v2::" ]; then
  # cgroups(7), "no internal processes": controllers reach the pods only when the node's root group holds no process.
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mkdir -p /sys/fs/cgroup/system
  echo 0 > /sys/fs/cgroup/system/cgroup.procs
  for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control || true
  done
else
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  for hierarchy in $CGROUPS; do
    version=${hierarchy%%:*}; rest=${hierarchy#*:}; folder=${rest%%:*}; options=${rest#*:}
    mkdir "/sys/fs/cgroup/$folder"
    if [ "$version" = v2 ]; then
      mount -t cgroup2 cgroup2 "/sys/fs/cgroup/$folder"
    else
      mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/$folder"
      case $folder in *,*) for name in $(echo "$folder" | tr , ' '); do ln -s "$folder" "/sys/fs/cgroup/$name"; done ;; esac
    fi
  done
fi

# The node sees the machine's files and writes to copies of its own; what would be slow or wrong on overlayfs
# (containerd puts overlayfs on it) is a directory of the node's disk.
for dir in etc opt usr/lib var/lib; do
  mkdir -p "$NODE_DISK/overlay/$dir/upper" "$NODE_DISK/overlay/$dir/work"
  mount -t overlay -o "lowerdir=/$dir,upperdir=$NODE_DISK/overlay/$dir/upper,workdir=$NODE_DISK/overlay/$dir/work" overlay "/$dir"
done
for dir in var/lib/containerd var/lib/kubelet var/lib/cilium var/lib/cni var/log etc/cni/net.d etc/kubernetes opt/cni/bin; do
  mkdir -p "$NODE_DISK/$dir" "/$dir"
  mount --bind "$NODE_DISK/$dir" "/$dir"
done
mkdir -p /usr/lib/modules
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock /run/cilium

# The kubelet sets these for the whole machine; a local cluster must not, so it finds them set, in files of the node.
mkdir -p /run/machine
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  path=${setting%%=*}
  file=/run/machine/$(echo "$path" | tr / .)
  echo "${setting#*=}" > "$file"
  mount --bind "$file" "/proc/sys/$path"
done
# A node that starts again is a machine that boots again, and never its neighbour.
cat /proc/sys/kernel/random/uuid > /run/machine/boot_id
mount --bind /run/machine/boot_id /proc/sys/kernel/random/boot_id
[ -e "$NODE_DISK/machine-id" ] || tr -d - < /proc/sys/kernel/random/uuid > "$NODE_DISK/machine-id"
rm -f /etc/machine-id
cp "$NODE_DISK/machine-id" /etc/machine-id
rm -f /etc/hostname /etc/hosts /etc/resolv.conf
echo "$NODE_NAME" > /etc/hostname
printf '127.0.0.1 localhost\n::1 localhost\n127.0.1.1 %s\n' "$NODE_NAME" > /etc/hosts
echo '# A node of a local cluster has no name server but the cluster'"'"'s own.' > /etc/resolv.conf

mount --make-rshared /
touch /run/booted
exec sleep infinity
