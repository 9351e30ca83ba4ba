/** One try at a time: whether it may pass, decided by what the receiving side heard, over both families. */
import assert from "node:assert/strict";

import { waitFor } from "./cluster.ts";
import type { Pod, Server, Site } from "./pods.ts";

const word = (): string => `try-${Math.random().toString(36).slice(2, 10)}`;

/** `heard` are the texts that arrived. */
export async function judged(from: Site, address: string, port: number, passes: boolean, heard: () => Promise<readonly string[]>): Promise<void> {
  const text = word();
  const isHeard = async (): Promise<boolean> => (await heard()).includes(text);
  if (passes) {
    await from.reaches("tcp", address, port, text);
    // The asker has its answer before we have read what the server wrote down.
    await waitFor(`${from.name} is heard at ${address} ${port}`, async () => ((await isHeard()) ? true : undefined), async () => (await heard()).join(" "));
  } else {
    await from.isCutFrom("tcp", address, port, text);
    assert.equal(await isHeard(), false, `${from.name} → ${address} ${port}`);
  }
}

export async function toPod(from: Site, to: Pod, port: number, passes: boolean): Promise<void> {
  const heard = async (): Promise<string[]> => (await to.received()).map(({ text }) => text);
  await Promise.all(to.addresses.map((address) => judged(from, address, port, passes, heard)));
}

export async function toServer(from: Site, server: Server, addresses: readonly string[], port: number, passes: boolean): Promise<void> {
  const heard = (): Promise<string[]> => Promise.resolve(server.received().map(({ text }) => text));
  await Promise.all(addresses.map((address) => judged(from, address, port, passes, heard)));
}
