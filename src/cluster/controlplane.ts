import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Found } from "./binaries/find.ts";
import {
  API_PORT, API_SERVICE_ADDRESSES, apiServerUrl, type ClusterConfig, clusterPaths, controlAddresses, controlNetns, POD_CIDRS, SERVICE_CIDRS,
} from "./config.ts";
import { inNetns } from "./network.ts";
import { type KeyPair, kubeconfig, Pki } from "./pki.ts";
import { capture, ensureDaemon, type ProcessIdentity, waitReady } from "./process.ts";

const SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc.cluster.local";
const START_TIMEOUT_MS = 90_000;

export interface ControlPlane {
  readonly config: ClusterConfig;
  readonly programs: Found;
  readonly pki: Pki;
  readonly cgroups: readonly string[];
}

export async function ensurePki(config: ClusterConfig): Promise<Pki> {
  const pki = new Pki(clusterPaths(config).pki);
  await Promise.all([pki.authority("ca", "local-cluster"), pki.authority("front-proxy-ca", "local-cluster-front-proxy")]);
  const { ipv4, ipv6 } = controlAddresses(config);
  const names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"];
  const addresses = [ipv4, ipv6, "127.0.0.1", ...API_SERVICE_ADDRESSES];
  const altNames = [...names.map((name) => `DNS:${name}`), ...addresses.map((address) => `IP:${address}`)];
  const client = (name: string, commonName: string, organization?: string, authority = "ca"): Promise<KeyPair> =>
    pki.certificate({ name, authority, usage: "clientAuth", subject: organization === undefined ? { commonName } : { commonName, organization } });
  await Promise.all([
    pki.certificate({ name: "apiserver", authority: "ca", usage: "serverAuth", subject: { commonName: "kube-apiserver" }, altNames }),
    client("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
    client("front-proxy-client", "front-proxy-client", undefined, "front-proxy-ca"),
    client("admin", "admin", "system:masters"),
    client("controller-manager", "system:kube-controller-manager"),
    client("scheduler", "system:kube-scheduler"),
  ]);
  pki.serviceAccountKey();
  for (const [name, user] of [["controller-manager", "system:kube-controller-manager"], ["scheduler", "system:kube-scheduler"]] as const) {
    writeFileSync(join(pki.dir, `${name}.conf`), kubeconfig(apiServerUrl(config), pki.files("ca").cert, user, pki.files(name)), { mode: 0o600 });
  }
  const admin = clusterPaths(config).kubeconfig;
  writeFileSync(admin, kubeconfig(apiServerUrl(config), pki.files("ca").cert, "admin", pki.files("admin")), { mode: 0o600 });
  chmodSync(admin, 0o600);
  return pki;
}

export async function ensureEtcd(plane: ControlPlane): Promise<void> {
  // On the loopback address of a namespace that holds the control plane alone. Without fsync: a local cluster is thrown
  // away when its machine loses power.
  const daemon = start(plane, "etcd", [
    `--data-dir=${clusterPaths(plane.config).etcd}`,
    "--listen-client-urls=http://127.0.0.1:2379",
    "--advertise-client-urls=http://127.0.0.1:2379",
    "--listen-peer-urls=http://127.0.0.1:2380",
    "--initial-advertise-peer-urls=http://127.0.0.1:2380",
    "--initial-cluster=default=http://127.0.0.1:2380",
    "--unsafe-no-fsync",
  ]);
  await waitReady("etcd", logFile(plane, "etcd"), START_TIMEOUT_MS, async () => {
    const probe = await capture(inNetns(controlNetns(plane.config), ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/2379"]), { timeoutMs: 2000 });
    return probe.code === 0;
  }, daemon);
}

export async function ensureApiServer(plane: ControlPlane): Promise<void> {
  const daemon = start(plane, "kube-apiserver", apiServerFlags(plane));
  await waitReady("kube-apiserver", logFile(plane, "kube-apiserver"), START_TIMEOUT_MS, async () => {
    const ready = await capture(kubectlArgv(plane.config, plane.programs, ["get", "--raw", "/readyz"]), { timeoutMs: 5000 });
    return ready.code === 0;
  }, daemon);
}

function apiServerFlags({ config, pki }: ControlPlane): string[] {
  const { ipv4 } = controlAddresses(config);
  const serving = pki.files("apiserver");
  const kubelet = pki.files("apiserver-kubelet-client");
  const proxy = pki.files("front-proxy-client");
  const serviceAccount = pki.serviceAccountKey();
  return [
    `--advertise-address=${ipv4}`,
    "--bind-address=::",
    `--secure-port=${API_PORT}`,
    "--etcd-servers=http://127.0.0.1:2379",
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    "--allow-privileged=true",
    `--client-ca-file=${pki.files("ca").cert}`,
    `--tls-cert-file=${serving.cert}`,
    `--tls-private-key-file=${serving.key}`,
    `--kubelet-certificate-authority=${pki.files("ca").cert}`,
    `--kubelet-client-certificate=${kubelet.cert}`,
    `--kubelet-client-key=${kubelet.key}`,
    // Nodes have no names that the API server could look up.
    "--kubelet-preferred-address-types=InternalIP",
    `--service-account-issuer=${SERVICE_ACCOUNT_ISSUER}`,
    `--service-account-key-file=${serviceAccount.public}`,
    `--service-account-signing-key-file=${serviceAccount.private}`,
    `--service-cluster-ip-range=${SERVICE_CIDRS.join(",")}`,
    `--requestheader-client-ca-file=${pki.files("front-proxy-ca").cert}`,
    "--requestheader-allowed-names=front-proxy-client",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-username-headers=X-Remote-User",
    `--proxy-client-cert-file=${proxy.cert}`,
    `--proxy-client-key-file=${proxy.key}`,
  ];
}

export async function ensureControllers(plane: ControlPlane): Promise<void> {
  const { pki } = plane;
  const conf = (name: string): string[] => ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"].map((flag) => `--${flag}=${join(pki.dir, `${name}.conf`)}`);
  const manager = start(plane, "kube-controller-manager", [
    ...conf("controller-manager"),
    "--bind-address=127.0.0.1",
    "--leader-elect=false",
    "--controllers=*,bootstrapsigner,tokencleaner",
    "--use-service-account-credentials=true",
    "--allocate-node-cidrs=true",
    `--cluster-cidr=${POD_CIDRS.join(",")}`,
    `--node-cidr-mask-size-ipv4=${plane.config.podCidrSize}`,
    "--node-cidr-mask-size-ipv6=64",
    `--service-cluster-ip-range=${SERVICE_CIDRS.join(",")}`,
    `--root-ca-file=${pki.files("ca").cert}`,
    `--client-ca-file=${pki.files("ca").cert}`,
    `--cluster-signing-cert-file=${pki.files("ca").cert}`,
    `--cluster-signing-key-file=${pki.files("ca").key}`,
    `--service-account-private-key-file=${pki.serviceAccountKey().private}`,
    `--requestheader-client-ca-file=${pki.files("front-proxy-ca").cert}`,
  ]);
  const scheduler = start(plane, "kube-scheduler", [...conf("scheduler"), "--bind-address=127.0.0.1", "--leader-elect=false"]);
  await Promise.all([healthy(plane, "kube-controller-manager", 10257, manager), healthy(plane, "kube-scheduler", 10259, scheduler)]);
}

async function healthy(plane: ControlPlane, name: string, port: number, daemon: ProcessIdentity): Promise<void> {
  await waitReady(name, logFile(plane, name), START_TIMEOUT_MS, async () => {
    const probe = await capture(inNetns(controlNetns(plane.config), ["bash", "-c", `exec 3<>/dev/tcp/127.0.0.1/${port}`]), { timeoutMs: 2000 });
    return probe.code === 0;
  }, daemon);
}

function start(plane: ControlPlane, name: string, flags: readonly string[]): ProcessIdentity {
  const { config, programs, cgroups } = plane;
  return ensureDaemon({
    argv: inNetns(controlNetns(config), [programs[name] ?? name, ...flags]),
    logFile: logFile(plane, name),
    pidFile: join(clusterPaths(config).run, `${name}.pid`),
    cgroups,
  });
}

function logFile({ config }: ControlPlane, name: string): string {
  return join(clusterPaths(config).logs, `${name}.log`);
}

export function kubectlArgv(config: ClusterConfig, programs: Found, args: readonly string[]): string[] {
  return [programs["kubectl"] ?? "kubectl", `--kubeconfig=${clusterPaths(config).kubeconfig}`, ...args];
}
