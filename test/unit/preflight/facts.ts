/** Machines as preflight reads them. */
import { TRIALS, type Facts, type Finding, type Plan, type Trial, type TrialName } from "../../../src/preflight/facts.ts";
import { judge } from "../../../src/preflight/index.ts";

export const PLAN: Plan = { mode: "tunnel", tunnelPort: 8472, enableIPv6: true, cniExclusive: true, cniConfPath: "/etc/cni/net.d", ranges: [] };

const ROOT = "Name:\tnode\nCapEff:\t000001ffffffffff\n";
const MOUNTS = "22 1 8:1 / / rw shared:1 - ext4 /dev/sda rw\n40 22 0:30 / /sys/fs/bpf rw shared:7 - bpf bpf rw\n41 22 0:31 / /sys/fs/cgroup rw shared:8 - cgroup2 cgroup2 rw\n";

/** What works, but for `broken`. */
export function trials(broken: Partial<Record<TrialName, string>> = {}): Facts["trials"] {
  return { value: Object.fromEntries(TRIALS.map((name): [TrialName, Trial] => [name, broken[name] === undefined ? { works: true } : { works: false, said: broken[name] }])) as Record<TrialName, Trial> };
}

/** A machine of Debian 12 that has nothing on it. */
export function machine(changes: Partial<Facts> = {}): Facts {
  return {
    plan: PLAN,
    kernel: "6.1.0-37-amd64",
    status: ROOT,
    limits: "Max locked memory         8388608              8388608              bytes\n",
    mountinfo: MOUNTS,
    kernelBtf: true,
    lockdown: "[none] integrity confidentiality\n",
    sysctls: { "net/core/bpf_jit_enable": "1", "net/ipv4/ip_forward": "0", "net/ipv6/conf/all/forwarding": "0", "net/ipv4/conf/eth0/rp_filter": "2", "net/netfilter/nf_conntrack_count": "7", "net/netfilter/nf_conntrack_max": "262144" },
    bpf: { value: { needs: [{ kind: "helper", name: "redirect_peer", users: ["from_container"], works: true }], loads: [{ object: "from_container", error: undefined }] } },
    trials: trials(),
    cni: { value: [] },
    devices: { value: [device("lo", []), device("eth0", ["192.0.2.1/24"])] },
    rules: { value: [0, 32_766, 32_767].map((priority) => ({ family: 4 as const, priority, text: "from all lookup main" })) },
    routes: { value: [{ destination: "192.0.2.0/24", device: "eth0" }] },
    udpPorts: { value: [53] },
    ...changes,
  };
}

export function device(name: string, addresses: readonly string[], more: Partial<Extract<Facts["devices"], { value: unknown }>["value"][number]> = {}): Extract<Facts["devices"], { value: unknown }>["value"][number] {
  return { name, kind: undefined, port: undefined, addresses, tcxPrograms: 0, filters: [], ...more };
}

/** What one check says, as `verdict: message`. */
export function says(facts: Facts, check: string): readonly string[] {
  return of(facts, check).map(({ verdict, message }) => `${verdict}: ${message}`);
}

export function of(facts: Facts, check: string): readonly Finding[] {
  return judge(facts).filter((finding) => finding.check === check);
}
