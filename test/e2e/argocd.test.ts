/**
 * GitOps: chart and policies from a Git repository, by Argo CD's own engine, into a cluster of its own that has no
 * network before. What Argo CD calls Synced and Healthy is what its engine says here.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";

import { clusterPaths, controlAddresses } from "../../src/cluster/config.ts";
import { capture, run } from "../../src/cluster/process.ts";
import { ROOT } from "./harness/cluster.ts";
import { sideCluster } from "./harness/side-cluster.ts";

const PROGRAM = join(ROOT, "build/bin/argocd-sync");
const NO_GO = existsSync(PROGRAM) || spawnSync("go", ["version"]).status === 0 ? false : "Argo CD's engine is a Go module, and there is no Go here to build it";
const cluster = sideCluster("argo", 79);
const { kubectl, env, config, work } = cluster;
const repository = join(work, "repository");
const checkout = join(work, "checkout");
const NAMESPACE = "production";

interface Report {
  readonly outOfSync: readonly string[];
  readonly stillOutOfSync: readonly string[];
  readonly operations: readonly string[] | null;
  readonly health: Readonly<Record<string, { readonly status: string; readonly message?: string }>>;
  readonly managed: readonly string[];
  readonly error?: string;
}

/** What a commit of the repository says: rendered as Argo CD renders, and synchronised. */
async function sync(app: string, namespace: string, ...flags: string[]): Promise<Report> {
  const folder = join(work, "rendered", app);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await run(["git", "-C", checkout, "pull", "-q"], { env });
  if (app === "cilium") {
    const chart = join(checkout, "chart");
    const values = ["--set", "operator.replicas=1", "--set", `k8sServiceHost=${controlAddresses(config).ipv4}`];
    const render = (): Promise<string> => run(["helm", "template", "cilium", chart, "--namespace", namespace, "--kube-version", config.kubernetes, ...values], { env });
    const text = await render();
    assert.equal(await render(), text, "nothing in the chart is random");
    writeFileSync(join(folder, "all.yaml"), text);
  } else {
    cpSync(join(checkout, app), folder, { recursive: true });
  }
  const argv = [PROGRAM, "-kubeconfig", clusterPaths(config).kubeconfig, "-settings", join(ROOT, "config/argocd/argocd-cm.yaml"), "-app", app, "-namespace", namespace, ...flags, folder];
  const { stdout, stderr } = await capture(argv, { timeoutMs: 400_000 });
  const report = JSON.parse(stdout) as Report;
  assert.equal(report.error, undefined, `${JSON.stringify(report, null, 1)}\n${stderr.slice(-3000)}`);
  return report;
}

/** Everything is as the manifests say, and Argo CD calls it Healthy. */
function assertSettled(report: Report): void {
  assert.deepEqual(report.stillOutOfSync, []);
  const sick = Object.entries(report.health).filter(([, { status }]) => status !== "Healthy");
  assert.deepEqual(sick, []);
}

async function commit(message: string, change: () => void): Promise<void> {
  change();
  await run(["git", "-C", repository, "add", "--all"], { env });
  await run(["git", "-C", repository, "-c", "user.name=e2e", "-c", "user.email=e2e@example.com", "commit", "-q", "-m", message], { env });
}

const policies = (name: string): string => join(repository, "policies", name);
const POLICY = `cilium.io/CiliumNetworkPolicy/${NAMESPACE}/allow-frontend-to-api`;

after(async () => {
  if (NO_GO === false) await cluster.remove();
});

describe("Argo CD's engine", { skip: NO_GO, timeout: 1_200_000 }, () => {
  test("the chart from Git: synced, healthy, and nothing to do the second time", async () => {
    await cluster.make("build/bin/argocd-sync");
    await cluster.start();
    await run(["git", "init", "-q", "-b", "main", repository], { env });
    await commit("chart and policies", () => {
      cpSync(join(ROOT, "config/helm/cilium"), join(repository, "chart"), { recursive: true });
      mkdirSync(join(repository, "policies"));
      for (const name of ["demo-app.yaml", "allow-frontend-to-api.yaml"]) cpSync(join(ROOT, "samples", name), policies(name));
    });
    await run(["git", "clone", "-q", repository, checkout], { env });
    const first = await sync("cilium", "kube-system");
    assert.ok(first.outOfSync.includes("apps/DaemonSet/kube-system/cilium"));
    assertSettled(first);
    const second = await sync("cilium", "kube-system");
    assert.deepEqual(second.outOfSync, []);
    assertSettled(second);
  });

  test("policies after it: their health is that nodes have them in force", async () => {
    const report = await sync("policies", NAMESPACE);
    assertSettled(report);
    assert.match(report.health[POLICY]?.message ?? "", /1 of 1 nodes enforce it/);
    assert.deepEqual((await sync("policies", NAMESPACE)).outOfSync, []);
  });

  test("a policy that is not valid is Degraded, with the field", async () => {
    const path = policies("broken.yaml");
    await commit("a policy with a mistake in it", () => writeFileSync(path, JSON.stringify({
      apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "broken" },
      spec: { endpointSelector: { matchLabels: { "io.kubernetes.pod.namespace": "elsewhere" } }, ingress: [{}] },
    })));
    const { health } = await sync("policies", NAMESPACE, "-limit", "20s");
    assert.equal(health[`cilium.io/CiliumNetworkPolicy/${NAMESPACE}/broken`]?.status, "Degraded");
    assert.match(health[`cilium.io/CiliumNetworkPolicy/${NAMESPACE}/broken`]?.message ?? "", /spec\.endpointSelector/);
    await commit("without it", () => rmSync(path));
    await sync("policies", NAMESPACE, "-prune");
  });

  test("an edit by hand is seen and taken back", async () => {
    await kubectl("-n", NAMESPACE, "patch", "cnp", "allow-frontend-to-api", "--type=json", "-p", '[{"op":"replace","path":"/spec/ingress/0/toPorts/0/ports/0/port","value":"9090"}]');
    const report = await sync("policies", NAMESPACE);
    assert.deepEqual(report.outOfSync, [POLICY]);
    assertSettled(report);
    assert.equal(await kubectl("-n", NAMESPACE, "get", "cnp", "allow-frontend-to-api", "-o", "jsonpath={.spec.ingress[0].toPorts[0].ports[0].port}"), "8080");
  });

  test("what operator and agents write is nobody's drift", async () => {
    const generated = await kubectl("get", "ciliumendpoints,ciliumidentities,ciliumnodes,ciliumnodestates", "--all-namespaces", "-o", "name");
    for (const kind of ["ciliumendpoint", "ciliumidentity", "ciliumnode", "ciliumnodestate"]) assert.match(generated, new RegExp(`^${kind}\\.cilium\\.io/`, "m"));
    const { managed } = await sync("policies", NAMESPACE);
    assert.deepEqual(managed.filter((name) => /Cilium(Endpoint|Identity|Node|NodeState)\//.test(name)), []);
    assert.ok(managed.includes(POLICY));
  });

  test("what leaves the repository leaves the cluster", async () => {
    await commit("without the policy", () => rmSync(policies("allow-frontend-to-api.yaml")));
    const report = await sync("policies", NAMESPACE, "-prune");
    assert.ok(report.operations?.some((line) => line.startsWith(`${POLICY} Pruned`)), JSON.stringify(report.operations));
    assert.equal(await kubectl("-n", NAMESPACE, "get", "cnp", "-o", "name"), "");
    assertSettled(report);
  });
});
