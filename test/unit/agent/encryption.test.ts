/** What a node says of its encryption when its device cannot be set up. */
import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { after, test } from "node:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Enforcement } from "../../../src/agent/encryption-enforcement.ts";
import { NodeEncryption } from "../../../src/agent/encryption.ts";
import type { EncryptionStatus } from "../../../src/agent/objects.ts";
import type { BpfMap, Run } from "../../../src/kernel/index.ts";
import { Sysctl } from "../../../src/kernel/index.ts";
import { createLogger } from "../../../src/lib/log.ts";

const logger = createLogger({ component: "test", level: "error", stream: new Writable({ write: (_chunk, _encoding, done) => done() }) });
const folder = mkdtempSync(join(tmpdir(), "cilium-encryption-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const DEVICE = [{ ifindex: 7, ifname: "cilium_wg0", flags: ["UP"], mtu: 1420, operstate: "UNKNOWN", address: "", linkinfo: { info_kind: "wireguard" } }];

test("a device that cannot be set up is told with the reason, although encryption is in force", async () => {
  const run: Run = async ([program, , , , verb]) =>
    program === "ip" && verb === "show" ? { status: 0, stdout: JSON.stringify(DEVICE), stderr: "" } : { status: 1, stdout: "", stderr: "the port is taken" };
  let reports = 0;
  const encryption = new NodeEncryption({
    run, sysctl: new Sysctl("/nowhere"), logger, keyFile: join(folder, "keys"), wish: () => ({ intervalMs: undefined, notBefore: undefined }),
    local: () => ({ name: "n1", uid: "u", internalIps: ["192.0.2.1"], routerIps: [], podCidrs: [] }),
    nodes: () => [], isUsable: () => true, enforcement: new Enforcement({ map: { lookup: () => Uint8Array.of(3, 0, 0, 0) } as unknown as BpfMap, file: join(folder, "in-force"), logger }),
    port: 51871, tunnelPort: 8472, mtu: 1420, onReport: () => void reports++,
  });
  await assert.rejects(encryption.reconcile(), /the port is taken/);
  const { phase, message } = encryption.report?.status ?? assert.fail("nothing is told");
  assert.equal(phase, "Enforced");
  assert.match(message ?? "", /cannot be set up: .*cilium_wg0.*the port is taken/);
  assert.equal(reports, 1);
});

/** A map that the machine loses when it stops. */
function volatileMap(): BpfMap {
  let value = Uint8Array.of(0, 0, 0, 0);
  return { lookup: () => value, update: (_key: Uint8Array, now: Uint8Array) => void (value = Uint8Array.from(now)) } as unknown as BpfMap;
}

test("a node that stopped while it enforced enforces again before it knows any other node; only switching off ends that", async () => {
  const file = join(folder, "kept");
  const enforcementOf = (map: BpfMap): Enforcement => new Enforcement({ map, file, logger });
  const machine = async (isUsable: boolean, phase?: "Enforced"): Promise<{ readonly enforcement: Enforcement; readonly encryption: NodeEncryption }> => {
    const enforcement = enforcementOf(volatileMap());
    const others = phase === undefined ? [] : [{ name: "n2", internalIps: ["192.0.2.2"], routerIps: [], podCidrs: [], encryption: { phase, device: "Kernel" as const, peers: 1 } }, { name: "n3", internalIps: ["192.0.2.3"], routerIps: [], podCidrs: [] }];
    const encryption = new NodeEncryption({
      run: async () => ({ status: 0, stdout: "[]", stderr: "" }), sysctl: new Sysctl("/nowhere"), logger, keyFile: join(folder, "keys"), wish: () => ({ intervalMs: undefined, notBefore: undefined }),
      local: () => ({ name: "n1", uid: "u", internalIps: ["192.0.2.1"], routerIps: [], podCidrs: [] }),
      nodes: () => others, isUsable: () => isUsable, enforcement, port: 51871, tunnelPort: 8472, mtu: 1420, onReport: () => undefined,
    });
    await encryption.reconcile();
    return { enforcement, encryption };
  };
  assert.equal((await machine(false)).enforcement.isInForce, false);
  assert.equal((await machine(true, "Enforced")).enforcement.isInForce, true);
  const back = await machine(false);
  assert.equal(back.enforcement.isInForce, true);
  await back.encryption.decided;
  await back.enforcement.end();
  assert.equal(back.enforcement.isInForce, false);
  assert.equal((await machine(false)).enforcement.isInForce, false);
});

test("what comes in clear is dropped once all others enforce, also after a stop of the machine; a node that comes later takes nothing of it back", async () => {
  const file = join(folder, "receipt");
  let phases: readonly (EncryptionStatus["phase"] | undefined)[] = [];
  const machine = async (isUsable: boolean): Promise<Enforcement> => {
    const enforcement = new Enforcement({ map: volatileMap(), file, logger });
    const encryption = new NodeEncryption({
      run: async () => ({ status: 0, stdout: "[]", stderr: "" }), sysctl: new Sysctl("/nowhere"), logger, keyFile: join(folder, "keys"), wish: () => ({ intervalMs: undefined, notBefore: undefined }),
      local: () => ({ name: "n1", uid: "u", internalIps: ["192.0.2.1"], routerIps: [], podCidrs: [] }),
      nodes: () => phases.map((phase, index) => ({ name: `n${index + 2}`, internalIps: [`192.0.2.${index + 2}`], routerIps: [], podCidrs: [], ...(phase === undefined ? {} : { encryption: { phase, device: "Kernel" as const, peers: 1 } }) })),
      isUsable: () => isUsable, enforcement, port: 51871, tunnelPort: 8472, mtu: 1420, onReport: () => undefined,
    });
    await encryption.reconcile();
    return enforcement;
  };
  phases = ["Enforced", "Confirmed"];
  const before = await machine(true);
  assert.deepEqual([before.isInForce, before.isOnReceipt], [true, false]);
  phases = ["Enforced", "Enforced"];
  assert.equal((await machine(true)).isOnReceipt, true);
  assert.equal((await machine(false)).isOnReceipt, true, "from the disk");
  phases = ["Enforced", "Enforced", undefined];
  const later = await machine(true);
  assert.equal(later.isOnReceipt, true);
  await later.end();
  assert.deepEqual([later.isInForce, later.isOnReceipt, (await machine(false)).isInForce], [false, false, false]);
});

test("a node that is away is looked for ever more rarely, a change at once", async () => {
  let missing: readonly string[] = [];
  const encryption = new NodeEncryption({
    run: async () => ({ status: 0, stdout: "[]", stderr: "" }), sysctl: new Sysctl("/nowhere"), logger, keyFile: join(folder, "keys"), wish: () => ({ intervalMs: undefined, notBefore: undefined }),
    local: () => ({ name: "n1", uid: "u", internalIps: ["192.0.2.1"], routerIps: [], podCidrs: [] }),
    nodes: () => [], isUsable: () => true, enforcement: new Enforcement({ map: volatileMap(), file: join(folder, "away"), logger }), port: 51871, tunnelPort: 8472, mtu: 1420, onReport: () => void (missing = [...missing, "told"]),
  });
  const delays: number[] = [];
  for (let pass = 0; pass < 8; pass++) delays.push((await encryption.reconcile()).requeueAfterMs ?? assert.fail("it rests"));
  assert.ok((delays[0] ?? 0) <= 500 && (delays.at(-1) ?? 0) >= 2_500 && Math.max(...delays) <= 5_000, delays.join());
  assert.deepEqual(missing, ["told"]);
});
