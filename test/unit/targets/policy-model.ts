/** A naive judge of packets, and one that reads the maps as the programs do (bpf/lib/policy.h). */
import type { Rule, RuleSet } from "../../../src/compile/state.ts";
import { FakeMap } from "../../../src/kernel/fake.ts";
import { Direction, Verdict, policyEntryCodec, policyKeyCodec, subjectCodec } from "../../../src/kernel/gen/types.ts";
import type { PolicyEntry, Subject } from "../../../src/kernel/gen/types.ts";
import { entryKey } from "../../../src/targets/expand.ts";
import { viewOf } from "../../../src/targets/map-target.ts";

export interface Packet {
  readonly direction: "ingress" | "egress";
  readonly peer: number;
  readonly protocol: number;
  readonly port: number;
}

export const PACKETS: readonly Packet[] = (["ingress", "egress"] as const).flatMap((direction) =>
  [301, 302, 303].flatMap((peer) => [6, 17].flatMap((protocol) => [80, 88, 443].map((port) => ({ direction, peer, protocol, port })))),
);

/** May it pass? Straight from the meaning of rules: of all that match, the greatest precedence, then deny. */
export function expected(ruleSet: RuleSet, selectors: ReadonlyMap<string, ReadonlySet<number>>, packet: Packet): boolean {
  const matches = (rule: Rule): boolean =>
    rule.direction === packet.direction &&
    (rule.peer === undefined || selectors.get(rule.peer)?.has(packet.peer) === true) &&
    rule.ports.some((p) => !("name" in p) && (p.protocol === 0 || p.protocol === packet.protocol) && p.port >> (16 - p.prefix) === packet.port >> (16 - p.prefix));
  const rules = ruleSet.rules.filter(matches).sort((a, b) => b.precedence - a.precedence || (a.verdict === "deny" ? -1 : 1));
  const decider = rules[0];
  if (decider !== undefined) return decider.verdict !== "deny";
  return (packet.direction === "ingress" ? ruleSet.ingressDefault : ruleSet.egressDefault) === undefined;
}

export interface Snapshot {
  readonly subjects: ReadonlyMap<number, Subject>;
  readonly policy: ReadonlyMap<string, PolicyEntry>;
}

/** Both maps, with a picture of them after each change. */
export class Maps {
  readonly subjects: FakeMap;
  readonly policy: FakeMap;
  snapshots: Snapshot[] = [];

  constructor(policySize = 10_000, onChange = (): void => void this.snapshots.push(this.picture())) {
    this.subjects = new FakeMap({ name: "subjects", keySize: 4, valueSize: subjectCodec.size, maxEntries: 16, onChange });
    this.policy = new FakeMap({ name: "policy", keySize: policyKeyCodec.size, valueSize: policyEntryCodec.size, maxEntries: policySize, onChange });
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
    };
  }
}

/**
 * May it pass, for a program that reads the subject in `moments(0)` and each entry in a later moment?
 * A slot without rule set is closed.
 */
export function judge(slot: number | undefined, packet: Packet, moment: () => Snapshot): boolean {
  const subject = slot === undefined ? undefined : moment().subjects.get(slot);
  if (subject === undefined || subject.ruleSet === 0) return false;
  const isIngress = packet.direction === "ingress";
  const mask = isIngress ? subject.ingressPorts : subject.egressPorts;
  const direction = isIngress ? Direction.INGRESS : Direction.EGRESS;
  let best: PolicyEntry | undefined;
  const look = (protocol: number, portPrefix: number): void => {
    const port = packet.port & ((0xffff << (16 - portPrefix)) & 0xffff);
    for (const peer of [packet.peer, 0]) {
      const found = moment().policy.get(`${subject.ruleSet}:${entryKey({ direction, peer, protocol, port, portPrefix })}`);
      if (found === undefined) continue;
      if (best === undefined || found.precedence > best.precedence || (found.precedence === best.precedence && found.verdict === Verdict.DENY)) best = found;
    }
  };
  if ((mask & 1) !== 0) look(0, 0);
  for (let prefix = 0; prefix <= 16; prefix++) if ((mask & (1 << prefix)) !== 0) look(packet.protocol, prefix);
  if (best !== undefined) return best.verdict !== Verdict.DENY;
  return (isIngress ? subject.ingressEnforced : subject.egressEnforced) === 0;
}
