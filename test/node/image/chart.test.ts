/** The chart as Helm itself renders it: what it refuses, and what stands in the manifests. */
import assert from "node:assert/strict";
import { type ExecFileException, execFile, execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, globSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join, resolve } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { readCrds } from "../../../src/api/index.ts";
import { KUBELET_KUBECONFIGS } from "../../../src/agent/api-server.ts";
import { chartRepoConfig } from "../../../src/image/config.ts";
import { chartObjects, findHelm, findObject as find, renderChart } from "../../support/chart.ts";
import type { Rendered } from "../../support/chart.ts";
import { DEFAULT_FAILSAFE, readPolicyOptions, readRouting } from "../../../src/compile/index.ts";

const root = resolve(import.meta.dirname, "..", "..", "..");

let tool = "";
before(async () => {
  tool = await findHelm();
});

const template = (...sets: string[]): Rendered => renderChart(tool, sets);
const objects = (...sets: string[]): any[] => chartObjects(tool, sets);

describe("values that are refused by name", () => {
  const notBuilt: readonly (readonly [string, RegExp])[] = [
    ["kubeProxyReplacement=true", /kubeProxyReplacement=true: .*not built yet/],
    ["kubeProxyReplacement=partial", /kubeProxyReplacement=partial: .*not built yet/],
    ["encryption.type=ipsec", /encryption\.type=ipsec: not built/],
    ["hubble.enabled=true", /hubble\.enabled=true: .*not built yet/],
    ["hubble.relay.enabled=true", /hubble\.relay\.enabled=true: .*not built yet/],
    ["hubble.ui.enabled=true", /hubble\.ui\.enabled=true: .*not built yet/],
    ["l7Proxy=true", /l7Proxy=true: .*not built yet/],
    ["tunnelProtocol=geneve", /tunnelProtocol=geneve: .*not built yet/],
    ["ipam.mode=cluster-pool", /ipam\.mode=cluster-pool: not built yet/],
    ["cluster.name=east", /cluster\.name=east: .*not built yet/],
  ];
  for (const [set, message] of notBuilt) {
    it(`${set} is not built yet`, () => {
      const { ok, text } = template(set);
      assert.equal(ok, false);
      assert.match(text, message);
    });
  }

  const unknown = ["hubble.relai.enabled=true", "encription.enabled=true", "operator.replica=1", "cni.exclusiv=false", "bpf.mapMax=1", "image.name=x", "encryption.nodeEncryption=true"];
  for (const set of unknown) {
    it(`${set} is unknown`, () => {
      const { ok, text } = template(set);
      assert.equal(ok, false);
      const name = set.split("=")[0]?.split(".").at(set.startsWith("encription") ? 0 : set.startsWith("hubble") ? 1 : -1);
      assert.match(text, new RegExp(`additional properties '${name}' not allowed`));
    });
  }

  for (const set of ["MTU=100", "tunnelPort=0", "operator.replicas=0", "image.pullPolicy=never", "cluster.name=Not_Valid", "routingMode=bgp", "encryption.keyRotationInterval=24", "encryption.wireguard.userspace=sometimes", "encryption.wireguard.port=65535", "autoDirectNodeRoutes=true", "ipv4NativeRoutingCIDR=fd00::/8", "ipv6NativeRoutingCIDR=10.0.0.0/8", "nonMasqueradeCIDRs={10.0.0.0}", "masqueradeSourceCIDRs={203.0.113.9}", "tunnelPort=\\\"8472\\\""]) {
    it(`${set} is out of range`, () => assert.equal(template(set).ok, false));
  }
});

