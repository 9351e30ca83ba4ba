/** What pods have on a node of agent-lab.ts, counted where the kernel and the disk show it. */
import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import type { AgentLab } from "./agent-lab.ts";

export type Traces = Readonly<Record<"links" | "routes" | "files" | "queued" | "endpoints" | "ipcache", number>>;

export function traces(lab: AgentLab): Traces {
  const lines = (text: string): number => text.split("\n").filter((line) => line.trim() !== "").length;
  const pins = readdirSync(lab.path("bpf/cilium"));
  const entries = (map: string): number => {
    const pin = pins.find((name) => new RegExp(`^${map}_[0-9a-f]+$`).test(name)) ?? assert.fail(`no map ${map} in ${pins.join(" ")}`);
    return (JSON.parse(execFileSync("bpftool", ["-j", "map", "dump", "pinned", lab.path("bpf/cilium", pin)], { encoding: "utf8" })) as unknown[]).length;
  };
  const folder = (name: string): number => (readdirSync(lab.path("state")).includes(name) ? readdirSync(lab.path("state", name)).length : 0);
  return {
    links: lines(lab.ip("-n", lab.nodeNs, "-o", "link", "show", "type", "veth")),
    routes: lines(lab.ip("-n", lab.nodeNs, "route", "show", "proto", "193")) + lines(lab.ip("-n", lab.nodeNs, "-6", "route", "show", "proto", "193")),
    files: folder("endpoints"),
    queued: folder("cni-del"),
    endpoints: entries("endpoints"),
    ipcache: entries("ipcache"),
  };
}

/** Waits for it: what was replaced leaves the maps a moment later. */
export async function leaves(lab: AgentLab, expected: Traces, what: string): Promise<void> {
  let now = traces(lab);
  await lab.until(`nothing is left: ${what}`, () => JSON.stringify((now = traces(lab))) === JSON.stringify(expected))
    .catch(() => assert.deepEqual(now, expected, what));
}
