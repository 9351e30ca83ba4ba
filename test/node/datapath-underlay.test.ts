/**
 * Underlays that are not one device with IPv4: nodes with IPv6 alone between them, nodes with two devices. Who reaches
 * whom, under which address, and whom neither device lets in. Needs root.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import type { Server } from "../e2e/harness/pods.ts";
import { DropReason, Identity } from "../../src/kernel/gen/types.ts";
import { Lab, OUTSIDE, PREFIX, a1, b1, c2, router, run, second, second6, underlay, underlay6 } from "./datapath/lab.ts";
import type { LabOptions, Pod } from "./datapath/lab.ts";

const [N1, N2] = [`${PREFIX}n1`, `${PREFIX}n2`];
const PORT = 8080;
const STREAMS = 8090;
/** Addresses that no pod has, and that the outside is told to have. */
const EXCLUDED = ["198.18.0.0/24", "2001:db8:e::/64"] as const;

interface Bench {
  readonly lab: Lab;
  readonly heard: ReadonlyMap<Pod | string, Server>;
}

/** Everybody serves, and says whom it heard. */
async function bench(options: LabOptions): Promise<Bench> {
  const lab = await Lab.start(options);
  for (const pod of [b1, c2]) lab.serve(pod, STREAMS);
  const heard = new Map<Pod | string, Server>();
  for (const where of [b1, c2, N1, N2, OUTSIDE]) heard.set(where, await lab.site(where).serve(PORT));
  return { lab, heard };
}

function close({ lab, heard }: Bench): void {
  for (const server of heard.values()) server.close();
  lab.stop();
}

let words = 0;

/** Asks by TCP and UDP; @returns the addresses under which the one that was asked saw it. */
async function seen({ lab, heard }: Bench, from: Pod | string, asked: Pod | string, address: string): Promise<readonly string[]> {
  const text = `word-${++words}`;
  for (const protocol of ["tcp", "udp"] as const) {
    const answer = await lab.site(from).ask(protocol, address, PORT, { text, timeoutMs: 20_000 });
    assert.ok(answer.answered, `${protocol} ${address}: ${answer.detail}`);
  }
  return [...new Set(heard.get(asked)?.received().filter((line) => line.text === text).map(({ peer }) => peer))];
}

async function cutOff({ lab, heard }: Bench, from: Pod | string, asked: Pod | string, address: string): Promise<void> {
  const text = `word-${++words}`;
  await Promise.all((["tcp", "udp"] as const).map(async (protocol) => await lab.site(from).isCutFrom(protocol, address, PORT, text)));
  assert.deepEqual(heard.get(asked)?.received().filter((line) => line.text === text), []);
}

/** What holds over every underlay. */
function everywhere(of: () => Bench): void {
  afterEach(() => of().lab.forget());

  test("pods of two nodes reach each other under their own addresses, and much at once", async () => {
    for (const [index, to] of [c2.ipv4, c2.ipv6].entries()) {
      assert.deepEqual(await seen(of(), a1, c2, to), [[a1.ipv4, a1.ipv6][index]]);
      assert.ok(of().lab.echo(a1, to, STREAMS, "x".repeat(1_000_000)), to);
    }
    assert.deepEqual([await of().lab.drops(1), await of().lab.drops(2)], [[], []]);
  });

  test("the other node judges by identity, and a rule that goes cuts", async () => {
    await of().lab.policy(c2, { ingress: [{ peer: a1.identity, rule: 51 }] });
    for (const to of [c2.ipv4, c2.ipv6]) {
      await seen(of(), a1, c2, to);
      await cutOff(of(), b1, c2, to);
    }
    const connection = of().lab.connect(a1, c2.ipv4, STREAMS);
    assert.ok(await connection.send("before"));
    await of().lab.policy(c2, { ingress: [] });
    assert.ok(!(await connection.send("after")));
    connection.close();
    assert.deepEqual(await of().lab.drops(2), [DropReason.POLICY_DENIED]);
  });

  test("a node reaches its own pods whatever they allow, and those of the other as they allow it", async () => {
    for (const pod of [b1, c2]) await of().lab.policy(pod, { ingress: [], egress: [] });
    for (const to of [b1.ipv4, b1.ipv6]) await seen(of(), N1, b1, to);
    for (const to of [c2.ipv4, c2.ipv6]) await cutOff(of(), N1, c2, to);
    await of().lab.policy(c2, { ingress: [{ peer: Identity.REMOTE_NODE, rule: 41 }], egress: [] });
    for (const to of [c2.ipv4, c2.ipv6]) await seen(of(), N1, c2, to);
  });

  test("a pod reaches its own node as host and the other as remote-node, each only when its egress says so", async () => {
    const own = of().lab.ownAddressesOf(1);
    const other = of().lab.addressesOf(2);
    for (const to of own) await seen(of(), a1, N1, to);
    for (const to of other) await seen(of(), a1, N2, to);
    await of().lab.policy(a1, { egress: [{ peer: Identity.HOST, rule: 31 }] });
    for (const to of [...own, router(1).ipv4, router(1).ipv6]) await seen(of(), a1, N1, to);
    for (const to of other) await cutOff(of(), a1, N2, to);
    await of().lab.policy(a1, { egress: [{ peer: Identity.REMOTE_NODE, rule: 32 }] });
    for (const to of other) await seen(of(), a1, N2, to);
    for (const to of [...own, router(1).ipv4]) await cutOff(of(), a1, N1, to);
  });
}