describe("what stands in the manifests", () => {
  it("tells the operator what address blocks of policies mean, as a list or one word", () => {
    const mode = (...sets: string[]): string => find(objects(...sets), "ConfigMap", "cilium-config").data["policy-cidr-match-mode"];
    assert.deepEqual([mode(), mode("policyCIDRMatchMode={nodes,pods}"), mode("policyCIDRMatchMode=nodes")], ["", "nodes,pods", "nodes"]);
    assert.equal(template("policyCIDRMatchMode={world}").ok, false);
  });

  it("tells the operator what policies mean that say nothing of their enforcement", () => {
    const mode = (...sets: string[]): string => find(objects(...sets), "ConfigMap", "cilium-config").data["policy-audit-mode"];
    assert.deepEqual([mode(), mode("policyAuditMode=true")], ["false", "true"]);
    assert.equal(template("policyAuditMode=sometimes").ok, false);
  });

  it("tells the operator which ports of a node no policy closes", () => {
    const kept = (...sets: string[]) => {
      const { data } = find(objects(...sets), "ConfigMap", "cilium-config");
      return readPolicyOptions((key: string) => data[key]).failsafe;
    };
    assert.deepEqual(kept(), DEFAULT_FAILSAFE, "the chart's values are the defaults");
    const one = kept("hostFirewall.failsafe.ingress={2222/TCP}", "hostFirewall.failsafe.egress=null", "encryption.enabled=true");
    assert.deepEqual(one?.ingress, [{ protocol: 6, port: 2222, prefix: 16 }]);
    assert.deepEqual(one?.betweenNodes.map(({ protocol, port }) => [protocol, port]), [[17, 51871], [17, 51872]]);
    assert.deepEqual(kept("hostFirewall.failsafe.ingress=null")?.ingress, []);
    for (const wrong of ["{22}", "{22/SCTP}", "{ssh/TCP}"]) assert.equal(template(`hostFirewall.failsafe.ingress=${wrong}`).ok, false);
    assert.match(template("hostFirewall.enabled=false").text, /hostFirewall\.enabled=false: there is nothing to switch off/);
  });

  it("carries the routing to the agent and the operator as both read it", () => {
    const { data } = find(objects("routingMode=native", "autoDirectNodeRoutes=true", "ipv4NativeRoutingCIDR=10.0.0.0/8", "enableIPv6Masquerade=false", "nonMasqueradeCIDRs={fd00::/8,192.168.0.0/16}", "masqueradeSourceCIDRs={203.0.113.0/24}"), "ConfigMap", "cilium-config");
    const routing = readRouting((key: string) => data[key]);
    assert.deepEqual(routing, { mode: "native", tunnelPort: 8472, directRoutes: true, masquerade: { ipv4: true, ipv6: false }, unmasqueraded: ["10.0.0.0/8", "192.168.0.0/16", "fd00::/8"], masqueradeFrom: ["203.0.113.0/24"] });
  });

  it("has two WireGuard devices, each in a container of its own, and tells who encrypts, by which port, and when keys are replaced", () => {
    const all = objects("encryption.enabled=true", "encryption.keyRotationInterval=24h", "encryption.wireguard.userspace=always", "encryption.wireguard.port=5000", "encryption.wireguard.persistentKeepalive=25");
    const { containers } = find(all, "DaemonSet", "cilium-wireguard").spec.template.spec;
    assert.deepEqual(containers.map(({ command }: { command: string[] }) => command.slice(1)), [["cilium_wg0", "always"], ["cilium_wg1", "always"]]);
    const { data } = find(all, "ConfigMap", "cilium-config");
    const settings = Object.entries(data).filter(([key]) => key.startsWith("encryption-"));
    assert.deepEqual(Object.fromEntries(settings), { "encryption-enabled": "true", "encryption-type": "wireguard", "encryption-key-rotation-interval": "24h", "encryption-port": "5000", "encryption-persistent-keepalive": "25", "encryption-userspace": "always" });
  });

  it("is equal on every rendering: nothing random", () => {
    assert.equal(template().text, template().text);
  });

  it("runs the agent on every node, also before there is a network", () => {
    const agent = find(objects(), "DaemonSet", "cilium");
    const { spec } = agent.spec.template;
    assert.equal(agent.spec.template.metadata.labels["k8s-app"], "cilium");
    assert.deepEqual(spec.tolerations, [{ operator: "Exists" }]);
    assert.deepEqual([spec.hostNetwork, spec.dnsPolicy, spec.priorityClassName], [true, "Default", "system-node-critical"]);
    assert.equal(spec.containers[0].name, "cilium-agent");
    assert.equal(spec.containers[0].lifecycle, undefined);
  });

  it("runs the operator without rights on its node", () => {
    const operator = find(objects(), "Deployment", "cilium-operator");
    const { spec } = operator.spec.template;
    assert.equal(operator.spec.replicas, 2);
    assert.deepEqual([spec.hostNetwork, spec.dnsPolicy, spec.priorityClassName], [true, "Default", "system-cluster-critical"]);
    assert.equal(spec.securityContext.runAsNonRoot, true);
    const { securityContext } = spec.containers[0];
    assert.deepEqual(securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } });
  });

  it("gives the agent three capabilities; its privileged init container mounts and ends", () => {
    const { spec } = find(objects(), "DaemonSet", "cilium").spec.template;
    const [agent] = spec.containers;
    assert.deepEqual(agent.securityContext, {
      capabilities: { drop: ["ALL"], add: ["NET_ADMIN", "SYS_ADMIN", "NET_RAW"] },
      seccompProfile: { type: "RuntimeDefault" },
      appArmorProfile: { type: "Unconfined" },
    });
    assert.ok(!agent.volumeMounts.some(({ mountPropagation }: any) => mountPropagation === "Bidirectional"));
    assert.deepEqual(spec.initContainers.map(({ command }: any) => command.at(-1)), ["mount"]);
    assert.deepEqual(spec.initContainers[0].volumeMounts.map(({ name }: any) => name), ["bpf", "config"]);
    const other = find(objects("securityContext.capabilities.ciliumAgent={NET_ADMIN,SYS_ADMIN,SYS_RESOURCE}"), "DaemonSet", "cilium");
    assert.ok(other.spec.template.spec.containers[0].securityContext.capabilities.add.includes("SYS_RESOURCE"));
    const back = find(objects("securityContext.privileged=true"), "DaemonSet", "cilium").spec.template.spec;
    assert.deepEqual(back.containers[0].securityContext, { privileged: true });
  });

  it("grants no wildcard, no secrets and no pods/exec", () => {
    const rules = objects().filter(({ kind }) => kind === "ClusterRole" || kind === "Role").flatMap((role) => role.rules);
    assert.ok(rules.length > 0);
    for (const rule of rules) {
      const words = [...rule.apiGroups, ...rule.resources, ...rule.verbs];
      for (const word of ["*", "secrets", "pods/exec", "escalate", "bind", "impersonate"]) assert.ok(!words.includes(word), word);
    }
  });

  it("does not let the operator write CRDs with crds.create=false", () => {
    const role = find(objects("crds.create=false"), "ClusterRole", "cilium-operator");
    assert.ok(!role.rules.some((rule: any) => rule.apiGroups.includes("apiextensions.k8s.io")));
    assert.equal(find(objects("crds.create=false"), "ConfigMap", "cilium-config").data["crds-create"], "false");
  });

  it("lets the operator upgrade exactly the CRDs of crds/", () => {
    const role = find(objects(), "ClusterRole", "cilium-operator");
    const named = role.rules.find((rule: any) => rule.resourceNames !== undefined).resourceNames;
    assert.deepEqual(named, readCrds().map(({ metadata }) => metadata.name).sort());
  });

  it("rolls agents and operators when a setting changes", () => {
    const checksum = (all: any[]): string => find(all, "DaemonSet", "cilium").spec.template.metadata.annotations["checksum/cilium-config"];
    assert.notEqual(checksum(objects()), checksum(objects("debug.enabled=true")));
  });

  it("leaves by a hook after the delete: waited for, gone afterwards, and no CRD among what is deleted", () => {
    const all = objects();
    const hooks = all.filter((each) => each.metadata.annotations?.["helm.sh/hook"] !== undefined);
    assert.deepEqual(hooks.map(({ kind }) => kind).sort(), ["ConfigMap", "DaemonSet", "Job", "Role", "RoleBinding", "ServiceAccount"]);
    for (const { metadata } of hooks) {
      assert.equal(metadata.name, "cilium-uninstall");
      assert.equal(metadata.annotations["helm.sh/hook"], "post-delete");
      assert.equal(metadata.annotations["helm.sh/hook-delete-policy"], "before-hook-creation,hook-succeeded");
    }
    assert.ok(!all.some(({ kind }) => kind === "CustomResourceDefinition"));
  });

  it("takes the image from repository, tag and digest, with pull secrets", () => {
    const digest = `sha256:${"a".repeat(64)}`;
    const all = objects("image.repository=registry.example/cilium", `image.digest=${digest}`, "image.tag=x", "imagePullSecrets[0].name=mine");
    for (const each of [find(all, "DaemonSet", "cilium"), find(all, "Deployment", "cilium-operator")]) {
      assert.equal(each.spec.template.spec.containers[0].image, `registry.example/cilium@${digest}`);
      assert.deepEqual(each.spec.template.spec.imagePullSecrets, [{ name: "mine" }]);
    }
  });

  it("refuses the API server's port without its host", () => {
    assert.match(template("k8sServicePort=7443").text, /k8sServicePort=7443: .*set k8sServiceHost too/);
  });

  it("mounts every kubelet's kubeconfig that the agent looks into", () => {
    const [container] = find(objects(), "DaemonSet", "cilium").spec.template.spec.containers;
    const mounted = (path: string): boolean => container.volumeMounts.some(({ mountPath }: any) => path.startsWith(`${mountPath}/`));
    assert.deepEqual(KUBELET_KUBECONFIGS.filter((path) => !mounted(path)), []);
  });

  it("gives the operator the API server's address with k8sServiceHost", () => {
    const all = objects("k8sServiceHost=10.0.0.1", "k8sServicePort=7443");
    const { env } = find(all, "Deployment", "cilium-operator").spec.template.spec.containers[0];
    assert.ok(env.some((each: any) => each.name === "KUBERNETES_SERVICE_HOST" && each.value === "10.0.0.1"));
    assert.equal(find(all, "ConfigMap", "cilium-config").data["k8s-service-port"], "7443");
  });
});

