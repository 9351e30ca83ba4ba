import assert from "node:assert/strict";
import { test } from "node:test";
import { directRoutes, masqueradeSources, podNeighbours, podRoutes, routerOf, tunnelRoutes } from "../../../src/agent/node-routes.ts";

const source = routerOf(["10.0.0.1", "fd00::1"]);
const remote = (cidr: string, nodeIp: string | undefined) => ({ cidr, nodeName: "b", nodeIp, tunnelIp: "192.0.2.2" });

test("through the tunnel every remote CIDR is on cilium_host, from the router's address of its family", () => {
  assert.deepEqual(tunnelRoutes([remote("fd01::/64", undefined)], source, 1450), { routes: [{ destination: "fd01::/64", device: "cilium_host", source: "fd00::1", mtu: 1450 }], failures: [] });
});

test("a direct route needs a next hop on a shared segment of the underlay; each that cannot be says why", () => {
  const ways = new Map([
    ["192.0.2.2", { device: "eth0", gateway: undefined }],
    ["198.51.100.2", { device: "eth0", gateway: "192.0.2.254" }],
    ["203.0.113.2", { device: "docker0", gateway: undefined }],
  ]);
  const { routes, failures } = directRoutes(
    [remote("10.1.0.0/24", "192.0.2.2"), remote("10.2.0.0/24", "198.51.100.2"), remote("10.3.0.0/24", "203.0.113.2"), remote("10.4.0.0/24", "192.0.2.9"), remote("fd04::/64", undefined)],
    ways, ["eth0"], 1500,
  );
  assert.deepEqual(routes, [{ destination: "10.1.0.0/24", device: "eth0", via: "192.0.2.2", source: undefined, mtu: 1500 }]);
  assert.deepEqual(failures.map((text) => /10\.2.*behind the gateway|10\.3.*no underlay device|10\.4.*no route leads|fd04.*no InternalIP/.test(text)), [true, true, true, true]);
});

test("of the node's addresses the first in the blocks is the one for pods, of each family that is masqueraded and named; where there is none it is said", () => {
  const own = ["192.0.2.1", "203.0.113.9", "203.0.113.10", "fd00::1"];
  const both = { ipv4: true, ipv6: true };
  assert.deepEqual(masqueradeSources(["203.0.113.0/24", "fd00::/64"], own, both), { sources: ["203.0.113.9", "fd00::1"], failures: [] });
  assert.deepEqual(masqueradeSources(["203.0.113.10/32"], own, both), { sources: ["203.0.113.10"], failures: [] });
  assert.deepEqual(masqueradeSources(undefined, own, both), { sources: [], failures: [] });
  const { sources, failures } = masqueradeSources(["198.51.100.0/24", "::/0"], own, both);
  assert.deepEqual(sources, ["fd00::1"], "the blocks of one family are none of the other");
  assert.match(failures.join(), /^no address of the node \(192\.0\.2\.1, 203\.0\.113\.9, 203\.0\.113\.10\) is in the source CIDRs 198\.51\.100\.0\/24 .*under that of the device$/);
  assert.deepEqual(masqueradeSources(["198.51.100.0/24"], own, { ipv4: false, ipv6: true }), { sources: [], failures: [] });
});

test("a pod has a route and a neighbour entry of each family that it has", () => {
  const attachment = { hostIfname: "lxc1", ipv4: "10.0.0.2", ipv6: "fd00::2", mac: "02:00:00:00:00:02" } as never;
  assert.deepEqual(podRoutes([attachment], source).map((route) => [route.destination, route.source]), [["10.0.0.2", "10.0.0.1"], ["fd00::2", "fd00::1"]]);
  assert.deepEqual(podNeighbours([attachment]), ["10.0.0.2", "fd00::2"].map((address) => ({ address, device: "lxc1", mac: "02:00:00:00:00:02" })));
});
