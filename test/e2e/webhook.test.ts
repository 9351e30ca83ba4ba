/**
 * The control plane asks an admission webhook that runs in a pod: from outside of the nodes, by a NodePort, through the
 * proxy to the pod, over TLS, and past the pod's policy or not.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { Pki } from "../../src/cluster/pki.ts";
import { apply, command, get, kubectl, namespace, node, readyCluster, waitFor } from "./harness/cluster.ts";
import { podObject, readyPods } from "./harness/pods.ts";
import { enforce, policy, remove } from "./harness/policy.ts";

const PORT = 8443;
const NAME = "e2e-webhook";
/** Answers every review: what is called `refused` may not be. */
const SERVER = `
const { readFileSync } = require("node:fs");
const options = { key: readFileSync("/tls/tls.key"), cert: readFileSync("/tls/tls.crt") };
require("node:https").createServer(options, (request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const { request: { uid, name } } = JSON.parse(Buffer.concat(chunks));
    const allowed = name !== "refused";
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid, allowed, status: { message: "said the pod" } } }));
  });
}).listen(${PORT}, "::");
process.on("SIGTERM", () => process.exit(0));
`;

await readyCluster();
const ns = await namespace("webhook");
const folder = mkdtempSync(join(tmpdir(), "e2e-webhook-"));
after(async () => {
  await kubectl("delete", "validatingwebhookconfiguration", NAME, "--ignore-not-found");
  rmSync(folder, { recursive: true });
  await ns.remove();
});

async function image(): Promise<string> {
  const { spec } = await get<{ spec: { template: { spec: { containers: { image: string }[] } } } }>("daemonset", "cilium", "-n", "kube-system");
  return spec.template.spec.containers[0]?.image ?? assert.fail("the agent has no image");
}

/** The pod, its NodePort, and the API server told to ask there. */
async function serve(): Promise<void> {
  const pki = new Pki(folder);
  const authority = await pki.authority("ca", NAME);
  const address = node(1).ipv4;
  const pair = await pki.certificate({ name: "server", authority: "ca", subject: { commonName: NAME }, usage: "serverAuth", altNames: [`IP:${address}`] });
  await kubectl("create", "secret", "tls", "tls", `--cert=${pair.cert}`, `--key=${pair.key}`, "-n", ns.name);
  const container = { image: await image(), command: ["node", "-e", SERVER], volumeMounts: [{ name: "tls", mountPath: "/tls", readOnly: true }], readinessProbe: { tcpSocket: { port: PORT }, periodSeconds: 1 } };
  const pod = podObject(ns.name, { name: "hook", node: 1, labels: { app: "hook" }, container }) as { spec: { volumes: object[] } };
  pod.spec.volumes = [{ name: "tls", secret: { secretName: "tls" } }];
  await apply(pod);
  await readyPods(ns.name, ["hook"]);
  await apply({ apiVersion: "v1", kind: "Service", metadata: { name: "hook", namespace: ns.name }, spec: { type: "NodePort", selector: { app: "hook" }, ports: [{ port: 443, targetPort: PORT }] } });
  const { spec } = await get<{ spec: { ports: { nodePort: number }[] } }>("service", "hook", "-n", ns.name);
  const client = { url: `https://${address}:${spec.ports[0]?.nodePort}/`, caBundle: readFileSync(authority.cert).toString("base64") };
  await apply({
    apiVersion: "admissionregistration.k8s.io/v1", kind: "ValidatingWebhookConfiguration", metadata: { name: NAME },
    webhooks: [{
      name: "pods.webhook.example", clientConfig: client, admissionReviewVersions: ["v1"], sideEffects: "None", failurePolicy: "Fail", timeoutSeconds: 3,
      namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": ns.name } },
      rules: [{ apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["configmaps"] }],
    }],
  });
}

/** What kubectl says when a ConfigMap of the name is made, which is not kept. */
async function create(name: string): Promise<string> {
  const { code, stdout, stderr } = await command(["kubectl", "create", "configmap", name, "-n", ns.name, "--dry-run=server"]);
  return `${code === 0 ? "made" : "refused"}: ${stdout}${stderr}`;
}

const said = (what: string, pattern: RegExp, name: string): Promise<true> =>
  waitFor(what, async () => (pattern.test(await create(name)) ? true : undefined), () => create(name), { timeoutMs: 60_000 });

test("the API server is answered by a pod, and not when its policy lets nobody in", { timeout: 900_000 }, async () => {
  await serve();
  await said("the pod refuses", /refused: .*said the pod/s, "refused");
  await said("the pod agrees", /^made: /, "agreed");
  await enforce(ns.name, policy("closed", { endpointSelector: { matchLabels: { app: "hook" } }, ingress: [{}], ingressDeny: [{ toPorts: [{ ports: [{ port: String(PORT), protocol: "TCP" }] }] }] }));
  await said("nobody answers", /refused: .*(deadline exceeded|timeout)/s, "agreed");
  await enforce(ns.name, policy("open", { endpointSelector: { matchLabels: { app: "hook" } }, ingress: [{ fromEntities: ["host", "remote-node", "world"], toPorts: [{ ports: [{ port: String(PORT), protocol: "TCP" }] }] }] }));
  await remove(ns.name, "closed");
  await said("the pod refuses again", /refused: .*said the pod/s, "refused");
});
