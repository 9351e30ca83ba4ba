import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

import { addonObjects } from "./addons.ts";
import { coredns } from "./binaries/catalog.ts";
import type { Found } from "./binaries/find.ts";
import { ensureCgroups, machineCgroups } from "./cgroup.ts";
import { type ClusterConfig, clusterPaths, findNode, type NodeIdentity, nodeIdentities } from "./config.ts";
import { type ControlPlane, ensureApiServer, ensureControllers, ensureEtcd, ensurePki, kubectlArgv } from "./controlplane.ts";
import { ClusterError } from "./errors.ts";
import { ensureArchives, importArchive, importMissing, loadedArchives, rememberLoaded } from "./images.ts";
import { withLock } from "./lock.ts";
import { ensureNetwork } from "./network.ts";
import { ensureKubelet, ensureNode, stopNode } from "./node.ts";
import { preflight } from "./preflight.ts";
import { logEnd, run, waitReady } from "./process.ts";
import { findPrograms } from "./programs.ts";
import type { Progress } from "./progress.ts";
import { configurePtp } from "./ptp.ts";
import { refuseChange, saveSettings } from "./settings.ts";

/** Brings the cluster up, or repairs what of it is down. Every step looks first and does only what is missing. */
export async function up(config: ClusterConfig, progress: Progress): Promise<void> {
  await withLock(clusterPaths(config).lock, "make cluster", () => upLocked(config, progress));
}

async function upLocked(config: ClusterConfig, progress: Progress): Promise<void> {
  refuseChange(config);
  const layout = machineCgroups();
  await progress.step("machine is fit", async () => (await preflight(config, layout)).forEach((line) => progress.say(line)));
  const programs = await progress.step("programs", () => findPrograms(config, progress));
  prepareDirectory(config, programs);
  const pki = await progress.step("keys and certificates", () => ensurePki(config));
  await progress.step("network", () => ensureNetwork(config));
  const plane: ControlPlane = { config, programs, pki, cgroups: ensureCgroups(layout, config.name, "control") };
  const nodes = nodeIdentities(config);
  await allOf([
    progress.step("control plane", async () => {
      await ensureEtcd(plane);
      await ensureApiServer(plane);
      await ensureControllers(plane);
    }),
    progress.step(`${nodes.length} machines with containerd and images`, async () => {
      const archives = ensureArchives(config, programs, coredns().version);
      await allOf(nodes.map(async (node) => {
        await ensureNode(config, node, layout);
        installPlugins(config, node, programs);
        await importMissing(config, node, [...await archives, ...loadedArchives(config)]);
      }));
    }),
  ]);
  await progress.step("kubelets", () => allOf(nodes.map((node) => ensureKubelet(config, node, layout, programs, pki))));
  await progress.step("nodes registered, cluster DNS and addons applied", async () => {
    await allOf([applyAddons(config, programs), waitRegistered(config, programs)]);
  });
  if (config.cni === "ptp") await progress.step("pods can talk (ptp)", () => finishPtp(config, programs));
  progress.say(`export KUBECONFIG=${clusterPaths(config).kubeconfig} PATH=${clusterPaths(config).bin}:$PATH`);
}

