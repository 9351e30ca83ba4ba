/** What preflight says of the network configurations that it finds. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Facts } from "../../../src/preflight/facts.ts";
import { machine, PLAN, says } from "./facts.ts";

const list = (...types: string[]): string => JSON.stringify({ cniVersion: "1.0.0", name: "n", plugins: types.map((type) => ({ type })) });

function among(files: Readonly<Record<string, string>>, cniExclusive = true): Facts {
  return machine({ plan: { ...PLAN, cniExclusive }, cni: { value: Object.entries(files).map(([name, text]) => ({ name, text })) } });
}
const CHECK = "network configurations";

describe("network configurations", () => {
  it("ours, what was set aside and what no runtime reads are none of others", () => {
    const files = { "05-cilium.conflist": list("cilium-cni"), "10-other.conflist.cilium_bak": list("ptp"), README: "text", "x.conf.bak": "{" };
    assert.deepEqual(says(among(files), CHECK), ["ok: no other in /etc/cni/net.d"]);
  });

  it("another plugin's is set aside, or in the way when its name comes first", () => {
    assert.match(says(among({ "10-calico.conflist": list("calico", "portmap") }), CHECK)[0] ?? "", /^warning: .*10-calico\.conflist \(calico, portmap\) is another network's/);
    assert.match(says(among({ "10-calico.conflist": list("calico") }, false), CHECK)[0] ?? "", /^ok: .*is read after ours/);
    assert.match(says(among({ "00-first.conf": JSON.stringify({ name: "x", type: "bridge" }) }, false), CHECK)[0] ?? "", /^blocker: .*00-first\.conf \(bridge\) is read before/);
  });

  it("of Multus asks for another setting, and tells of devices that no policy holds for", () => {
    const multus = JSON.stringify({ name: "multus", type: "multus", delegates: [{ plugins: [{ type: "cilium-cni" }] }, { type: "macvlan" }, { delegate: { type: "sriov" } }] });
    const [first = "", second = "", ...rest] = says(among({ "00-multus.conf": multus }), CHECK);
    assert.match(first, /^warning: .* is of Multus, and cni\.exclusive sets it aside/);
    assert.match(second, /^warning: .* gives pods devices of macvlan, sriov$/);
    assert.deepEqual(rest, []);
    assert.match(says(among({ "00-multus.conf": JSON.stringify({ type: "multus-shim" }) }, false), CHECK)[0] ?? "", /^warning: .* is of Multus$/);
  });

  it("macvlan and ipvlan as a node's network are told", () => {
    for (const type of ["macvlan", "ipvlan"]) assert.match(says(among({ "20-x.conflist": list(type) }, false), CHECK)[1] ?? "", new RegExp(`^warning: .* gives pods devices of ${type}$`));
  });

  it("garbage is no configuration: a problem when it is read first", () => {
    for (const text of ["", "{", "null", "[]", "7", '"type"', "{}", '{"type":7}', '{"plugins":{}}', "\u0000\u0001", '{"__proto__":{"type":"x"}}']) {
      assert.match(says(among({ "00-a.conf": text }, false), CHECK)[0] ?? "", /^blocker: .* is no network configuration, and is read before/, text);
      assert.match(says(among({ "99-a.json": text }, false), CHECK)[0] ?? "", /^unknown: /, text);
      assert.match(says(among({ "00-a.conf": text }), CHECK)[0] ?? "", /^warning: /, text);
    }
  });

  it("odd ones do not confuse: no plugins, plugins that are none, a depth without end", () => {
    let deep: unknown = { type: "macvlan" };
    for (let depth = 0; depth < 1000; depth++) deep = { delegates: [deep] };
    const odd = { "10-a.conflist": '{"plugins":[]}', "11-b.conflist": '{"plugins":[null,7,"x",{"type":["y"]},{"type":"constructor"}]}', "12-c.conf": JSON.stringify({ type: "t", delegates: [deep] }) };
    const said = says(among(odd, false), CHECK);
    assert.deepEqual(said, ["ok: /etc/cni/net.d/10-a.conflist (no plugin) is read after ours", "ok: /etc/cni/net.d/11-b.conflist (constructor) is read after ours", "ok: /etc/cni/net.d/12-c.conf (t) is read after ours"]);
  });
});
