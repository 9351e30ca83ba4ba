/** The chart as Helm itself renders it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { loadAll } from "js-yaml";
import { helm } from "../../src/cluster/binaries/catalog.ts";
import { findProject } from "../../src/cluster/binaries/find.ts";
import { CHART_REPO_PORT, chartRepoConfig } from "../../src/image/config.ts";

const CHART = join(resolve(import.meta.dirname, "..", ".."), "config", "helm", "cilium");

export interface Rendered {
  readonly ok: boolean;
  /** The manifests, or what Helm says is wrong. */
  readonly text: string;
}

export async function findHelm(): Promise<string> {
  const found = await findProject(helm(), { ...chartRepoConfig(CHART_REPO_PORT).search, say: () => undefined });
  return found["helm"] ?? assert.fail("no Helm");
}

export function renderChart(tool: string, sets: readonly string[] = []): Rendered {
  const args = ["template", "cilium", CHART, "--namespace", "kube-system", ...sets.flatMap((set) => ["--set", set])];
  const { status, stdout, stderr } = spawnSync(tool, args, { encoding: "utf8" });
  return { ok: status === 0, text: status === 0 ? stdout : stderr };
}

export function chartObjects(tool: string, sets: readonly string[] = []): any[] {
  const { ok, text } = renderChart(tool, sets);
  assert.ok(ok, text);
  return loadAll(text).filter((each) => each !== null);
}

export function findObject(all: readonly any[], kind: string, name: string): any {
  return all.find((each) => each.kind === kind && each.metadata.name === name) ?? assert.fail(`no ${kind} ${name}`);
}