/** Waits for all, also when one fails: nothing goes on in the background once we say that it failed. */
async function allOf(work: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

/** Starts a stopped node again, as after a power cut. */
export async function startNode(config: ClusterConfig, name: string, progress: Progress): Promise<void> {
  await withLock(clusterPaths(config).lock, `node-start ${name}`, async () => {
    const node = findNode(config, name);
    const layout = machineCgroups();
    const programs = await findPrograms(config, progress);
    await progress.step(`${name} started`, async () => {
      await ensureNode(config, node, layout);
      await ensureKubelet(config, node, layout, programs, await ensurePki(config));
      if (config.cni === "ptp") await configurePtp(config, await podCidrs(config, programs));
    });
  });
}

/** Cuts a node's power: everything in it ends at once; its disk stays. */
export async function haltNode(config: ClusterConfig, name: string, progress: Progress): Promise<void> {
  await withLock(clusterPaths(config).lock, `node-stop ${name}`, () =>
    progress.step(`${name} stopped`, () => stopNode(config, findNode(config, name), machineCgroups())));
}

/** Imports an OCI archive into every node, and into those that are added later. */
export async function load(config: ClusterConfig, file: string, progress: Progress): Promise<void> {
  const archive = resolve(file);
  if (!existsSync(archive)) throw new ClusterError(`there is no file ${archive}`, "give ARCHIVE=file.tar, such as the one that make image writes");
  const nodes = nodeIdentities(config);
  await progress.step(`${file} in ${nodes.length} nodes`, () => allOf(nodes.map((node) => importArchive(config, node, archive))));
  rememberLoaded(config, archive);
}

function prepareDirectory(config: ClusterConfig, programs: Found): void {
  const paths = clusterPaths(config);
  for (const dir of [config.dir, paths.logs, paths.run, paths.bin]) mkdirSync(dir, { recursive: true });
  saveSettings(config);
  for (const name of ["kubectl", "helm"]) {
    rmSync(join(paths.bin, name), { force: true });
    symlinkSync(programs[name] ?? name, join(paths.bin, name));
  }
}

function installPlugins(config: ClusterConfig, node: NodeIdentity, programs: Found): void {
  const names = config.cni === "ptp" ? ["loopback", "ptp", "host-local"] : ["loopback"];
  for (const name of names) {
    const target = join(node.disk, "opt/cni/bin", name);
    if (!existsSync(target)) copyExecutable(programs[name] ?? name, target);
  }
}

/** Whole or not at all: a plugin that was half copied when we were killed would be taken for a plugin. */
function copyExecutable(source: string, target: string): void {
  writeFileSync(`${target}.part`, readFileSync(source), { mode: 0o755 });
  renameSync(`${target}.part`, target);
}

async function applyAddons(config: ClusterConfig, programs: Found): Promise<void> {
  const list = { apiVersion: "v1", kind: "List", items: addonObjects(config, coredns().version) };
  await run(kubectlArgv(config, programs, ["apply", "--server-side", "--force-conflicts", "-f", "-"]), { input: JSON.stringify(list) });
}

interface NodeList {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly spec: { readonly podCIDRs?: readonly string[] };
    readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
  }[];
}

async function getNodes(config: ClusterConfig, programs: Found): Promise<NodeList> {
  return JSON.parse(await run(kubectlArgv(config, programs, ["get", "nodes", "-o", "json"]))) as NodeList;
}

async function podCidrs(config: ClusterConfig, programs: Found): Promise<Map<string, readonly string[]>> {
  return new Map((await getNodes(config, programs)).items.map((node) => [node.metadata.name, node.spec.podCIDRs ?? []]));
}

async function waitRegistered(config: ClusterConfig, programs: Found): Promise<void> {
  const log = join(clusterPaths(config).logs, "kube-controller-manager.log");
  await waitReady("a node's registration", log, 60_000, async () => {
    const withCidrs = [...(await podCidrs(config, programs)).values()].filter((cidrs) => cidrs.length === 2);
    return withCidrs.length >= config.nodes;
  });
}

async function finishPtp(config: ClusterConfig, programs: Found): Promise<void> {
  await configurePtp(config, await podCidrs(config, programs));
  const log = join(clusterPaths(config).logs, `${nodeIdentities(config)[0]?.name ?? ""}-kubelet.log`);
  const kubectl = (args: readonly string[]): Promise<string> => run(kubectlArgv(config, programs, args));
  try {
    await kubectl(["wait", "--for=condition=Ready", "nodes", "--all", "--timeout=90s"]);
    if (config.kubeProxy) await kubectl(["--namespace=kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s"]);
  } catch (error) {
    throw new ClusterError(`the nodes or cluster DNS are not ready: ${error instanceof Error ? error.message : String(error)}`, `read ${log}, which ends with\n${logEnd(log, 15)}`);
  }
}
