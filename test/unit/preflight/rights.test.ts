/** What the kernel lets the agent do, and where the bpf file system is: said from the files of /proc. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bpfFsStanding } from "../../../src/kernel/bpf-fs.ts";
import { missingRights } from "../../../src/preflight/rights.ts";

const capabilities = (...bits: number[]): string => `CapPrm:\t0\nCapEff:\t${bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n).toString(16).padStart(16, "0")}\n`;
const LIMITED = "Max locked memory         65536                65536                bytes\n";
const UNLIMITED = "Max locked memory         unlimited            unlimited            bytes\n";

describe("rights of the agent on its node", () => {
  it("names the capability that is missing, and what for", () => {
    assert.equal(missingRights({ status: capabilities(12, 21), limits: LIMITED, kernel: "6.1.0" }), undefined);
    assert.match(missingRights({ status: capabilities(12), limits: UNLIMITED, kernel: "6.1.0" }) ?? "", /lacks SYS_ADMIN \(eBPF/);
    assert.match(missingRights({ status: "nonsense", limits: "", kernel: "6.1.0" }) ?? "", /NET_ADMIN .* SYS_ADMIN/);
  });

  it("wants SYS_RESOURCE where maps count as locked memory, before 5.11", () => {
    const status = capabilities(12, 21);
    assert.match(missingRights({ status, limits: LIMITED, kernel: "5.10.0-30-amd64" }) ?? "", /5\.10\.0-30-amd64 .*SYS_RESOURCE/);
    for (const fits of [{ status: capabilities(12, 21, 24), limits: LIMITED, kernel: "5.10.0" }, { status, limits: UNLIMITED, kernel: "5.10.0" }, { status, limits: LIMITED, kernel: "5.11.0" }]) assert.equal(missingRights(fits), undefined);
  });
});

describe("the bpf file system", () => {
  const root = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda rw";
  const line = (fields: string, type: string): string => `${root}\n40 22 0:30 / /sys/fs/bpf rw,nosuid ${fields}- ${type} ${type} rw\n41 22 0:31 / /sys/fs/bpf2 rw - bpf bpf rw`;

  it("is mounted, absent, or out of reach for a container whose mounts do not leave it", () => {
    assert.equal(bpfFsStanding(line("shared:7 ", "bpf"), "/sys/fs/bpf"), "mounted");
    assert.equal(bpfFsStanding(line("master:7 ", "bpf"), "/sys/fs/bpf"), "mounted");
    assert.equal(bpfFsStanding(line("master:7 ", "sysfs"), "/sys/fs/bpf"), "unreachable");
    assert.equal(bpfFsStanding(line("shared:9 master:7 ", "sysfs"), "/sys/fs/bpf"), "absent");
    assert.equal(bpfFsStanding(line("", "sysfs"), "/sys/fs/bpf"), "absent");
    assert.equal(bpfFsStanding(root, "/sys/fs/bpf"), "absent");
  });
});