describe("the chart repository", () => {
  const env = { ...process.env, HELM_CONFIG_HOME: "", HELM_CACHE_HOME: "", HELM_DATA_HOME: "" };
  const home = execFileSync("mktemp", ["-d"], { encoding: "utf8" }).trim();
  for (const name of ["CONFIG", "CACHE", "DATA"] as const) env[`HELM_${name}_HOME`] = join(home, name);
  after(() => execFileSync("rm", ["-rf", home]));

  it("serves helm repo add and helm install as any other", () => {
    const port = "18879";
    const make = (target: string): string => execFileSync("make", ["-s", target, `CHART_REPO_PORT=${port}`], { cwd: root, encoding: "utf8" });
    assert.equal(make("chart-repo").trim(), `http://127.0.0.1:${port}`);
    try {
      execFileSync(tool, ["repo", "add", "cilium", `http://127.0.0.1:${port}`], { env });
      const rendered = execFileSync(tool, ["template", "cilium", "cilium/cilium", "--namespace", "kube-system"], { env, encoding: "utf8" });
      assert.match(rendered, /kind: DaemonSet/);
    } finally {
      make("chart-repo-stop");
    }
    assert.equal(spawnSync(tool, ["repo", "update"], { env }).status, 1);
  });

  it("fails in one line with the remedy when another program has the port, whatever that one answers", async () => {
    const other = createServer((_, response) => response.end("not ours"));
    await once(other.listen(0, "127.0.0.1"), "listening");
    const { port } = other.address() as AddressInfo;
    try {
      const args = ["src/image/chart-repo.ts", "start", "--port", String(port)];
      const failure = await promisify(execFile)(process.execPath, args, { cwd: root }).then(() => undefined, (error: unknown) => error as ExecFileException);
      assert.equal(failure?.code, 1);
      assert.equal(failure.stdout, "");
      assert.match(failure.stderr ?? "", new RegExp(`^chart-repo: .*port ${port} is taken.*CHART_REPO_PORT=[^\\n]*\\n$`));
      assert.ok(!existsSync(chartRepoConfig(port).pidFile));
    } finally {
      other.close();
      for (const left of globSync(`${chartRepoConfig(port).folder}{,.log}`)) rmSync(left, { recursive: true });
    }
  });
});
