/** src/kernel on the real kernel. Needs root. */
import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { LibbpfPort } from "../../src/kernel/bpf.ts";
import { eventCodec, metricCodec, metricKeyCodec, policyEntryCodec, policyKeyCodec } from "../../src/kernel/gen/types.ts";
import { perCpu } from "../../src/kernel/map.ts";
import type { LibbpfMap } from "../../src/kernel/map.ts";
import type { BpfObject, BpfProgram } from "../../src/kernel/port.ts";
import { RingBufferReader } from "../../src/kernel/ringbuf.ts";
import { mapSuite } from "../conformance/target-suite.ts";
import { compile, makeFixture } from "./kernel-fixture.ts";
import type { Fixture } from "./kernel-fixture.ts";

let fixture: Fixture;
before(() => (fixture = makeFixture()));
after(() => fixture.remove());

const PACKET = new Uint8Array(64).fill(1);
const program = (object: BpfObject, name: string): BpfProgram => {
  const found = object.programs.get(name);
  assert.ok(found, name);
  return found;
};

mapSuite("kernel", {
  make: () => {
    const map = new LibbpfPort().load({ file: fixture.object }).maps.get("numbers");
    assert.ok(map);
    return map;
  },
});

describe("loading", () => {
  it("sets options by name, and refuses names that the object lacks", () => {
    const port = new LibbpfPort();
    const object = port.load({ file: fixture.object, rodata: { option_mark: 100 } });
    assert.equal(port.testRun(program(object, "judge"), PACKET).mark, 101);
    assert.throws(() => port.load({ file: fixture.object, rodata: { option_typo: 1 } }), /no option option_typo/);
    assert.throws(() => port.load({ file: fixture.object, rodata: { option_mark: new Uint8Array(3) } }), /has 4 bytes, 3 are given/);
  });

  it("changes sizes", () => {
    const object = new LibbpfPort().load({ file: fixture.object, maxEntries: { rules: 7 } });
    assert.equal(object.maps.get("rules")?.maxEntries, 7);
  });

  it("says what is wrong with a file and with a program, with the verifier's last words", () => {
    const port = new LibbpfPort();
    assert.throws(() => port.load({ file: join(fixture.folder, "absent.o") }), { code: "ENOENT" });
    const source = join(fixture.folder, "bad.bpf.c");
    const code = `#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\nSEC("tc") int bad(struct __sk_buff *skb) { return *(int *)(long)skb->data; }\nchar l[] SEC("license") = "GPL";\n`;
    writeFileSync(source, code);
    compile(source, join(fixture.folder, "bad.o"));
    assert.throws(() => port.load({ file: join(fixture.folder, "bad.o") }), (error: Error & { code?: string }) => error.code === "EACCES" && /invalid (mem )?access/.test(error.message));
  });

  it("shares maps between objects of a port, and by pins with the next port", () => {
    const pins = join(fixture.bpffs, "shared");
    const first = new LibbpfPort(pins);
    const [a, b] = [first.load({ file: fixture.object }), first.load({ file: fixture.object })];
    const key = new Uint8Array(4).fill(1);
    a.maps.get("numbers")?.update(key, key);
    assert.deepEqual(b.maps.get("numbers")?.lookup(key), key);
    const names = readdirSync(pins).sort();
    assert.ok(names.some((name) => /^numbers_[0-9a-f]{8}$/.test(name)), names.join());
    assert.ok(!names.some((name) => name.startsWith("records")), "ring buffers are not pinned");
    const second = new LibbpfPort(pins);
    assert.deepEqual(second.load({ file: fixture.object }).maps.get("numbers")?.lookup(key), key);
    assert.deepEqual(readdirSync(pins).sort(), names);
  });

  it("another size is another map, which takes over the content; what would not fit keeps the size, and says so", () => {
    const pins = join(fixture.bpffs, "sized");
    const numbers = (port: LibbpfPort, entries: number): LibbpfMap => {
      port.load({ file: fixture.object, maxEntries: { numbers: entries } });
      const taking = port.takeOver();
      taking?.copy();
      taking?.finish();
      taking?.close();
      assert.equal(readdirSync(pins).filter((file) => file.startsWith("numbers_")).length, 1);
      return port.map("numbers") as LibbpfMap;
    };
    const key = (n: number): Uint8Array => new Uint8Array(4).fill(n);
    const small = numbers(new LibbpfPort(pins), 8);
    for (let n = 1; n <= 8; n++) small.update(key(n), key(n));
    const great = numbers(new LibbpfPort(pins), 16);
    assert.deepEqual([great.maxEntries, great.count(), great.lookup(key(8))], [16, 8, key(8)]);
    for (let n = 9; n <= 12; n++) great.update(key(n), key(n));
    const third = new LibbpfPort(pins);
    assert.deepEqual([numbers(third, 8).maxEntries, third.map("numbers")?.count()], [16, 12]);
    assert.deepEqual(third.otherwiseSized.map(({ name, maxEntries, wantedEntries }) => [name, maxEntries, wantedEntries]), [["numbers", 16, 8]]);
    for (let n = 5; n <= 12; n++) third.map("numbers")?.delete(key(n));
    const again = numbers(new LibbpfPort(pins), 8);
    assert.deepEqual([again.maxEntries, again.count()], [8, 4]);
  });

  it("keeps maps after the object is closed", () => {
    const port = new LibbpfPort();
    const object = port.load({ file: fixture.object });
    object.close();
    assert.equal(port.map("numbers")?.lookup(new Uint8Array(4)), undefined);
  });
});

