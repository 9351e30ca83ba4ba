import assert from "node:assert/strict";
import { test } from "node:test";
import { readRouting } from "../../../src/compile/routing.ts";

const read = (settings: Readonly<Record<string, string>>) => readRouting((key) => settings[key]);

test("without settings pods are tunnelled and masqueraded", () => {
  assert.deepEqual(read({}), { mode: "tunnel", tunnelPort: 8472, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] });
  assert.deepEqual(read({ "routing-mode": "", "non-masquerade-cidrs": "" }), read({}));
});

test("every CIDR that is not masqueraded is named once, as the kernel names it", () => {
  const { unmasqueraded } = read({ "ipv4-native-routing-cidr": "10.1.2.3/8", "ipv6-native-routing-cidr": "FD00:0::/8", "non-masquerade-cidrs": "10.0.0.0/8, 192.168.0.0/16" });
  assert.deepEqual(unmasqueraded, ["10.0.0.0/8", "192.168.0.0/16", "fd00::/8"]);
  assert.deepEqual(read({ "masquerade-source-cidrs": "FD00:0::/8, 203.0.113.9/24" }).masqueradeFrom, ["203.0.113.0/24", "fd00::/8"]);
});

test("a setting that is wrong is refused by its key", () => {
  for (const [key, value] of [["routing-mode", "bgp"], ["auto-direct-node-routes", "true"], ["auto-direct-node-routes", "yes"], ["tunnel-port", "70000"], ["enable-ipv4-masquerade", "1"], ["ipv4-native-routing-cidr", "fd00::/8"], ["non-masquerade-cidrs", "10.0.0.0/8,x"], ["masquerade-source-cidrs", "x"]] as const) {
    assert.throws(() => read({ [key]: value }), new RegExp(key), `${key}=${value}`);
  }
});
