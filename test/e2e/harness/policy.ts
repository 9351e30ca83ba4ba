/** Policies on the live cluster, and what the cluster says of them. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";

import type { PacketEvent, MonitorEvent } from "../../../src/hubble/event.ts";
import { apply, get, kubectl, NODES, SHELL_ENV, waitFor, type Wait } from "./cluster.ts";

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number;
  readonly lastTransitionTime: string;
}

export interface PolicyObject {
  readonly metadata: { readonly name: string; readonly generation: number };
  readonly status?: {
    readonly observedGeneration?: number;
    readonly enforced?: string;
    readonly endpoints?: number;
    readonly failingNodes?: readonly { readonly node: string; readonly message: string }[];
    readonly conditions?: readonly Condition[];
  };
}

export function policy(name: string, spec: object): object {
  return { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name }, spec };
}

export function getPolicy(namespace: string, name: string): Promise<PolicyObject> {
  return get<PolicyObject>("cnp", name, "-n", namespace);
}

export function conditionOf(object: PolicyObject, type: string): Condition | undefined {
  return object.status?.conditions?.find((condition) => condition.type === type);
}

/** Waits for a condition that speaks of the current generation. */
export async function waitCondition(namespace: string, name: string, type: string, status: string, wait: Wait = {}): Promise<PolicyObject> {
  return waitFor(`${type}=${status} of policy ${name}`, async () => {
    const object = await getPolicy(namespace, name);
    const condition = conditionOf(object, type);
    return condition?.status === status && condition.observedGeneration === object.metadata.generation ? object : undefined;
  }, () => kubectl("describe", "cnp", name, "-n", namespace), { timeoutMs: 30_000, everyMs: 100, ...wait });
}

/** Applies and waits until every node that must has said it enforces this generation. */
export async function enforce(namespace: string, manifest: string | object): Promise<PolicyObject> {
  const applied = await apply(manifest, "-n", namespace);
  const name = /ciliumnetworkpolicy\.cilium\.io\/(\S+)/.exec(applied)?.[1] ?? assert.fail(applied);
  return waitCondition(namespace, name, "Enforced", "True");
}

interface NodeStateObject {
  readonly node: string;
  readonly manifest?: { readonly revision: number };
  readonly status?: { readonly appliedRevision?: number };
}

/** Waits until each node has applied the last state that was written for it: a deletion has no status of its own. */
export async function settled(): Promise<void> {
  await waitFor("every node on its last written state", async () => {
    const { items } = await get<{ items: NodeStateObject[] }>("ciliumnodestates");
    const behind = NODES.filter(({ name }) => {
      const own = items.filter((item) => item.node === name);
      const written = own.find((item) => item.manifest !== undefined)?.manifest?.revision;
      return written === undefined || written !== own.find((item) => item.status !== undefined)?.status?.appliedRevision;
    });
    return behind.length === 0 ? true : undefined;
  }, () => kubectl("get", "ciliumnodestates"), { timeoutMs: 30_000, everyMs: 150 });
}

export async function remove(namespace: string, name: string): Promise<void> {
  await kubectl("delete", "cnp", name, "-n", namespace);
}

export interface Monitor {
  events(): PacketEvent[];
  close(): void;
}

/** `cilium monitor` as the user runs it, for the packets of one namespace. Ready when it has said what it watches. */
export function monitor(namespace: string, ...args: string[]): Monitor {
  const child = spawn("cilium", ["monitor", "--in-namespace", namespace, "-o", "json", ...args], { env: { ...process.env, ...SHELL_ENV }, stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  return {
    events: () => out.split("\n").filter((line) => line.endsWith("}")).map((line) => JSON.parse(line) as MonitorEvent).filter((event) => event.type !== "lost"),
    close: () => { child.kill("SIGTERM"); },
  };
}