describe("test runs", () => {
  it("give verdict, packet, mark and cb back, and read the maps", () => {
    const port = new LibbpfPort();
    const object = port.load({ file: fixture.object });
    const judge = program(object, "judge");
    const allowed = port.testRun(judge, PACKET, { context: { mark: 5, cb: [1, 2, 3, 4, 5] } });
    assert.equal(allowed.verdict, 0);
    assert.equal(allowed.mark, 8);
    assert.deepEqual(allowed.cb, [42, 2, 3, 4, 5]);
    assert.deepEqual(allowed.packet, PACKET);
    const key = new Uint8Array(policyKeyCodec.size);
    policyKeyCodec.encode({ tier: 0, ruleSet: 1, peer: 0, port: 0, protocol: 0, direction: 0, portPrefix: 0 }, new DataView(key.buffer));
    object.maps.get("rules")?.update(key, new Uint8Array(policyEntryCodec.size));
    assert.equal(port.testRun(judge, PACKET).verdict, 2);
  });

  it("follow a tail call through the program array, and an empty slot keeps the stub's verdict", () => {
    const port = new LibbpfPort();
    const object = port.load({ file: fixture.object });
    const [stub, judge] = [program(object, "stub"), program(object, "judge")];
    const slot = new Uint8Array([1, 0, 0, 0]);
    assert.equal(port.testRun(stub, PACKET).verdict, 2);
    object.maps.get("hooks")?.update(slot, new Uint8Array(new Uint32Array([judge.fd]).buffer));
    assert.equal(port.testRun(stub, PACKET).verdict, 0);
    assert.equal([...(object.maps.get("hooks")?.entries() ?? [])].length, 1, "a map type without batches is walked");
  });

  it("name what the kernel refuses", () => {
    const port = new LibbpfPort();
    const object = port.load({ file: fixture.object });
    assert.throws(() => port.testRun(program(object, "judge"), new Uint8Array(4)), { code: "EINVAL" });
  });
});

describe("per-CPU values", () => {
  it("are one value per possible CPU", () => {
    const port = new LibbpfPort();
    const object = port.load({ file: fixture.object });
    port.testRun(program(object, "judge"), PACKET, { repeat: 5 });
    const key = new Uint8Array(metricKeyCodec.size);
    metricKeyCodec.encode({ reason: 1, direction: 0 }, new DataView(key.buffer));
    const value = object.maps.get("counters")?.lookup(key);
    assert.ok(value);
    const packets = perCpu(value, metricCodec.size, metricCodec.decode).reduce((sum, metric) => sum + metric.packets, 0n);
    assert.equal(packets, 5n);
  });
});

describe("ring buffer", () => {
  const open = (): { run: (mark: number) => void; reader: RingBufferReader<number> } => {
    const port = new LibbpfPort();
    const object = port.load({ file: fixture.object });
    const reader = new RingBufferReader(port, "records", (view) => eventCodec.decode(view).rule);
    return { run: (mark) => void port.testRun(program(object, "judge"), PACKET, { context: { mark } }), reader };
  };

  it("gives every record once, in order, over many rounds of the ring", () => {
    const { run, reader } = open();
    const seen: number[] = [];
    for (let mark = 1; mark <= 500; mark++) {
      run(mark);
      if (mark % 3 === 0) seen.push(...reader.take(4));
    }
    seen.push(...reader.take(1000));
    assert.deepEqual(seen, Array.from({ length: 500 }, (_, i) => i + 1));
    reader.close();
    reader.close();
    assert.deepEqual(reader.take(1), []);
  });

  it("loses nothing but what did not fit, and goes on after it was full", () => {
    const { run, reader } = open();
    for (let mark = 1; mark <= 1000; mark++) run(mark);
    const first = reader.take(10_000);
    assert.ok(first.length > 10 && first.length < 1000);
    assert.deepEqual(first, first.map((_, i) => i + 1));
    run(2000);
    assert.deepEqual(reader.take(10), [2000]);
    reader.close();
  });

  it("is read as batches until the signal aborts", async () => {
    const { run, reader } = open();
    const abort = new AbortController();
    const seen: number[] = [];
    run(1);
    setTimeout(() => run(2), 10);
    for await (const batch of reader.read(abort.signal, { intervalMs: 2 })) {
      seen.push(...batch);
      if (seen.length === 2) abort.abort();
    }
    assert.deepEqual(seen, [1, 2]);
    reader.close();
  });
});

