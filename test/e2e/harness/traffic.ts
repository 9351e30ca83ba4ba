/** Traffic while something else happens: what must pass and what must not, counted packet by packet. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

import type { Flow, FlowKind, Pod } from "./pods.ts";

const FORBIDDEN = "forbidden";

export interface Traffic {
  /** Stops it and judges: nothing allowed was lost, nothing forbidden arrived. */
  judge(): Promise<void>;
}

export interface Roles {
  readonly servers: readonly [Pod, Pod];
  readonly allowed: readonly [Pod, Pod];
  readonly forbidden: readonly [Pod, Pod];
}

/** Long and new flows of both protocols and families, to a server beside the asker and to one elsewhere. */
export async function traffic({ servers, allowed, forbidden }: Roles, seconds: number): Promise<Traffic> {
  const [near, far] = servers;
  const passes = (from: Pod, kind: FlowKind, to: string, rate: number): readonly [string, Flow] => [`${from.name} to ${to}, ${kind}`, from.flow(kind, to, 8080, rate, seconds)];
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
      const results = await Promise.all(passing.map(async ([what, flow]) => [what, await flow.stop()] as const));
      for (const [what, result] of results) {
        assert.ok(result.sent > 50, `${what}: it was sent`);
        const lost = result.tenths.flatMap(([sent, answered], index) => (sent === answered ? [] : [[index, sent, answered]]));
        assert.equal(result.answered, result.sent, `${what}, lost: ${JSON.stringify({ ...result, tenths: lost })}`);
      }
      for (const flow of refused) assert.equal((await flow.stop()).answered, 0);
      for (const server of servers) assert.deepEqual((await server.received()).filter(({ text }) => text.startsWith(FORBIDDEN)), []);
    },
  };
}
