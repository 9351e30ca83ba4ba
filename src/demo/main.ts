/** The story, chapter by chapter. */
import { setTimeout as sleep } from "node:timers/promises";
import { renderEvent } from "../hubble/render.ts";
import { describeError } from "../lib/errors.ts";
import { demoConfig, type DemoConfig } from "./config.ts";
import { brokenPromises, dropsOf, isDropOfOther, POLICY } from "./expectations.ts";
import { askAll, findPods, NAMESPACE, reachTable } from "./reach.ts";
import { Shell } from "./shell.ts";

const DROPS_SHOWN = 6;
const MONITOR_PATIENCE_MS = 30_000;
const MORE_DROPS_MS = 2000;

/** The cluster, the image on its nodes, and the tools in ./bin. */
async function prepare(shell: Shell, { cold }: DemoConfig): Promise<void> {
  shell.say(
    cold
      ? "First run on this machine: 3 to 4 minutes where Kubernetes can be downloaded, about 15 where it must be built. Later runs: under 3."
      : "About 2 minutes: most of what is needed is in the cache.",
  );
  await shell.show(["make", "-s", "cluster", "CNI=cilium"]);
  await shell.show(["make", "-s", "image"]);
  await shell.show(["make", "-s", "cluster-load", "ARCHIVE=build/image/cilium.tar"]);
  await shell.show(["make", "-s", "cli"]);
  await shell.show(["make", "-s", "chart-repo"]);
}

/** As the article writes it, less the values that are not built yet. */
async function install(shell: Shell, { chartRepo }: DemoConfig): Promise<void> {
  await shell.show(["helm", "repo", "add", "--force-update", "cilium", chartRepo]);
  const installed = (await shell.attempt(["helm", "status", "cilium", "--namespace", "kube-system"])).ok;
  await shell.show(["helm", installed ? "upgrade" : "install", "cilium", "cilium/cilium", "--namespace", "kube-system"]);
  // The tag of a development image stays the same while its content changes.
  if (installed) await shell.show(["kubectl", "-n", "kube-system", "rollout", "restart", "daemonset/cilium", "deployment/cilium-operator"]);
  await shell.show(["kubectl", "-n", "kube-system", "rollout", "status", "daemonset/cilium", "--timeout=180s"]);
  await shell.show(["kubectl", "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s"]);
  await shell.show(["cilium", "status", "--wait", "--wait-duration", "2m"]);
}

async function deploy(shell: Shell): Promise<void> {
  await shell.show(["kubectl", "apply", "-f", "samples/demo-app.yaml"]);
  await shell.quiet(["kubectl", "-n", NAMESPACE, "delete", "cnp", POLICY, "--ignore-not-found"]);
  for (const app of ["api", "frontend", "other"]) {
    await shell.quiet(["kubectl", "-n", NAMESPACE, "rollout", "status", `deployment/${app}`, "--timeout=120s"]);
  }
  await shell.show(["kubectl", "-n", NAMESPACE, "get", "pods", "-o", "wide"]);
}

async function tell(shell: Shell): Promise<string[]> {
  await deploy(shell);
  const { sources, targets } = await findPods(shell);
  shell.say("\nBefore the policy, every pod asks api over HTTP …");
  const before = await askAll(shell, sources, targets);

  const monitored: string[] = [];
  const monitor = shell.start(["cilium", "monitor", "--type", "drop", "--in-namespace", NAMESPACE, "-o", "json"], (text) => monitored.push(text));
  await shell.show(["kubectl", "-n", NAMESPACE, "apply", "-f", `samples/${POLICY}.yaml`]);
  await shell.show(["kubectl", "-n", NAMESPACE, "wait", "--for=condition=Enforced", `cnp/${POLICY}`, "--timeout=30s"]);
  shell.say("\n… and again after it.");
  const after = await askAll(shell, sources, targets);
  await untilDropped(monitored);
  monitor.kill("SIGTERM");

  const drops = dropsOf(monitored.join(""));
  shell.say(`\n${reachTable(sources, targets, before, after)}`);
  await shell.show(["kubectl", "-n", NAMESPACE, "get", "cnp"]);
  await shell.show(["kubectl", "-n", NAMESPACE, "describe", "cnp", POLICY]);
  shell.say(`\n$ cilium monitor --type drop --in-namespace ${NAMESPACE}`);
  for (const drop of drops.filter(isDropOfOther).slice(0, DROPS_SHOWN)) shell.say(`${drop.node}  ${renderEvent(drop)}`);
  return brokenPromises({ sources, targets, before, after, drops });
}

/** The pods of other ask all the time: a drop comes as soon as the monitor sees every node. */
async function untilDropped(monitored: readonly string[]): Promise<void> {
  const deadline = Date.now() + MONITOR_PATIENCE_MS;
  while (Date.now() < deadline && !dropsOf(monitored.join("")).some(isDropOfOther)) await sleep(200);
  await sleep(MORE_DROPS_MS);
}

const NEXT = `
The cluster stays up. What to try next:

  export KUBECONFIG=$PWD/.cluster/kubeconfig PATH=$PWD/bin:$PATH

  cilium status                       agents, managed pods, what each node applied
  cilium monitor --type drop          the drops of other as they happen
  kubectl -n ${NAMESPACE} scale deployment api --replicas=6
                                      the policy follows the labels, not the addresses
  kubectl -n ${NAMESPACE} delete cnp ${POLICY}
                                      and other reaches api again
  make cluster-down                   remove the cluster without a trace`;

async function main(): Promise<void> {
  const config = demoConfig();
  const shell = new Shell({ cwd: config.root, env: config.env, write: (text) => process.stdout.write(text) });
  const started = performance.now();
  await prepare(shell, config);
  await install(shell, config);
  const broken = await tell(shell);
  const seconds = Math.round((performance.now() - started) / 1000);
  for (const promise of broken) shell.say(`NOT AS EXPECTED: ${promise}`);
  if (broken.length > 0) process.exitCode = 1;
  else shell.say(`\nEverything was as expected, in ${seconds} s.\n${NEXT}`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`\nmake demo: ${describeError(error)}\n`);
  process.exitCode = 1;
}
