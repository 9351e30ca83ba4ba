#!/bin/sh
# The first process of the machine that boots: what the kernel accepts goes to the second serial port, packet rows to the first.
export PATH=/bin HOME=/tmp LD_LIBRARY_PATH=/lib/x86_64-linux-gnu:/lib64:/usr/lib/x86_64-linux-gnu
# No machine code of Node's own: an emulated processor translates it once more, and there is nothing that runs for long.
export NODE_OPTIONS="--jitless"
# Tests of random cases take fewer.
export EMULATED=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t bpf bpf /sys/fs/bpf
ip link set dev lo up
while read -r module; do insmod "/modules/$module.ko"; done < /modules/order
cd /repository
node test/kernels/guest.js > /dev/ttyS1
read -r seconds rest < /proc/uptime
echo "programs: $seconds s after the start"
for file in $(cat /rows); do
  status=0
  node --test --test-isolation=none --test-timeout=400000 --test-reporter=./test/reporter.js "$file" || status=$?
  echo "rows of $file: exit status $status"
done
echo "rows: the end"
reboot -f
