#!/bin/sh
# What a bare Debian 12, Debian 13 or Ubuntu 24.04 with git and make lacks: packages, and the repository's own node_modules
# (which bring Node 24; the distribution's older npm is enough to install them). Quick and harmless when all is there.
set -eu
cd "$(dirname "$0")/../.."

packages="ca-certificates nodejs npm gcc libc6-dev clang-19 llvm-19 libbpf1 libbpf-dev iproute2 iptables nftables
  containerd runc umoci skopeo busybox-static mmdebstrap iperf3 tcpdump conntrack jq ethtool wireguard-tools socat procps bpftrace
  openssl util-linux"
# The tests boot older kernels in it; nothing else needs it.
case $(uname -m) in x86_64) packages="$packages qemu-system-x86" ;; esac

say() { echo "setup: $*"; }
fail() { say "$*" >&2; exit 1; }
installed() { dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

# Ubuntu ships bpftool with the kernel's tools.
if ! command -v bpftool > /dev/null; then
  if grep -qs '^ID=ubuntu' /etc/os-release; then packages="$packages linux-tools-common linux-tools-generic"; else packages="$packages bpftool"; fi
fi
# The image's wireguard-go is built from its source; so are a cluster's programs where their downloads cannot be reached.
# Debian 12's Go is too old for them, and new enough to fetch one that is not (src/cluster/binaries/gobuild.ts).
command -v go > /dev/null || packages="$packages golang-go"

missing=""
for package in $packages; do
  case $package in
    nodejs) command -v node > /dev/null || missing="$missing $package" ;;
    # Docker brings its own, under another package name that excludes the distribution's.
    npm | containerd | runc) command -v "$package" > /dev/null || missing="$missing $package" ;;
    *) installed "$package" || missing="$missing $package" ;;
  esac
done
if [ -n "$missing" ]; then
  [ "$(id -u)" = 0 ] || fail "not root, and packages are missing ($missing): run it as root, for example sudo make setup"
  command -v apt-get > /dev/null || fail "no apt-get on this machine: install by hand what these Debian packages hold:$missing"
  say "installing$missing"
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update || fail "apt-get update failed: see above"
  # The services of the packages are not wanted: every node of a cluster starts its own.
  apt-get -qq install --yes --no-remove --no-install-recommends $missing > /dev/null \
    || fail "apt-get install failed: see above; it may not remove what is installed: where these packages exclude yours, decide by hand"
fi

if [ ! -x node_modules/.bin/node ] || ! cmp -s package-lock.json node_modules/.setup; then
  if [ ! -x node_modules/.bin/node ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    say "installing node_modules"
    npm ci --no-audit --no-fund --loglevel=error || fail "npm ci failed: see above"
    # npm leaves out, silently, optional packages for which the Node that runs it is too old, such as the linter's binary: the
    # Node that has come now asks again. The distribution's npm has its own packages in NODE_PATH.
    case $(node --version) in
      v[0-9].* | v1?.*)
        node24=$(mktemp -d)
        trap 'rm -rf "$node24"' EXIT
        cp -L node_modules/.bin/node "$node24/node"
        PATH=$node24:$PATH NODE_PATH=/usr/share/nodejs NODE_NO_WARNINGS=1 npm ci --no-audit --no-fund --loglevel=error || fail "npm ci by Node 24 failed: see above"
        ;;
    esac
  fi
fi
node_modules/.bin/node --version | grep -q '^v24\.' || fail "node_modules/.bin/node is not Node 24: rm -r node_modules, then make setup"
# The stamp of make: what was installed, and when.
cp package-lock.json node_modules/.setup
