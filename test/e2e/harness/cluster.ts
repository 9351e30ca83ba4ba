/**
 * The cluster under test: one for all files, made by `make test-e2e`. Files never depend on each other's order; what a
 * test takes away (an operator, a node) it puts back, and `readyCluster` waits until everything is there.
 */
import assert from "node:assert/strict";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { clusterConfig, clusterPaths, findNode, type NodeIdentity, nodeIdentities } from "../../../src/cluster/config.ts";
import { nodeExec } from "../../../src/cluster/exec.ts";
import { capture, type Output, type RunOptions } from "../../../src/cluster/process.ts";

export const ROOT = resolve(import.meta.dirname, "../../..");
export const CONFIG = clusterConfig({ ...process.env, CLUSTER_DIR: process.env["CLUSTER_DIR"] ?? join(ROOT, ".cluster") });
export const PROBE = join(ROOT, "build/bin/e2e-probe");
export const CHART_PORT = Number(process.env["CHART_REPO_PORT"] ?? 8879);
export const CHART_URL = `http://127.0.0.1:${CHART_PORT}`;
const PATHS = clusterPaths(CONFIG);

/** What a shell of the user has after `make cluster` and `make cli`: the line that `make cluster` prints. */
export const SHELL_ENV: Readonly<Record<string, string>> = {
  KUBECONFIG: PATHS.kubeconfig,
  PATH: [PATHS.bin, join(ROOT, "bin"), process.env["PATH"] ?? ""].join(":"),
  HELM_CONFIG_HOME: join(ROOT, "build/e2e/helm/config"),
  HELM_CACHE_HOME: join(ROOT, "build/e2e/helm/cache"),
  HELM_DATA_HOME: join(ROOT, "build/e2e/helm/data"),
};

export function shell(line: string, options: RunOptions = {}): Promise<Output> {
  return command(["bash", "-c", line], options);
}

/** Runs a command as the user would; its exit status is the caller's to judge. */
export function command(argv: readonly string[], options: RunOptions = {}): Promise<Output> {
  return capture(["env", ...Object.entries(SHELL_ENV).map(([key, value]) => `${key}=${value}`), ...argv], { timeoutMs: 400_000, ...options });
}

/** As `command`, but any other exit status than 0 fails the test with what was said. */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const output = await command(argv, options);
  assert.equal(output.code, 0, `${argv.join(" ")}\n${output.stdout}\n${output.stderr}`);
  return output.stdout;
}

export function kubectl(...args: string[]): Promise<string> {
  return must(["kubectl", ...args]);
}

export function apply(manifest: string | object, ...args: string[]): Promise<string> {
  return must(["kubectl", "apply", "-f", "-", ...args], { input: typeof manifest === "string" ? manifest : JSON.stringify(manifest) });
}

/** Applies what must be refused; returns what the user reads. */
export async function refused(manifest: string, ...args: string[]): Promise<string> {
  const output = await command(["kubectl", "apply", "-f", "-", ...args], { input: manifest });
  assert.notEqual(output.code, 0, `kubectl apply accepted it:\n${output.stdout}`);
  return output.stderr;
}

export async function get<T>(...args: string[]): Promise<T> {
  return JSON.parse(await kubectl("get", ...args, "-o", "json")) as T;
}

/**
 * How much longer than usual a wait may take. Kubernetes' own components back off for up to a minute after the API server
 * was away (client-go's reflector: 30 s and as much again by chance), and machines differ; what never comes fails later.
 */
const PATIENCE = 4;

export interface Wait {
  readonly timeoutMs?: number;
  readonly everyMs?: number;
}

/**
 * Asks until `check` returns something other than undefined, and returns that. A check that throws has not returned yet:
 * an API server that answers nothing for a moment fails no test. At the end of the patience the failure shows what was
 * last thrown, and what `state` then says.
 */
export async function waitFor<T>(what: string, check: () => Promise<T | undefined>, state: () => Promise<string>, wait: Wait = {}): Promise<T> {
  const { timeoutMs = 60_000, everyMs = 250 } = wait;
  const patienceMs = timeoutMs * PATIENCE;
  const deadline = Date.now() + patienceMs;
  for (;;) {
    let thrown = "";
    try {
      const found = await check();
      if (found !== undefined) return found;
    } catch (error) {
      thrown = `${String(error)}\n`;
    }
    if (Date.now() > deadline) assert.fail(`${what}: not after ${Math.round(patienceMs / 1000)} s\n${thrown}${await state().catch(String)}`);
    await sleep(everyMs);
  }
}

/** Nodes in the order of their numbers. */
export const NODES: readonly NodeIdentity[] = nodeIdentities(CONFIG);

/** Its IPv6 address is written as the kernel writes it (RFC 5952). */
export function node(number: number): NodeIdentity {
  const found = findNode(CONFIG, `node-${number}`);
  return { ...found, ipv6: new URL(`http://[${found.ipv6}]`).hostname.slice(1, -1) };
}

/** Runs a command inside a node; any other exit status than 0 fails the test. */
export async function inNode(name: string, argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const output = await nodeExec(name, argv, { config: CONFIG, timeoutMs: 60_000, ...options });
  assert.equal(output.code, 0, `${name}: ${argv.join(" ")}\n${output.stdout}\n${output.stderr}`);
  return output.stdout;
}

interface NodeObject {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly taints?: readonly { readonly key: string }[] };
  readonly status: { readonly conditions: readonly { readonly type: string; readonly status: string }[] };
}

/** Waits until every node, agent, operator replica and DNS server is ready; fails with the pods of kube-system. */
export async function readyCluster(timeoutMs = 180_000): Promise<void> {
  await waitFor("a ready cluster", async () => ((await unready()).length === 0 ? true : undefined),
    async () => `${(await unready()).join("\n")}\n${await kubectl("get", "nodes,pods", "-A", "-o", "wide")}`, { timeoutMs, everyMs: 1000 });
}

async function unready(): Promise<string[]> {
  const answers = await Promise.all([
    command(["kubectl", "get", "nodes", "-o", "json"]),
    ...["daemonset/cilium", "deployment/cilium-operator", "deployment/coredns"].map((name) =>
      command(["kubectl", "-n", "kube-system", "rollout", "status", name, "--timeout=3s"])),
  ]);
  const [nodes, ...rollouts] = answers;
  const problems = rollouts.filter((each) => each.code !== 0).map((each) => each.stderr.trim() || each.stdout.trim());
  if (nodes?.code !== 0) return [...problems, nodes?.stderr ?? ""];
  const { items } = JSON.parse(nodes.stdout) as { items: NodeObject[] };
  for (const item of items) {
    if (!item.status.conditions.some(({ type, status }) => type === "Ready" && status === "True")) problems.push(`${item.metadata.name} is not Ready`);
  }
  return items.length === NODES.length ? problems : [...problems, `${items.length} of ${NODES.length} nodes`];
}

/** A namespace of the suite's own; `remove` deletes it without waiting. */
export async function namespace(suite: string): Promise<{ readonly name: string; remove(): Promise<void> }> {
  const name = `e2e-${suite}-${Math.random().toString(36).slice(2, 7)}`;
  await kubectl("create", "namespace", name);
  return {
    name,
    remove: async () => {
      await kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found");
    },
  };
}
