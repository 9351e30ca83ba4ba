/**
 * The article, line by line in its order, on a cluster that has the chart. `kind create cluster` stands for `make cluster`,
 * and the chart repository is ours. A line that is not possible yet must say so by name, and is then a skip.
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test, type TestContext } from "node:test";

import { ARTICLE, commandsOf } from "./harness/article.ts";
import { CHART_URL, command, get, kubectl, must, namespace, readyCluster, refused, ROOT, shell } from "./harness/cluster.ts";
import { createPods, type Pod, type PodSpec } from "./harness/pods.ts";
import { enforce, remove } from "./harness/policy.ts";

await readyCluster();
const ns = await namespace("article");
after(() => ns.remove());
const SPECS: readonly PodSpec[] = [
  { name: "api", node: 1, labels: { app: "api" }, ports: [8080, 9090] },
  { name: "frontend", node: 2, labels: { app: "frontend" } },
  { name: "other", node: 2, labels: { app: "other" } },
];
let pods = await createPods(ns.name, SPECS);
const BPFTRACE_SCRIPT = join(ROOT, "build/e2e/bpftrace.sh");
const pod = (name: string): Pod => pods[name] ?? assert.fail(`no pod ${name}`);

/** The line as written must fail and say why; what it lacks is the reason of the skip. */
async function notYet(context: TestContext, line: string, said: RegExp, reason: string): Promise<void> {
  const output = await shell(line);
  assert.notEqual(output.code, 0, `${line} works now: run it for real here`);
  assert.match(output.stdout + output.stderr, said, line);
  context.skip(reason);
}

test("kubectl get daemonset -n kube-system kube-proxy", async () => {
  for (const line of commandsOf(ARTICLE.kubeProxy)) assert.match((await shell(line)).stdout, /kube-proxy\s+3\s+3\s+3/);
});

test("bpftrace counts system calls", { timeout: 540_000 }, async () => {
  const [line = ""] = commandsOf(ARTICLE.bpftrace);
  // It counts until Ctrl-C. Tracing is mounted for it alone where the machine has not done so at boot.
  await writeFile(BPFTRACE_SCRIPT, `mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null\nmount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null\nexec timeout --signal=INT 10 ${line}\n`);
  const output = await command(["unshare", "--mount", "sh", BPFTRACE_SCRIPT]);
  assert.match(output.stdout, /@\[tracepoint:syscalls:sys_enter_\w+\]: \d+/, output.stderr);
});

test("security by identity: the policy lets frontend reach api on 8080 and nobody else", async () => {
  const [api, frontend, other] = [pod("api"), pod("frontend"), pod("other")];
  for (const from of [frontend, other]) await from.reaches("tcp", api.ipv4, 8080);
  await enforce(ns.name, ARTICLE.policy);
  for (const address of api.addresses) {
    await frontend.reaches("tcp", address, 8080);
    await frontend.isCutFrom("tcp", address, 9090);
    await other.isCutFrom("tcp", address, 8080, "after-the-policy");
  }
  assert.deepEqual(await api.heard("after-the-policy"), []);
  await remove(ns.name, "allow-frontend-to-api");
});

test("L7 policy without sidecars", async (context) => {
  assert.match(await refused(ARTICLE.l7Policy, "-n", ns.name), /spec\.ingress\[0\]\.rules/);
  context.skip("api-rate-limit: HTTP rules (L7) are not built yet; kubectl apply says so");
});

for (const line of commandsOf(ARTICLE.hubble)) {
  test(line, async (context) => {
    assert.notEqual((await shell("command -v hubble")).code, 0, "there is a hubble command now: run it for real here");
    context.skip("hubble observe: Hubble is not built yet; cilium monitor shows drops with the policy's name");
  });
}

// `helm upgrade … --set encryption.enabled=true --set encryption.type=wireguard` is run by encryption.test.ts.

const [createCluster = "", repoAdd = "", helmInstall = ""] = commandsOf(ARTICLE.install);

test(createCluster, { timeout: 1_800_000 }, async () => {
  await must(["make", "-s", "-C", ROOT, "cluster", "CNI=cilium"], { timeoutMs: 590_000 });
});

test(repoAdd, async () => {
  const [program = "", ...args] = repoAdd.replace("https://helm.cilium.io", CHART_URL).split(" ");
  await command(["helm", "repo", "remove", "cilium"]);
  await must([program, ...args]);
});

test(helmInstall, { timeout: 900_000 }, async (context) => {
  await must(["helm", "uninstall", "cilium", "--namespace", "kube-system", "--wait"]);
  try {
    const asWritten = await shell(helmInstall);
    assert.notEqual(asWritten.code, 0);
    assert.match(asWritten.stderr, /kubeProxyReplacement=true.*not built yet/);
  } finally {
    const possible = helmInstall.replace(/ --set kubeProxyReplacement=true$/, "");
    assert.equal((await shell(possible)).code, 0, possible);
    // An uninstall leaves no network to the pods that run: the notes say that they are to be restarted.
    await kubectl("-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=360s");
    await kubectl("-n", "kube-system", "rollout", "restart", "deployment/coredns");
    await readyCluster();
  }
  await kubectl("-n", ns.name, "delete", "pod", "--all", "--grace-period=1");
  pods = await createPods(ns.name, SPECS);
  await enforce(ns.name, ARTICLE.policy);
  await pod("frontend").reaches("tcp", pod("api").ipv4, 8080);
  await pod("other").isCutFrom("tcp", pod("api").ipv4, 8080);
  const { items } = await get<{ items: object[] }>("cnp", "-n", ns.name);
  assert.equal(items.length, 1, "uninstall and install keep the user's policies");
  context.skip("kubeProxyReplacement=true: the service replacement is not built yet; installed without that value, and it works");
});

test("cilium connectivity test", (context) =>
  notYet(context, commandsOf(ARTICLE.connectivity).join("\n"), /connectivity.*not built yet/, "cilium connectivity test is not built yet"));

const [hubbleUpgrade = "", portForward = ""] = commandsOf(ARTICLE.hubbleUi);

test(hubbleUpgrade, (context) => notYet(context, hubbleUpgrade, /hubble\.(relay|ui)\.enabled=true.*not built yet/, "hubble.relay and hubble.ui: Hubble is not built yet"));

test(portForward, async (context) => {
  const output = await shell("kubectl get -n kube-system svc/hubble-ui");
  assert.match(output.stderr, /NotFound/);
  context.skip("svc/hubble-ui: Hubble's web page is not built yet");
});

test("kubectl knows what was installed", async () => {
  assert.match(await kubectl("-n", "kube-system", "get", "daemonset", "cilium"), /cilium\s+3\s+3\s+3/);
});
