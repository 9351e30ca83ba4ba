/**
 * The values of the programs' options that decide which of their code is live: the verifier leaves out what a constant
 * excludes, so each combination that an agent may load is another program to it.
 */
import { LibbpfPort, kernelOptions } from "../../src/kernel/index.ts";
import { parseAddress } from "../../src/lib/ip.ts";

type Value = number | bigint | Uint8Array;

const NONE = new Uint8Array(16);

/** Option -> its values that differ in kind. An option that is not named here fails the test: say its values. */
const VALUES: Readonly<Record<string, readonly Value[]>> = {
  // Native routing has no tunnel.
  config_vxlan_ifindex: [77, 0],
  config_tunnel_port: [8472, 0],
  config_tunnel_mtu: [1450],
  config_direct_mtu: [1500],
  config_router_ipv4: [parseAddress("10.1.0.1"), NONE],
  config_router_ipv6: [parseAddress("fd00:1::1"), NONE],
  // As this kernel decides: an agent sets no other.
  config_coarse_clock: [kernelOptions(new LibbpfPort()).config_coarse_clock],
  // An agent always sets one.
  config_flow_quota_step_ns: [1_000_000n],
  config_event_step_ns: [1_000_000n],
};

/** Seconds: no value of theirs decides what code is live. */
const AS_THEY_ARE = /^config_timeout_/;

export type OptionSet = Readonly<Record<string, Value>>;

/** Every combination of the values of these options, except the node without any address family and half a tunnel. */
export function optionSets(names: readonly string[]): OptionSet[] {
  const deciding = names.filter((name) => !AS_THEY_ARE.test(name));
  const unknown = deciding.filter((name) => VALUES[name] === undefined);
  if (unknown.length > 0) throw new Error(`test/kernels/option-sets.ts does not say the values of ${unknown.join(", ")}`);
  const sets = deciding.reduce<OptionSet[]>((all, name) => all.flatMap((set) => (VALUES[name] ?? []).map((value) => ({ ...set, [name]: value }))), [{}]);
  return sets.filter((set) => (set["config_router_ipv4"] !== NONE || set["config_router_ipv6"] !== NONE) && (set["config_vxlan_ifindex"] === 0) === (set["config_tunnel_port"] === 0));
}
