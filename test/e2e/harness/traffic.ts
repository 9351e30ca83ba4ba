/** Traffic while something else happens: what must pass and what must not, counted packet by packet. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import type { Flow, FlowKind, FlowResult, Pod } from "./pods.ts";

const FORBIDDEN = "forbidden";

export interface Counts {
  /** Of what may pass, and how much of it was not answered; without what came to a server's own queue and found it full. */
  readonly allowed: number;
  readonly lost: number;
  readonly overflowed: number;
  /** Of what may not, and how much of it was answered or arrived. */
  readonly forbidden: number;
  readonly passed: number;
}

export interface Traffic {
  /** Stops it and judges: nothing allowed was lost, nothing forbidden arrived. */
  judge(): Promise<Counts>;
}

export const inWords = ({ allowed, lost, overflowed, forbidden, passed }: Counts): string => `${allowed} allowed, ${lost} of them lost${overflowed === 0 ? "" : ` (and ${overflowed} in a server's full queue)`}; ${forbidden} forbidden, ${passed} of them passed`;

export const sumOf = (counts: readonly Counts[]): Counts => counts.reduce((sum, each) => ({
  allowed: sum.allowed + each.allowed, lost: sum.lost + each.lost, overflowed: sum.overflowed + each.overflowed, forbidden: sum.forbidden + each.forbidden, passed: sum.passed + each.passed,
}), { allowed: 0, lost: 0, overflowed: 0, forbidden: 0, passed: 0 });

export interface Roles {
  readonly servers: readonly [Pod, Pod];
  readonly allowed: readonly [Pod, Pod];
  readonly forbidden: readonly [Pod, Pod];
}

/** Long and new flows of both protocols and families, to a server beside the asker and to one elsewhere. */
export async function traffic({ servers, allowed, forbidden }: Roles, seconds: number): Promise<Traffic> {
  const [near, far] = servers;
  const passes = (from: Pod, kind: FlowKind, to: string, rate: number): readonly [string, FlowKind, Flow] => [`${from.name} to ${to}, ${kind}`, kind, from.flow(kind, to, 8080, rate, seconds)];
  const before = await overflowOf(servers);
  const passing = [
    passes(allowed[0], "tcp", near.ipv4, 100), passes(allowed[0], "tcp-new", near.ipv6, 50), passes(allowed[0], "udp-new", near.ipv4, 50),
    passes(allowed[1], "udp", near.ipv6, 100), passes(allowed[1], "tcp-new", far.ipv4, 50),
  ];
  const refused: Flow[] = [
    forbidden[0].flow("tcp-new", near.ipv4, 8080, 50, seconds, FORBIDDEN), forbidden[1].flow("udp-new", near.ipv6, 8080, 50, seconds, FORBIDDEN),
    forbidden[1].flow("udp", far.ipv4, 8080, 100, seconds, FORBIDDEN),
  ];
  await sleep(500);
  return {
    judge: async () => {
      const results = await Promise.all(passing.map(async ([what, kind, flow]) => ({ what, kind, ...(await flow.stop()) })));
      const cut = await Promise.all(refused.map((flow) => flow.stop()));
      const arrived = (await Promise.all(servers.map((server) => server.received()))).flat().filter(({ text }) => text.startsWith(FORBIDDEN));
      const overflowed = (await overflowOf(servers)) - before;
      const unanswered = sum(results, "sent") - sum(results, "answered");
      const counts = { allowed: sum(results, "sent"), lost: Math.max(0, unanswered - overflowed), overflowed, forbidden: sum(cut, "sent"), passed: arrived.length + sum(cut, "answered") };
      for (const { what, kind, sent, answered, ...rest } of results) {
        const lost = rest.tenths.flatMap(([asked, came], index) => (asked === came ? [] : [[index, asked, came]]));
        assert.ok(sent > 50, `${what}: it was sent`);
        // A connection sends again what found a queue full.
        if (kind.startsWith("tcp") || counts.lost > 0) assert.equal(answered, sent, `${what}, lost: ${JSON.stringify({ sent, answered, ...rest, tenths: lost })}; in all ${inWords(counts)}`);
      }
      assert.deepEqual(arrived.slice(0, 5), [], `what is forbidden arrived; in all ${inWords(counts)}`);
      assert.equal(counts.passed, 0, inWords(counts));
      return counts;
    },
  };
}

const overflowOf = async (servers: readonly Pod[]): Promise<number> => (await Promise.all(servers.map((server) => server.overflowed()))).reduce((total, count) => total + count, 0);
const sum = (results: readonly FlowResult[], what: "sent" | "answered"): number => results.reduce((total, result) => total + result[what], 0);
