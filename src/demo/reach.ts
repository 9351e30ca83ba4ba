/** Who reaches whom: real HTTP requests from inside the pods, and the table of their outcomes. */
import type { Shell } from "./shell.ts";

export interface Target {
  /** Shown in the table. */
  readonly name: string;
  readonly url: string;
}

export interface Source {
  readonly app: string;
  readonly pod: string;
  readonly node: string;
}

/** `source pod → target name → did it answer`. */
export type Reach = ReadonlyMap<string, ReadonlyMap<string, boolean>>;

export const NAMESPACE = "production";
const SECONDS = 2;

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly deletionTimestamp?: string };
    readonly spec: { readonly nodeName: string };
    readonly status: { readonly podIP: string };
  }[];
}

export async function findPods(shell: Shell): Promise<{ readonly sources: readonly Source[]; readonly targets: readonly Target[] }> {
  const list = JSON.parse(await shell.quiet(["kubectl", "-n", NAMESPACE, "get", "pods", "-o", "json"])) as PodList;
  const pods = list.items
    .filter((pod) => pod.metadata.deletionTimestamp === undefined)
    .map(({ metadata, spec, status }) => ({ app: metadata.labels["app"] ?? "", pod: metadata.name, node: spec.nodeName, ip: status.podIP }))
    .toSorted((a, b) => `${a.app} ${a.node}`.localeCompare(`${b.app} ${b.node}`));
  const host = (ip: string): string => (ip.includes(":") ? `[${ip}]` : ip);
  const apis = pods.filter(({ app }) => app === "api").map(({ node, ip }) => ({ name: `api on ${node}`, url: `http://${host(ip)}:8080/` }));
  return {
    sources: pods.filter(({ app }) => app === "frontend" || app === "other"),
    targets: [{ name: "Service api", url: "http://api:8080/" }, ...apis],
  };
}

/** Asks every target from every source; the sources ask side by side. */
export async function askAll(shell: Shell, sources: readonly Source[], targets: readonly Target[]): Promise<Reach> {
  const rows = await Promise.all(
    sources.map(async ({ pod }) => {
      const answers = await Promise.all(targets.map(async ({ name, url }) => [name, await ask(shell, pod, url)] as const));
      return [pod, new Map(answers)] as const;
    }),
  );
  return new Map(rows);
}

async function ask(shell: Shell, pod: string, url: string): Promise<boolean> {
  const command = ["timeout", String(SECONDS), "wget", "-qO-", url];
  const { ok, stdout } = await shell.attempt(["kubectl", "-n", NAMESPACE, "exec", pod, "--", ...command]);
  return ok && stdout.includes("hello from api");
}

export function reachTable(sources: readonly Source[], targets: readonly Target[], before: Reach, after: Reach): string {
  const rows = sources.flatMap(({ app, pod, node }) =>
    targets.map(({ name }) => [`${app} (${node})`, name, word(before.get(pod)?.get(name)), word(after.get(pod)?.get(name))]),
  );
  const heads = ["FROM", "TO", "BEFORE", "AFTER"];
  const widths = heads.map((_, column) => Math.max(...[heads, ...rows].map((row) => row[column]?.length ?? 0)));
  return [heads, ...rows].map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("   ").trimEnd()).join("\n");
}

function word(answered: boolean | undefined): string {
  return answered === undefined ? "-" : answered ? "reached" : "dropped";
}
