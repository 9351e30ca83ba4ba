/**
 * A real etcd and kube-apiserver on loopback for tests of what talks to the API server, with nothing else of a
 * cluster. The binaries are those that `make cluster` uses (KUBE_BIN, PATH, the cache); without them it
 * fails: `make programs`.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { sleep } from "../../src/lib/backoff.ts";

export interface ApiServer {
  readonly url: string;
  /** A kubeconfig file with all rights. */
  readonly kubeconfig: string;
  readonly directory: string;
  /** A kubeconfig for another user, whose rights RBAC decides. */
  kubeconfigOf(user: string): string;
  /** A kubeconfig with a token that the API server itself gave out. */
  kubeconfigWith(name: string, token: string): string;
  kubectl: string;
  /** Ends the API server alone, as a crash does. */
  kill(): Promise<void>;
  /** Starts it again on the same port with the same data. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

const ADMIN_TOKEN = "admin-token-of-a-test";

/** Directories that may hold the binary, best first. */
function find(binary: string): string | undefined {
  const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "cilium-dev");
  const cached = ["kubernetes", "etcd"].flatMap((project) =>
    existsSync(join(cache, project)) ? readdirSync(join(cache, project)).sort().reverse().map((version) => join(cache, project, version)) : [],
  );
  const directories = [process.env["KUBE_BIN"] ?? "", ...(process.env["PATH"] ?? "").split(":"), ...cached];
  return directories.filter((directory) => directory !== "").map((directory) => join(directory, binary)).find(existsSync);
}

export async function freePort(): Promise<number> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const { port } = server.address() as AddressInfo;
  const closed = Promise.withResolvers<void>();
  server.close(() => closed.resolve());
  await closed.promise;
  return port;
}

function run(binary: string, args: readonly string[], log: string): ChildProcess {
  const path = find(binary);
  if (path === undefined) throw new Error(`${binary} not found: make programs`);
  const out = openSync(log, "a");
  return spawn(path, args, { stdio: ["ignore", out, out] });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once("exit", () => resolve());
  child.kill("SIGKILL");
  await promise;
}

async function untilReady(url: string, ca: string | undefined, child: ChildProcess, log: string): Promise<void> {
  const { get } = await import("node:https");
  for (let tries = 0; tries < 300; tries++) {
    if (child.exitCode !== null) throw new Error(`ended early: ${readFileSync(log, "utf8").slice(-2000)}`);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const request = get(`${url}/readyz`, { ca, headers: { authorization: `Bearer ${ADMIN_TOKEN}` }, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.on("error", () => resolve(false));
    if (await promise) return;
    await sleep(100);
  }
  throw new Error(`not ready in 30 s: ${readFileSync(log, "utf8").slice(-2000)}`);
}

function kubeconfigText(url: string, caFile: string, token: string): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "test",
    contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
    clusters: [{ name: "test", cluster: { server: url, "certificate-authority": caFile } }],
    users: [{ name: "test", user: { token } }],
  });
}

export interface ApiServerOptions {
  /** Names of users without any right of their own. */
  readonly users?: readonly string[];
  readonly flags?: readonly string[];
}

export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const directory = mkdtempSync(join(tmpdir(), "cilium-apiserver-"));
  const [etcdPort, peerPort, port] = [await freePort(), await freePort(), await freePort()];
  const users = options.users ?? [];
  writeFileSync(join(directory, "tokens.csv"), [`${ADMIN_TOKEN},admin,admin,system:masters`, ...users.map((user) => `${user}-token,${user},${user}`)].join("\n"));
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  writeFileSync(join(directory, "sa.key"), privateKey.export({ type: "pkcs1", format: "pem" }));
  const etcd = run(
    "etcd",
    [
      `--data-dir=${join(directory, "etcd")}`,
      `--listen-client-urls=http://127.0.0.1:${etcdPort}`,
      `--advertise-client-urls=http://127.0.0.1:${etcdPort}`,
      `--listen-peer-urls=http://127.0.0.1:${peerPort}`,
      "--unsafe-no-fsync",
    ],
    join(directory, "etcd.log"),
  );
  const log = join(directory, "apiserver.log");
  const startServer = (): ChildProcess =>
    run(
      "kube-apiserver",
      [
        `--etcd-servers=http://127.0.0.1:${etcdPort}`,
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        `--secure-port=${port}`,
        `--cert-dir=${join(directory, "certs")}`,
        "--service-cluster-ip-range=10.96.0.0/16",
        `--service-account-key-file=${join(directory, "sa.key")}`,
        `--service-account-signing-key-file=${join(directory, "sa.key")}`,
        "--service-account-issuer=https://kubernetes.default.svc",
        `--token-auth-file=${join(directory, "tokens.csv")}`,
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
        ...(options.flags ?? []),
      ],
      log,
    );
  let server = startServer();
  const url = `https://127.0.0.1:${port}`;
  const caFile = join(directory, "certs", "apiserver.crt");
  const ready = async (): Promise<void> => {
    for (let tries = 0; !existsSync(caFile) && tries < 200; tries++) await sleep(50);
    await untilReady(url, existsSync(caFile) ? readFileSync(caFile, "utf8") : undefined, server, log);
  };
  const stop = async (): Promise<void> => {
    await end(server);
    await end(etcd);
    rmSync(directory, { recursive: true, force: true });
  };
  const writeKubeconfig = (name: string, token: string): string => {
    const file = join(directory, `${name}.kubeconfig`);
    writeFileSync(file, kubeconfigText(url, caFile, token));
    return file;
  };
  try {
    await ready();
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  return {
    url,
    directory,
    kubectl: find("kubectl") ?? "kubectl",
    kubeconfig: writeKubeconfig("admin", ADMIN_TOKEN),
    kubeconfigOf: (user) => writeKubeconfig(user, `${user}-token`),
    kubeconfigWith: writeKubeconfig,
    kill: () => end(server),
    async restart() {
      await end(server);
      server = startServer();
      await ready();
    },
    stop,
  };
}
