/** What must not get into the repository, and what must stay equal in it. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { load } from "js-yaml";
import { RELEASES } from "../../kernels/kernels.ts";

const root = resolve(import.meta.dirname, "..", "..", "..");
const files = execFileSync("git", ["ls-files"], { cwd: root, encoding: "utf8" })
  .split("\n")
  .filter((file) => file !== "" && existsSync(join(root, file)) && statSync(join(root, file)).isFile());

/** Joined here, so that this file does not hold what it looks for. */
const FORBIDDEN = [
  ["/wo", "rk/"],
  ["/ro", "ot/"],
  ["/tmp/", "kb"],
  ["/tmp/", "brief"],
  ["npmjs", ".org"],
  ["proxy.golang", ".org"],
  ["pypi", ".org"],
  ["deb.debian", ".org"],
  [".pkg", ".dev"],
].map((parts) => parts.join(""));

function read(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

test("no file names a path of one machine or a package registry", () => {
  const found = files.flatMap((file) => {
    const text = read(file);
    return FORBIDDEN.filter((word) => text.includes(word)).map((word) => `${file}: ${word}`);
  });
  assert.deepEqual(found, []);
});

test("src holds programs and nothing else: no notes, no data, nothing built", () => {
  const sources = files.filter((file) => file.startsWith("src/"));
  assert.ok(sources.length > 0);
  assert.deepEqual(sources.filter((file) => !/\.(ts|c|h|sh)$/.test(file)), []);
});

test("files are at most 400 lines, generated ones apart", () => {
  const sources = files.filter((file) => /\.(ts|c|h|sh)$/.test(file) && !file.includes("/gen/") && file !== "bpf/vmlinux.h");
  assert.deepEqual(sources.filter((file) => read(file).split("\n").length > 401), []);
});

test("the chart has the version of package.json", () => {
  const { version } = JSON.parse(read("package.json")) as { version: string };
  const chart = load(read("config/helm/cilium/Chart.yaml")) as { version: string; appVersion: string };
  assert.deepEqual([chart.version, chart.appVersion], [version, version]);
});

test("the first sample is the article's first manifest, byte for byte", () => {
  const article = [
    "apiVersion: cilium.io/v2",
    "kind: CiliumNetworkPolicy",
    "metadata:",
    "  name: allow-frontend-to-api",
    "spec:",
    "  endpointSelector:",
    "    matchLabels:",
    "      app: api",
    "  ingress:",
    "  - fromEndpoints:",
    "    - matchLabels:",
    "        app: frontend",
    "    toPorts:",
    "    - ports:",
    '      - port: "8080"',
    "        protocol: TCP",
    "",
  ];
  assert.equal(read("samples/allow-frontend-to-api.yaml"), article.join("\n"));
});

test("what README says is tested is what the tests run on, and kind's file is what the chart needs", () => {
  const readme = read("README.md");
  const row = (name: string): string => readme.split("\n").find((line) => line.startsWith(`| ${name} |`)) ?? "";
  const versions = [/"(1\.\d+\.\d+)"/.exec(read("test/e2e/oldest-kubernetes.test.ts"))?.[1], /^K8S \?= (\S+)$/m.exec(read("Makefile"))?.[1]];
  assert.ok(row("Kubernetes").endsWith(`| ${versions.join(", ")} |`), row("Kubernetes"));
  const oldest = />=(\d+\.\d+)/.exec(read("config/helm/cilium/Chart.yaml"))?.[1] ?? "";
  assert.ok(row("Kubernetes").startsWith(`| Kubernetes | ${oldest} and newer`), `the chart wants ${oldest}`);
  assert.ok((versions[0] ?? "").startsWith(`${oldest}.`), "the oldest that the chart admits is tested");
  for (const { version } of RELEASES) assert.match(row("Linux on the nodes"), new RegExp(`\\b${version.replace(".", "\\.")}\\b`));
  const kind = load(read("config/kind.yaml")) as { networking: { disableDefaultCNI: boolean; ipFamily: string; kubeProxyMode?: string }; nodes: { role: string }[] };
  assert.deepEqual([kind.networking.disableDefaultCNI, kind.networking.ipFamily, kind.networking.kubeProxyMode, kind.nodes.length], [true, "dual", undefined, 3]);
});
