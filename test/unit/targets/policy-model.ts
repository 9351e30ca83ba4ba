/** A naive judge of packets, and one that reads the maps as the programs do (bpf/lib/policy.h). */
import type { PeerScope, PortMatch, Rule, RuleSet } from "../../../src/compile/state.ts";
import { FakeMap } from "../../../src/kernel/fake.ts";
import {
  Direction, SUBJECT_EGRESS_ADMIN, SUBJECT_EGRESS_BLOCKS, SUBJECT_INGRESS_ADMIN, SUBJECT_INGRESS_BLOCKS, SUBJECT_NAMED_PORTS, Tier, Verdict, blockCodec, blockKeyCodec, policyEntryCodec, policyKeyCodec, subjectCodec,
} from "../../../src/kernel/gen/types.ts";
import type { Block, PolicyEntry, Subject } from "../../../src/kernel/gen/types.ts";
import { cidrContains, parseAddress, parseCidr } from "../../../src/lib/ip.ts";
import type { Cidr } from "../../../src/lib/ip.ts";
import type { NamedPorts } from "../../../src/targets/desired.ts";
import { entryKey } from "../../../src/targets/expand.ts";
import { viewOf } from "../../../src/targets/map-target.ts";
import { PortClasses } from "../../../src/targets/ports.ts";
import type { ResolvedSelectors } from "../../../src/targets/resolve.ts";

/** Who is at the other end. */
export interface Peer {
  readonly peer: number;
  readonly address: string;
  readonly scope: PeerScope;
  /** What it calls its ports. */
  readonly names: NamedPorts;
}

export interface Packet extends Peer {
  readonly direction: "ingress" | "egress";
  readonly protocol: number;
  readonly port: number;
}

const http = (port: number): NamedPorts => [{ name: "http", port, protocol: 6 }];
export const PEERS: readonly Peer[] = [
  { peer: 301, address: "10.0.1.1", scope: "pods", names: http(80) },
  { peer: 301, address: "10.0.1.2", scope: "pods", names: http(88) },
  { peer: 302, address: "10.0.1.3", scope: "pods", names: [] },
  { peer: 303, address: "10.0.1.4", scope: "pods", names: http(80) },
  { peer: 9, address: "198.51.100.7", scope: "world", names: [] },
  { peer: 10, address: "2001:db8::7", scope: "world", names: [] },
  { peer: 6, address: "198.51.100.2", scope: "nodes", names: [] },
];
export const CLASSES = new PortClasses();
for (const { peer, names } of PEERS) CLASSES.numberOf(peer, names);
/** What the subjects call their own. */
export const OWN = http(88);

export const PACKETS: readonly Packet[] = (["ingress", "egress"] as const).flatMap((direction) =>
  PEERS.flatMap((peer) => [6, 17].flatMap((protocol) => [80, 88].map((port) => ({ ...peer, direction, protocol, port })))),
);

const sameFamily = (text: string, address: string): boolean => text.includes(":") === address.includes(":");
const holds = (text: string, address: string): boolean => sameFamily(text, address) && cidrContains(parseCidr(text), parseAddress(address));

function meansPeer(rule: Rule, selectors: ResolvedSelectors, { peer, address, scope }: Packet): boolean {
  if (rule.peer === undefined) return true;
  const meaning = selectors.get(rule.peer);
  if (meaning === undefined) return false;
  if (!("kind" in meaning)) return meaning.has(peer);
  return meaning.scopes.includes(scope) && meaning.blocks.some(({ cidr, except }) => holds(cidr, address) && !except.some((text) => holds(text, address)));
}

function meansPort(match: PortMatch, names: NamedPorts, { protocol, port }: Packet): boolean {
  if (match.protocol !== 0 && match.protocol !== protocol) return false;
  if ("name" in match) return names.some((one) => one.name === match.name && one.port === port && one.protocol === protocol);
  return match.port >> (16 - match.prefix) === port >> (16 - match.prefix);
}

/** The rules that decide: of the first tier that does not pass, of all that match those of the greatest precedence, then the denying ones. */
export function deciders(ruleSet: RuleSet, selectors: ResolvedSelectors, packet: Packet, own = OWN): readonly Rule[] {
  const names = packet.direction === "ingress" ? own : packet.names;
  const matching = ruleSet.rules.filter((rule) => rule.direction === packet.direction && meansPeer(rule, selectors, packet) && rule.ports.some((port) => meansPort(port, names, packet)));
  const admin = strongestOf(matching.filter(({ tier }) => tier === "admin"));
  const isDecided = admin.length > 0 && admin[0]?.verdict !== "pass";
  return isDecided ? admin : strongestOf(matching.filter(({ tier }) => tier === undefined));
}

function strongestOf(matching: readonly Rule[]): readonly Rule[] {
  const greatest = Math.max(...matching.map(({ precedence }) => precedence));
  const strongest = matching.filter(({ precedence }) => precedence === greatest);
  const denying = strongest.filter(({ verdict }) => verdict === "deny");
  return denying.length > 0 ? denying : strongest;
}

