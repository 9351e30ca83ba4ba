/** When a node's kernel has what follows from another node's CiliumNode: entries of the maps, routes, and WireGuard's peer. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";

import { type ClusterConfig, findNode } from "../../src/cluster/config.ts";
import { inNode } from "../../src/cluster/node.ts";
import { openLibbpf, openLibc } from "../../src/kernel/ffi.ts";
import { ENCRYPTED_TABLE, type LibbpfMap } from "../../src/kernel/index.ts";
import { PinFolder } from "../../src/kernel/pins.ts";
import { parseAddress } from "../../src/lib/ip.ts";
import type { FakeNode } from "./simulated.ts";

const LOOK_MS = 2;
const LIMIT_MS = 120_000;

/** Milliseconds since the start of the process. */
export interface Seen {
  readonly maps: number;
  /** To the node's pods, of both families. */
  readonly routes: number;
  /** To the node itself through WireGuard; the agent writes it after the peer. */
  readonly encrypted: number;
}

export class NodeWatch {
  readonly #monitor: ChildProcess;
  readonly #nodes: LibbpfMap;
  readonly #close: () => void;
  /** What `ip monitor` said, and when. */
  #lines: { readonly text: string; readonly at: number }[] = [];
  #rest = "";

  private constructor(monitor: ChildProcess, nodes: LibbpfMap, close: () => void) {
    this.#monitor = monitor;
    this.#nodes = nodes;
    this.#close = close;
    monitor.stdout?.on("data", (chunk: Buffer) => this.#hear(chunk.toString()));
  }

  /** `agent`: a process that sees the node's files, and its pins among them. */
  static start(config: ClusterConfig, node: string, agent: number): NodeWatch {
    const folder = new PinFolder(join("/proc", String(agent), "root/sys/fs/bpf/cilium"), openLibbpf(), openLibc());
    const path = folder.all("nodes").at(-1);
    if (path === undefined) throw new Error(`${node} has no map of nodes`);
    const pinned = folder.open(path);
    const [command = "", ...args] = inNode(config, findNode(config, node), ["ip", "monitor", "route"]);
    return new NodeWatch(spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] }), pinned.map, () => folder.close(pinned));
  }

  stop(): void {
    this.#monitor.kill("SIGTERM");
    this.#close();
  }

  has({ address }: Pick<FakeNode, "address">): boolean {
    return this.#nodes.lookup(parseAddress(address)) !== undefined;
  }

  /** From now on; what the change is, and whether the node is to be there after it. */
  async until(node: FakeNode, isThere: boolean, change: () => Promise<unknown>): Promise<{ readonly answered: number; readonly seen: Seen }> {
    this.#lines = [];
    const maps = this.#mapsSay(node, isThere);
    await change();
    const answered = performance.now();
    const of = (destination: string, table: string): Promise<number> =>
      this.#said((text) => text.startsWith(`${isThere ? "" : "Deleted "}${destination} `) && text.includes(table), `${destination} ${isThere ? "comes" : "goes"}`);
    const [inMaps, encrypted, ...routes] = await Promise.all([maps, of(node.address, ` table ${ENCRYPTED_TABLE} `), ...node.podCidrs.map((cidr) => of(cidr, " dev cilium_host "))]);
    return { answered, seen: { maps: inMaps, encrypted, routes: Math.max(...routes) } };
  }

  #mapsSay(node: FakeNode, isThere: boolean): Promise<number> {
    return every(LOOK_MS, () => (this.has(node) === isThere ? performance.now() : undefined), `${node.name} in the map of nodes`);
  }

  #said(isIt: (text: string) => boolean, what: string): Promise<number> {
    return every(LOOK_MS, () => this.#lines.find(({ text }) => isIt(text))?.at, `a route to ${what}`);
  }

  #hear(text: string): void {
    const lines = `${this.#rest}${text}`.split("\n");
    this.#rest = lines.pop() ?? "";
    const at = performance.now();
    for (const line of lines) this.#lines.push({ text: `${line} `, at });
  }
}

function every<T>(ms: number, ask: () => T | undefined, what: string): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const deadline = performance.now() + LIMIT_MS;
  const timer = setInterval(() => {
    const answer = ask();
    if (answer !== undefined) resolve(answer);
    else if (performance.now() > deadline) reject(new Error(`not after ${LIMIT_MS / 1000} s: ${what}`));
  }, ms);
  return promise.finally(() => clearInterval(timer));
}