describe("nodes with IPv6 alone between them, through the tunnel", () => {
  let it: Bench;
  before(async () => { it = await bench({ nodes: "ipv6 alone" }); });
  after(() => close(it));
  everywhere(() => it);

  test("a tunnel from a machine that is no node opens nothing", async () => {
    const link = ["link", "add", "vx", "type", "vxlan", "id", `${b1.identity}`, "remote", underlay6(1), "dstport", "8472", "dev", "eth0"] as const;
    run("ip", "-n", OUTSIDE, ...link);
    run("ip", "-n", OUTSIDE, "link", "set", "vx", "up");
    run("ip", "-n", OUTSIDE, "address", "add", `${c2.ipv4}/32`, "dev", "lo");
    run("ip", "-n", OUTSIDE, "route", "add", a1.ipv4, "dev", "vx", "src", c2.ipv4);
    run("ip", "-n", OUTSIDE, "neigh", "add", a1.ipv4, "lladdr", "02:00:00:00:00:01", "dev", "vx");
    assert.ok(!it.lab.ping(OUTSIDE, a1.ipv4));
    assert.ok((await it.lab.drops(1)).includes(DropReason.SPOOFED_OVERLAY));
    run("ip", "-n", OUTSIDE, "link", "delete", "vx");
  });
});

describe("nodes with two devices, where pods leave under addresses of the first", () => {
  let it: Bench;
  before(async () => { it = await bench({ nodes: "second device", masqueradeFrom: [`${underlay(1)}/32`, `${underlay6(1)}/128`] }); });
  after(() => close(it));

  test("by whichever device a pod leaves, the outside sees the chosen address, and answers reach the pod; another node sees the one that it knows", async () => {
    for (const address of [underlay(1), underlay6(1)]) run("ip", "-n", OUTSIDE, "route", "replace", address, "via", address.includes(":") ? second6(1) : second(1));
    for (const [to, expected] of [[second(9), underlay(1)], [second6(9), underlay6(1)]] as const) assert.deepEqual(await seen(it, a1, OUTSIDE, to), [expected]);
    for (const [to, expected] of [[second(2), second(1)], [second6(2), second6(1)]] as const) assert.deepEqual(await seen(it, a1, N2, to), [expected]);
  });
});

for (const mode of ["tunnel", "native"] as const) {
  describe(`nodes with two devices, known by the second one's addresses, ${mode}`, () => {
    let it: Bench;
    before(async () => { it = await bench({ mode, nodes: "second device", unmasqueraded: EXCLUDED }); });
    after(() => close(it));
    everywhere(() => it);

    test("to the outside a pod leaves with the address of the device by which it leaves", async () => {
      for (const [to, expected] of [[underlay(9), underlay(1)], [underlay6(9), underlay6(1)], [second(9), second(1)], [second6(9), second6(1)]] as const) {
        assert.deepEqual(await seen(it, a1, OUTSIDE, to), [expected]);
      }
    });

    test("what is excluded from masquerade sees the pod's own address, its neighbours do not", async () => {
      const back = [[a1.ipv4, second(1)], [a1.ipv6, second6(1)]] as const;
      for (const [own, via] of back) run("ip", "-n", OUTSIDE, "route", "add", own, "via", via);
      for (const [index, [excluded, beside]] of [["198.18.0.7", "198.18.1.7"], ["2001:db8:e::7", "2001:db8:e:1::7"]].entries() as Iterable<[number, [string, string]]>) {
        for (const address of [excluded, beside]) {
          run("ip", "-n", OUTSIDE, "address", "add", address, "dev", "lo", ...(index === 1 ? ["nodad"] : []));
          run("ip", "-n", N1, "route", "add", address, "via", index === 0 ? second(9) : second6(9));
        }
        assert.deepEqual(await seen(it, a1, OUTSIDE, excluded), [[a1.ipv4, a1.ipv6][index]]);
        assert.deepEqual(await seen(it, a1, OUTSIDE, beside), [[second(1), second6(1)][index]]);
      }
    });

    test("the policy of a pod is judged where it leaves, on either device", async () => {
      await it.lab.policy(a1, { egress: [{ peer: Identity.WORLD_IPV6, rule: 31 }] });
      for (const to of [underlay6(9), second6(9)]) await seen(it, a1, OUTSIDE, to);
      for (const to of [underlay(9), second(9)]) await cutOff(it, a1, OUTSIDE, to);
      assert.deepEqual(await it.lab.drops(1), [DropReason.POLICY_DENIED]);
    });

    test("no machine passes for this node's pod, on either device", async () => {
      run("ip", "-n", OUTSIDE, "address", "add", `${b1.ipv4}/32`, "dev", "lo");
      for (const via of [underlay(1), second(1)]) {
        run("ip", "-n", OUTSIDE, "route", "replace", `${a1.ipv4}/32`, "via", via, "src", b1.ipv4);
        assert.ok(!it.lab.ping(OUTSIDE, a1.ipv4), via);
        assert.deepEqual(await it.lab.drops(1), [DropReason.SPOOFED_UNDERLAY], via);
      }
    });
  });
}