/** May it pass? Straight from the meaning of rules. */
export function expected(ruleSet: RuleSet, selectors: ResolvedSelectors, packet: Packet, own = OWN): boolean {
  const [decider] = deciders(ruleSet, selectors, packet, own);
  if (decider !== undefined) return decider.verdict !== "deny";
  return (packet.direction === "ingress" ? ruleSet.ingressDefault : ruleSet.egressDefault) === undefined;
}

export interface Snapshot {
  readonly subjects: ReadonlyMap<number, Subject>;
  readonly policy: ReadonlyMap<string, PolicyEntry>;
  readonly blocks: readonly (Cidr & { readonly ruleSet: number; readonly value: Block })[];
}

/** The maps, with a picture of them after each change. */
export class Maps {
  readonly subjects: FakeMap;
  readonly policy: FakeMap;
  readonly blocks: FakeMap;
  snapshots: Snapshot[] = [];

  constructor(policySize = 10_000, onChange = (): void => void this.snapshots.push(this.picture()), blocksSize = 10_000) {
    this.subjects = new FakeMap({ name: "subjects", keySize: 4, valueSize: subjectCodec.size, maxEntries: 16, onChange });
    this.policy = new FakeMap({ name: "policy", keySize: policyKeyCodec.size, valueSize: policyEntryCodec.size, maxEntries: policySize, onChange });
    this.blocks = new FakeMap({ name: "blocks", keySize: blockKeyCodec.size, valueSize: blockCodec.size, maxEntries: blocksSize, onChange });
  }

  picture(): Snapshot {
    return {
      subjects: new Map([...this.subjects.entries()].map(([key, value]) => [viewOf(key).getUint32(0, true), subjectCodec.decode(viewOf(value))])),
      policy: new Map(
        [...this.policy.entries()].map(([bytes, value]) => {
          const { ruleSet, ...key } = policyKeyCodec.decode(viewOf(bytes));
          return [`${ruleSet}:${entryKey(key)}`, policyEntryCodec.decode(viewOf(value))];
        }),
      ),
      blocks: [...this.blocks.entries()].map(([bytes, value]) => {
        const { ruleSet, prefix, address } = blockKeyCodec.decode(viewOf(bytes));
        return { ruleSet, prefix: prefix - 32, address, value: blockCodec.decode(viewOf(value)) };
      }),
    };
  }
}

function blockClass({ blocks }: Snapshot, ruleSet: number, { address, scope }: Packet): number {
  const bytes = parseAddress(address);
  const around = blocks.filter((block) => block.ruleSet === ruleSet && cidrContains(block, bytes)).sort((a, b) => b.prefix - a.prefix);
  const value = around[0]?.value;
  return value === undefined ? 0 : { world: value.world, nodes: value.node, pods: value.pod }[scope];
}

/**
 * May it pass, for a program that reads the subject in `moments(0)` and each entry in a later moment?
 * A slot without rule set is closed. `ports`: class that the peer's address carries.
 */
export function judge(slot: number | undefined, packet: Packet, moment: () => Snapshot, ports = CLASSES.numberOf(packet.peer, packet.names)): boolean {
  const subject = slot === undefined ? undefined : moment().subjects.get(slot);
  if (subject === undefined || subject.ruleSet === 0) return false;
  const isIngress = packet.direction === "ingress";
  const mask = isIngress ? subject.ingressPorts : subject.egressPorts;
  const direction = isIngress ? Direction.INGRESS : Direction.EGRESS;
  const peers = [0, packet.peer];
  if ((subject.flags & (isIngress ? SUBJECT_INGRESS_BLOCKS : SUBJECT_EGRESS_BLOCKS)) !== 0) peers.push(blockClass(moment(), subject.ruleSet, packet));
  if (!isIngress && (subject.flags & SUBJECT_NAMED_PORTS) !== 0) peers.push(ports);
  let best: PolicyEntry | undefined;
  const look = (tier: Tier, protocol: number, portPrefix: number): void => {
    const port = packet.port & ((0xffff << (16 - portPrefix)) & 0xffff);
    for (const peer of peers) {
      const found = moment().policy.get(`${subject.ruleSet}:${entryKey({ tier, direction, peer, protocol, port, portPrefix })}`);
      if (found === undefined) continue;
      if (best === undefined || found.precedence > best.precedence || (found.precedence === best.precedence && found.verdict === Verdict.DENY)) best = found;
    }
  };
  const hasAdmin = (subject.flags & (isIngress ? SUBJECT_INGRESS_ADMIN : SUBJECT_EGRESS_ADMIN)) !== 0;
  for (const tier of hasAdmin ? [Tier.ADMIN, Tier.POLICIES] : [Tier.POLICIES]) {
    best = undefined;
    if ((mask & 1) !== 0) look(tier, 0, 0);
    for (let prefix = 0; prefix <= 16; prefix++) if ((mask & (1 << prefix)) !== 0) look(tier, packet.protocol, prefix);
    if (isFinal(best)) break;
  }
  if (best !== undefined) return best.verdict !== Verdict.DENY;
  return (isIngress ? subject.ingressEnforced : subject.egressEnforced) === 0;
}

const isFinal = (entry: PolicyEntry | undefined): boolean => entry !== undefined && entry.verdict !== Verdict.PASS;
