import { strict as assert } from "node:assert";
import { describe, it } from "node:test";
import type { Run } from "../../../src/kernel/command.ts";
import { Nft, renderNft } from "../../../src/kernel/nft.ts";
import type { NftSpec } from "../../../src/kernel/nft.ts";

const spec: NftSpec = { underlay: ["eth0"], podCidrs: ["10.0.0.0/24", "fd00::/64"], remotePods: ["10.0.1.0/24", "fd00:1::/64"], masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [], sources: [], nodes: [], routers: [] };

/** A node with one nftables table and one FORWARD chain. */
class FakeNode {
  table: string | undefined;
  policy = "ACCEPT";
  rules: string[] = [];
  applied = 0;

  readonly run: Run = (command, input = "") => {
    const [program] = command;
    const result = (stdout: string, status = 0): ReturnType<Run> => Promise.resolve({ status, stdout, stderr: "" });
    if (program === "nft" && command.includes("list")) return result(this.table ?? "", this.table === undefined ? 1 : 0);
    if (program === "nft") {
      this.table = String(input);
      this.applied++;
      return result("");
    }
    const rule = [program, ...command.slice(3)].join(" ");
    if (command[2] === "-S") return result(`-P FORWARD ${this.policy}\n`);
    if (command[2] === "-C") return result("", this.rules.includes(rule) ? 0 : 1);
    this.rules.push(rule);
    return result("");
  };
}

describe("nftables of the node", () => {
  it("are applied once, and again when others flushed or changed them", async () => {
    const node = new FakeNode();
    const nft = new Nft(node.run);
    assert.deepEqual([await nft.sync(spec), await nft.sync(spec)], ["applied", "same"]);
    node.table = undefined;
    assert.deepEqual([await nft.sync(spec), await nft.sync(spec)], ["repaired", "same"]);
    node.table = "without the guard";
    assert.deepEqual([await nft.sync(spec), await nft.sync(spec)], ["repaired", "same"]);
    assert.equal(await nft.sync({ ...spec, podCidrs: [] }), "applied");
    assert.equal(node.applied, 4);
  });

  it("masquerade each family by itself, and not to what is excluded", () => {
    const text = renderNft({ ...spec, masquerade: { ipv4: false, ipv6: true }, unmasqueraded: ["192.168.0.0/16", "fd99::/16"] });
    assert.match(text, /ip6 saddr { fd00::\/64 } ip6 daddr != { fd00:1::\/64, fd00::\/64, fd99::\/16 } counter masquerade/);
    assert.doesNotMatch(text, /ip saddr {/);
  });

  it("let pods leave under the address that was chosen, of its family alone, and never to other nodes", () => {
    const text = renderNft({ ...spec, sources: ["203.0.113.7"], nodes: ["192.0.2.2", "2001:db8::2"] });
    const [toNodes, outside, ...others] = text.split("\n").filter((line) => line.includes("oifname { \"eth0\" } ip"));
    assert.match(toNodes ?? "", /ip saddr { 10\.0\.0\.0\/24 } ip daddr { 192\.0\.2\.2 } ip daddr != { 10\.0\.0\.0\/24, 10\.0\.1\.0\/24 } counter masquerade$/);
    assert.match(outside ?? "", /ip daddr != { 10\.0\.0\.0\/24, 10\.0\.1\.0\/24 } counter snat ip to 203\.0\.113\.7$/);
    assert.equal(others.length, 1);
    assert.match(others[0] ?? "", /ip6 daddr != .* counter masquerade$/);
  });

  it("let pods through a FORWARD chain that begins to drop later, and say so once", async () => {
    const node = new FakeNode();
    const nft = new Nft(node.run);
    assert.equal(await nft.acceptForwarding(), false);
    node.policy = "DROP";
    assert.equal(await nft.acceptForwarding(), true);
    assert.equal(node.rules.length, 8);
    assert.equal(await nft.acceptForwarding(), false);
  });
});
