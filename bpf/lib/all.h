/* SPDX-License-Identifier: Apache-2.0 */
/* The headers in the order in which they use each other. */
#include "../vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "types.h"
#include "net.h"
#include "config.h"
#include "maps.h"
#include "packet.h"
#include "icmp.h"
#include "load.h"
#include "parse.h"
#include "events.h"
#include "identity.h"
#include "policy.h"
#include "opening.h"
#include "conntrack.h"
#include "neighbour.h"
#include "encap.h"
#include "host.h"
#include "mtu.h"
#include "deliver.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
