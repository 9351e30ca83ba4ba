import assert from "node:assert/strict";
import { test } from "node:test";
import { readEncryption, readRouting } from "../../../src/compile/index.ts";

const read = (settings: Readonly<Record<string, string>>): ReturnType<typeof readEncryption> => {
  const setting = (key: string): string | undefined => settings[key];
  return readEncryption(setting, readRouting(setting));
};

test("without the setting nothing is encrypted; with it WireGuard does", () => {
  assert.equal(read({}), undefined);
  assert.equal(read({ "encryption-enabled": "false", "encryption-type": "wireguard" }), undefined);
  assert.deepEqual(read({ "encryption-enabled": "true" }), { port: 51871 });
});

test("what encryption cannot do yet is refused by its key, never left in clear", () => {
  for (const [key, settings] of [
    ["encryption-enabled", { "encryption-enabled": "yes" }],
    ["encryption-enabled", { "encryption-enabled": "true", "routing-mode": "native" }],
    ["encryption-type", { "encryption-enabled": "true", "encryption-type": "ipsec" }],
    ["tunnel-port", { "encryption-enabled": "true", "tunnel-port": "51871" }],
  ] as const) assert.throws(() => read(settings), new RegExp(key), JSON.stringify(settings));
});
