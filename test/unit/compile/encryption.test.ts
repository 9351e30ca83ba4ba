import assert from "node:assert/strict";
import { test } from "node:test";
import { encryptedRouting, readEncryption, readRouting } from "../../../src/compile/index.ts";

const read = (settings: Readonly<Record<string, string>>): ReturnType<typeof readEncryption> => {
  const setting = (key: string): string | undefined => settings[key];
  return readEncryption(setting, readRouting(setting));
};

test("without the setting nothing is encrypted; with it WireGuard does", () => {
  assert.equal(read({}), undefined);
  assert.equal(read({ "encryption-enabled": "false", "encryption-type": "wireguard" }), undefined);
  assert.deepEqual(read({ "encryption-enabled": "true" }), { port: 51871, persistentKeepalive: 0, keyRotationMs: undefined, userspace: "auto" });
  const settings = { "encryption-port": "5000", "encryption-persistent-keepalive": "25", "encryption-key-rotation-interval": "24h", "encryption-userspace": "always" };
  assert.deepEqual(read({ "encryption-enabled": "true", ...settings }), { port: 5000, persistentKeepalive: 25, keyRotationMs: 86_400_000, userspace: "always" });
});

test("where pods' packets between nodes are encrypted every routing mode leads through the tunnel, which is inside WireGuard", () => {
  for (const mode of ["tunnel", "native", "auto"] as const) {
    const settings: Readonly<Record<string, string>> = { "encryption-enabled": "true", "routing-mode": mode, "ipv4-native-routing-cidr": "10.0.0.0/8", "auto-direct-node-routes": String(mode !== "tunnel") };
    const decision = readRouting((key) => settings[key]);
    assert.notEqual(read(settings), undefined);
    assert.deepEqual(encryptedRouting(decision, true), { ...decision, mode: "tunnel", directRoutes: false });
    assert.equal(encryptedRouting(decision, false), decision);
  }
});

test("what encryption cannot do yet is refused by its key, never left in clear", () => {
  for (const [key, settings] of [
    ["encryption-enabled", { "encryption-enabled": "yes" }],
    ["encryption-type", { "encryption-enabled": "true", "encryption-type": "ipsec" }],
    ["tunnel-port", { "encryption-enabled": "true", "tunnel-port": "51871" }],
    ["tunnel-port", { "encryption-enabled": "true", "tunnel-port": "51872" }],
    ["encryption-port", { "encryption-port": "65535" }],
    ["encryption-persistent-keepalive", { "encryption-persistent-keepalive": "25s" }],
    ["encryption-key-rotation-interval", { "encryption-key-rotation-interval": "5" }],
    ["encryption-userspace", { "encryption-userspace": "sometimes" }],
  ] as const) assert.throws(() => read(settings), new RegExp(key), JSON.stringify(settings));
});
