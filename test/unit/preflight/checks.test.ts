/** What preflight says of machines: kernels, settings, and what others have put there. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { judge, problems } from "../../../src/preflight/index.ts";
import { device, machine, of, PLAN, says, trials } from "./facts.ts";

describe("every check", () => {
  it("says something of every machine, and of a good one nothing bad", () => {
    const findings = judge(machine());
    assert.deepEqual(findings.filter(({ verdict }) => verdict !== "ok"), []);
    assert.ok(new Set(findings.map(({ check }) => check)).size >= 24);
  });

  it("of what could not be read says why, and neither good nor bad", () => {
    const lost = { unknown: "not tried: the agent lacks NET_ADMIN" };
    const findings = judge(machine({ bpf: lost, trials: lost, cni: lost, devices: lost, rules: lost, routes: lost, udpPorts: lost }));
    assert.deepEqual(problems(findings), []);
    const unknown = findings.filter(({ verdict }) => verdict === "unknown");
    assert.ok(unknown.length >= 12, String(unknown.length));
    for (const { message } of unknown) assert.equal(message, lost.unknown);
  });

  it("that finds a problem says what it means and what to do", () => {
    const found = problems(judge(machine({
      kernel: "4.19.0", status: "CapEff:\t0\n", sysctls: { "net/core/bpf_jit_enable": "0" }, trials: trials({ veth: "no", vxlan: "no", clsact: "no", nftables: "no", ipv6: "no" }),
      devices: { value: [device("eth0", ["192.0.2.1/24"], { tcxPrograms: 1, filters: [{ device: "eth0", direction: "ingress", preference: 5, kind: "bpf", program: "cil_from" }] }), device("other", [], { kind: "vxlan", port: 8472 })] },
      rules: { value: [{ family: 4, priority: 100, text: "from all lookup 200" }] },
    })));
    assert.ok(found.length >= 12, String(found.length));
    for (const finding of found) assert.ok(finding.meaning !== undefined && finding.remedy !== undefined, finding.message);
  });
});

describe("the kernel", () => {
  it("is 5.10 or newer", () => {
    for (const kernel of ["5.10.0-30-amd64", "5.15.0", "6.1.0-37-amd64", "10.0"]) assert.deepEqual(says(machine({ kernel }), "kernel version"), [`ok: Linux ${kernel}`]);
    for (const kernel of ["5.9.16", "4.19.0-27", "3.10.0-1160.el7"]) assert.match(says(machine({ kernel }), "kernel version")[0] ?? "", /^blocker: .* is older than 5\.10/);
    assert.match(says(machine({ kernel: "FreeBSD" }), "kernel version")[0] ?? "", /^unknown: /);
  });

  it("compiles programs: they are not to be interpreted", () => {
    assert.match(says(machine({ sysctls: { "net/core/bpf_jit_enable": "0" } }), "bpf compiler")[0] ?? "", /^blocker: /);
    for (const enabled of ["1", "2"]) assert.match(says(machine({ sysctls: { "net/core/bpf_jit_enable": enabled } }), "bpf compiler")[0] ?? "", /^ok: /);
  });

  it("of 5.10 needs room for maps: with SYS_RESOURCE, or without a limit", () => {
    const old = machine({ kernel: "5.10.0-30-amd64", status: `CapEff:\t${((1n << 12n) | (1n << 21n)).toString(16)}\n` });
    assert.match(says(old, "rights")[0] ?? "", /^blocker: .*SYS_RESOURCE/);
    assert.match(says({ ...old, kernel: "6.1.0" }, "rights")[0] ?? "", /^ok: /);
    assert.match(says({ ...old, limits: "Max locked memory         unlimited            unlimited            bytes\n" }, "rights")[0] ?? "", /^ok: /);
  });

  it("that lacks a helper, a map type or a program type is named with who needs it", () => {
    const needs = [
      { kind: "helper", name: "redirect_peer", users: ["from_container", "overlay"], works: false },
      { kind: "map type", name: "ringbuf", users: ["host"], works: false },
      { kind: "program type", name: "sched_cls", users: ["stub"], works: true },
    ] as const;
    assert.deepEqual(says(machine({ bpf: { value: { needs, loads: [] } } }), "bpf programs"), ["blocker: the kernel has no helper redirect_peer", "blocker: the kernel has no map type ringbuf"]);
    assert.match(of(machine({ bpf: { value: { needs, loads: [] } } }), "bpf programs")[0]?.meaning ?? "", /^from_container, overlay cannot be loaded/);
  });

  it("whose verifier refuses an object says the end of its words", () => {
    const error = `${"long ago ".repeat(200)}R2 min value is negative`;
    const [said = ""] = says(machine({ bpf: { value: { needs: [], loads: [{ object: "host", error }, { object: "stub", error: undefined }] } } }), "bpf programs");
    assert.match(said, /^blocker: the kernel refuses the program host: .*R2 min value is negative$/);
    assert.ok(said.length < 500);
  });

  it("without VXLAN is no node of a tunnel, and one of native routing", () => {
    const facts = machine({ trials: trials({ vxlan: "Error: Unknown device type." }) });
    assert.deepEqual(says(facts, "VXLAN"), ["blocker: the kernel refuses vxlan: Error: Unknown device type."]);
    assert.match(says({ ...facts, plan: { ...PLAN, mode: "native" } }, "VXLAN")[0] ?? "", /^ok: /);
  });

  it("without IPv6 is in the way only of a cluster that wants it", () => {
    const facts = machine({ trials: trials({ ipv6: "Permission denied" }) });
    assert.match(says(facts, "IPv6")[0] ?? "", /^blocker: /);
    assert.match(says({ ...facts, plan: { ...PLAN, enableIPv6: false } }, "IPv6")[0] ?? "", /^ok: /);
  });

  it("without WireGuard needs user space for it, and tells which mode a lockdown has", () => {
    assert.match(says(machine({ trials: trials({ wireguard: "Unknown device type" }) }), "WireGuard")[0] ?? "", /^ok: .*user space/);
    assert.match(says(machine({ lockdown: "none [integrity] confidentiality" }), "lockdown")[0] ?? "", /^ok: integrity/);
    assert.match(says(machine({ lockdown: "" }), "lockdown")[0] ?? "", /^unknown: /);
  });

  it("shows the bpf file system, cgroup2 and BTF as they are", () => {
    assert.match(says(machine(), "cgroup2")[0] ?? "", /^ok: mounted at \/sys\/fs\/cgroup$/);
    assert.match(says(machine({ mountinfo: "" }), "cgroup2")[0] ?? "", /^ok: not mounted/);
    assert.match(says(machine({ mountinfo: "" }), "bpf file system")[0] ?? "", /^ok: .*not mounted yet/);
    assert.match(says(machine({ mountinfo: "40 22 0:30 / /sys/fs/bpf rw master:7 - sysfs sysfs rw" }), "bpf file system")[0] ?? "", /^blocker: /);
    assert.match(says(machine({ kernelBtf: false }), "kernel types (BTF)")[0] ?? "", /^ok: .*no program needs/);
  });
});

describe("settings", () => {
  it("a strict reverse path filter matters where there are two ways", () => {
    const sysctls = { "net/ipv4/conf/eth0/rp_filter": "1" };
    assert.match(says(machine({ sysctls }), "reverse path filter")[0] ?? "", /^ok: .*only way/);
    const two = machine({ sysctls, devices: { value: [device("eth0", ["192.0.2.1/24"]), device("eth1", ["198.51.100.1/24"]), device("lxc1", ["10.0.0.1/32"])] } });
    assert.match(says(two, "reverse path filter")[0] ?? "", /^warning: strict on eth0, and there are 2/);
    assert.equal(of(two, "reverse path filter")[0]?.remedy, "sysctl -w net.ipv4.conf.eth0.rp_filter=2");
  });

  it("a connection table that is nearly full is warned of", () => {
    const full = { "net/netfilter/nf_conntrack_count": "90000", "net/netfilter/nf_conntrack_max": "100000" };
    assert.match(says(machine({ sysctls: full }), "netfilter conntrack")[0] ?? "", /^warning: 90000 of 100000/);
    assert.match(says(machine({ sysctls: {} }), "netfilter conntrack")[0] ?? "", /^ok: /);
    assert.match(says(machine({ sysctls: { "net/bridge/bridge-nf-call-iptables": "1" } }), "br_netfilter")[0] ?? "", /^ok: .* is 1/);
  });
});

describe("what others have put there", () => {
  it("a VXLAN device or a process with our port is in the way of a tunnel alone", () => {
    const flannel = { devices: { value: [device("eth0", ["192.0.2.1/24"]), device("flannel.1", [], { kind: "vxlan", port: 8472 })] } };
    assert.match(says(machine(flannel), "tunnel port")[0] ?? "", /^blocker: the VXLAN device flannel\.1 of others has UDP port 8472/);
    assert.match(says(machine({ ...flannel, plan: { ...PLAN, tunnelPort: 8473 } }), "tunnel port")[0] ?? "", /^ok: /);
    assert.match(says(machine({ ...flannel, plan: { ...PLAN, mode: "native" } }), "tunnel port")[0] ?? "", /^ok: /);
    assert.match(says(machine({ udpPorts: { value: [8472] } }), "tunnel port")[0] ?? "", /^blocker: another process/);
    const ours = { devices: { value: [device("cilium_vxlan", [], { kind: "vxlan", port: 8472 })] }, udpPorts: { value: [8472] } };
    assert.match(says(machine(ours), "tunnel port")[0] ?? "", /^ok: UDP port 8472 is ours/);
  });

  it("tc programs before and behind ours are told with their places", () => {
    const filters = [{ device: "eth0", direction: "egress", preference: 3, kind: "bpf", program: "to_other" }] as const;
    const facts = machine({ devices: { value: [device("eth0", ["192.0.2.1/24"], { tcxPrograms: 2, filters })] } });
    assert.deepEqual(says(facts, "tc programs of others"), ["warning: 2 tcx programs of others on eth0", "warning: a tc filter of others on eth0 egress: bpf to_other, preference 3"]);
  });

  it("ip rules of others are shown, the first five", () => {
    const rules = { value: Array.from({ length: 7 }, (_, at) => ({ family: 6 as const, priority: 100 + at, text: `from all lookup ${at}` })) };
    assert.match(says(machine({ rules }), "ip rules")[0] ?? "", /^warning: rules of others: IPv6 100: from all lookup 0; .*, and 2 more$/);
  });

  it("the rule and the device of our own encryption are not others'", () => {
    const rules = { value: [{ family: 4 as const, priority: 193, text: "from all ipproto udp dport 8472 lookup 193 proto 193" }] };
    assert.match(says(machine({ rules }), "ip rules")[0] ?? "", /^ok: /);
    const plan = { ...PLAN, ranges: [{ of: "pods of b", kind: "pods" as const, cidr: "10.0.1.0/24" }] };
    assert.match(says(machine({ plan, routes: { value: [{ destination: "10.0.1.0/24", device: "cilium_wg0" }] } }), "routes")[0] ?? "", /^ok: /);
  });

  it("routes of others to pods are told, ours and those to elsewhere are not", () => {
    const plan = { ...PLAN, ranges: [{ of: "pods of node-1", kind: "pods" as const, cidr: "10.0.1.0/24" }, { of: "pods of node-1", kind: "pods" as const, cidr: "fd00:1::/64" }] };
    const routes = { value: [{ destination: "10.0.0.0/16", device: "cni0" }, { destination: "10.0.1.7", device: "lxc7" }, { destination: "10.1.0.0/24", device: "cni0" }, { destination: "fd00:1::5", device: "cali5" }, { destination: "nonsense", device: "x" }] };
    assert.deepEqual(says(machine({ plan, routes }), "routes"), ["warning: routes of others lead to addresses of pods: 10.0.0.0/16 dev cni0 (pods of node-1), fd00:1::5 dev cali5 (pods of node-1)"]);
  });

  it("ranges that overlap are told by whose they are; nodes of one subnet are no overlap", () => {
    const range = (of: string, kind: "pods" | "services" | "node", cidr: string): { of: string; kind: typeof kind; cidr: string } => ({ of, kind, cidr });
    const plan = (...ranges: ReturnType<typeof range>[]): Partial<typeof PLAN> & typeof PLAN => ({ ...PLAN, ranges });
    const good = plan(range("pods of a", "pods", "10.0.0.0/24"), range("pods of b", "pods", "10.0.1.0/24"), range("services", "services", "10.96.0.0/12"), range("node a", "node", "192.0.2.1"), range("node a", "node", "192.0.2.1/24"), range("pods of a", "pods", "fd00::/64"));
    assert.match(says(machine({ plan: good }), "address ranges")[0] ?? "", /^ok: 6 ranges/);
    const bad = plan(range("services", "services", "10.0.0.0/12"), range("pods of b", "pods", "10.0.1.0/24"), range("node a", "node", "10.0.1.9"));
    assert.deepEqual(says(machine({ plan: bad }), "address ranges"), [
      "blocker: services (10.0.0.0/12) and pods of b (10.0.1.0/24) overlap",
      "blocker: services (10.0.0.0/12) and node a (10.0.1.9) overlap",
      "blocker: pods of b (10.0.1.0/24) and node a (10.0.1.9) overlap",
    ]);
    assert.match(says(machine({ plan: plan(range("pods of a", "pods", "10.0.0.0/24"), range("pods of b", "pods", "10.0.0.0/24")) }), "address ranges")[0] ?? "", /^blocker: pods of a .* and pods of b /);
    assert.match(says(machine({ plan: plan(range("pods", "pods", "10.0.0.0/40")) }), "address ranges")[0] ?? "", /^blocker: pods: "10\.0\.0\.0\/40" is no CIDR/);
  });
});
