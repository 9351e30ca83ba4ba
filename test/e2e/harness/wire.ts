/** What is on the wire: captures on the underlay devices of all nodes. */
import { spawn, type ChildProcess } from "node:child_process";

import { get, NODES } from "./cluster.ts";
import { nodeSite } from "./outside.ts";

export interface Capture {
  readonly lines: () => string[];
  stop(): Promise<void>;
}

/**
 * Packets that carry in clear what a pod says or hears: the bare tunnel, and whatever has the address of a pod or a router. To
 * the outside pods speak under their node's address.
 */
export async function clearFilter(): Promise<string> {
  const { items } = await get<{ items: { spec: { podCIDRs: string[] } }[] }>("nodes");
  const nets = items.flatMap(({ spec }) => spec.podCIDRs);
  const any = (ipv6: boolean): string => nets.filter((net) => net.includes(":") === ipv6).map((net) => `net ${net}`).join(" or ");
  return `udp port 8472 or (ip and (${any(false)})) or (ip6 and (${any(true)}))`;
}

/** Of every node, from now until `stop`. */
export async function capture(filter: string): Promise<Capture> {
  const children: ChildProcess[] = [];
  const out: string[] = [];
  await Promise.all(NODES.map(async ({ name }, index) => {
    const [file = "", ...args] = [...nodeSite(index + 1).enter, "tcpdump", "--immediate-mode", "-l", "-nn", "-i", "eth0", filter];
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"] });
    children.push(child);
    child.stdout.on("data", (chunk: Buffer) => out.push(...chunk.toString().split("\n").filter((line) => line !== "").map((line) => `${name} ${line}`)));
    await new Promise<void>((resolve, reject) => {
      let said = "";
      child.stderr.on("data", (chunk: Buffer) => { said += chunk.toString(); if (said.includes("listening on")) resolve(); });
      child.on("close", (code) => reject(new Error(`tcpdump on ${name} ended with ${code}: ${said}`)));
    });
  }));
  const stop = async (): Promise<void> => {
    await Promise.all(children.map((child) => new Promise((resolve) => { child.on("close", resolve); child.kill("SIGINT"); })));
  };
  return { lines: () => out, stop };
}
