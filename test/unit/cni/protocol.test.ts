import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CniError } from "../../../src/cni/index.ts";
import { formatError, formatResult, parseRequest, versionOf } from "../../../src/cni/protocol.ts";

const line = (more: Record<string, unknown> = {}, config: unknown = { cniVersion: "1.0.0" }): string =>
  JSON.stringify({ command: "ADD", containerId: "c1", netns: "/n", ifname: "eth0", args: "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p;K8S_POD_UID=u", path: "", config: JSON.stringify(config), ...more });
const codeOf = (text: string): number | undefined => {
  try {
    parseRequest(text);
    return undefined;
  } catch (thrown) {
    assert.ok(thrown instanceof CniError, String(thrown));
    return thrown.cniCode;
  }
};

describe("CNI protocol", () => {
  it("reads a request", () => {
    const request = parseRequest(line());
    assert.deepEqual(request.pod, { namespace: "ns", name: "p", uid: "u" });
    assert.equal(request.cniVersion, "1.0.0");
  });

  it("refuses what the specification refuses, with its code", () => {
    assert.equal(codeOf("nonsense"), 6);
    assert.equal(codeOf(line({ config: "{" })), 6);
    assert.equal(codeOf(line({ config: "[]" })), 6);
    assert.equal(codeOf(line({}, {})), 1);
    assert.equal(codeOf(line({ command: "add" })), 4);
    for (const containerId of ["", ".x", "a/b", "a b", "é", "x".repeat(200)]) assert.equal(codeOf(line({ containerId })), 4, containerId);
    for (const ifname of ["", ".", "..", "a/b", "a:b", "a b", "x".repeat(16), "lo", "ééééééééé"]) assert.equal(codeOf(line({ ifname })), 4, ifname);
    for (const args of ["K8S_POD_NAMESPACE=../x;K8S_POD_NAME=p", "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=A B", "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p;K8S_POD_UID=a/b"]) assert.equal(codeOf(line({ args })), 4, args);
    assert.equal(codeOf(line({ command: "GC" })), 7);
    assert.equal(codeOf(line({ command: "GC" }, { cniVersion: "1.1.0", "cni.dev/valid-attachments": [{}] })), 7);
  });

  it("lets a DEL through whatever its configuration and arguments are", () => {
    for (const config of [{}, { cniVersion: "0.1.0" }]) assert.equal(codeOf(line({ command: "DEL", args: "K8S_POD_NAMESPACE=!;K8S_POD_NAME=!" }, config)), undefined);
  });

  it("answers in the version that was asked for", () => {
    const result = { interfaces: [{ name: "lxc1", mac: "m", mtu: 1450 }], ips: [{ address: "10.0.0.2/32", gateway: "10.0.0.1", interface: 0 }, { address: "fd00::2/128", gateway: "fd00::1", interface: 0 }], routes: [{ dst: "0.0.0.0/0", gw: "10.0.0.1" }] };
    const of = (version: "0.3.1" | "1.0.0" | "1.1.0"): { cniVersion: string; ips: { version?: string }[]; interfaces: { mtu?: number }[] } => JSON.parse(formatResult(result, version)) as never;
    assert.deepEqual(of("0.3.1").ips.map((ip) => ip.version), ["4", "6"]);
    assert.equal(of("1.0.0").ips[0]?.version, undefined);
    assert.equal(of("1.0.0").interfaces[0]?.mtu, undefined);
    assert.equal(of("1.1.0").interfaces[0]?.mtu, 1450);
    assert.deepEqual(JSON.parse(formatError(new CniError(11, "later", "why"), "0.4.0")), { cniVersion: "0.4.0", code: 11, msg: "later", details: "why" });
    assert.equal(versionOf(line({}, { cniVersion: "0.4.0" })), "0.4.0");
    assert.equal(versionOf("x"), "1.1.0");
  });

  it("answers anything with a result or a CniError (property)", () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json(), fc.record({ command: fc.constantFrom("ADD", "DEL", "GC", "CHECK", "STATUS"), containerId: fc.string(), ifname: fc.string(), args: fc.string(), config: fc.json() }).map((value) => JSON.stringify(value))), (text) => void codeOf(text)), { numRuns: 500 });
  });
});
