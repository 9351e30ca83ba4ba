/** What a node says of its encryption when its device cannot be set up. */
import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { test } from "node:test";
import { NodeEncryption } from "../../../src/agent/encryption.ts";
import type { BpfMap, Run } from "../../../src/kernel/index.ts";
import { Sysctl } from "../../../src/kernel/index.ts";
import { createLogger } from "../../../src/lib/log.ts";

const logger = createLogger({ component: "test", level: "error", stream: new Writable({ write: (_chunk, _encoding, done) => done() }) });
const DEVICE = [{ ifindex: 7, ifname: "cilium_wg0", flags: ["UP"], mtu: 1420, operstate: "UNKNOWN", address: "", linkinfo: { info_kind: "wireguard" } }];

test("a device that cannot be set up is told with the reason, although encryption is in force", async () => {
  const run: Run = async ([program, , , , verb]) =>
    program === "ip" && verb === "show" ? { status: 0, stdout: JSON.stringify(DEVICE), stderr: "" } : { status: 1, stdout: "", stderr: "the port is taken" };
  let reports = 0;
  const encryption = new NodeEncryption({
    run, sysctl: new Sysctl("/nowhere"), logger, device: "cilium_wg0",
    local: () => ({ name: "n1", uid: "u", internalIps: ["192.0.2.1"], routerIps: [], podCidrs: [] }),
    nodes: () => [], isUsable: () => true, map: { lookup: () => Uint8Array.of(1, 0, 0, 0) } as unknown as BpfMap,
    port: 51871, tunnelPort: 8472, mtu: 1420, onReport: () => void reports++,
  });
  await assert.rejects(encryption.reconcile(), /the port is taken/);
  const { phase, message } = encryption.report?.status ?? assert.fail("nothing is told");
  assert.equal(phase, "Enforced");
  assert.match(message ?? "", /cilium_wg0 cannot be set up: .*the port is taken/);
  assert.equal(reports, 1);
});
