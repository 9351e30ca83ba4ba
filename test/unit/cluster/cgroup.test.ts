import assert from "node:assert/strict";
import { test } from "node:test";

import { groupOf, parseCgroupLayout } from "../../../src/cluster/cgroup.ts";

const HYBRID = `27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 27 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:29 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
34 31 0:30 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
`;

test("hybrid: every hierarchy with the options that mount it again", () => {
  const layout = parseCgroupLayout(HYBRID);
  assert.equal(layout.kind, "hybrid");
  assert.deepEqual(layout.hierarchies.map(({ version, folder, options }) => [version, folder, options]), [
    [1, "cpu,cpuacct", "cpu,cpuacct"],
    [1, "systemd", "none,name=systemd"],
    [2, "unified", ""],
  ]);
});

test("cgroup v2 only", () => {
  const layout = parseCgroupLayout("29 23 0:25 / /sys/fs/cgroup rw,nosuid,nodev - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n");
  assert.equal(layout.kind, "unified");
  assert.deepEqual(layout.hierarchies, [{ version: 2, mountPoint: "/sys/fs/cgroup", folder: "", options: "" }]);
});

test("a mount of the same place twice counts once", () => {
  const line = "29 23 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
  assert.equal(parseCgroupLayout(line + line).hierarchies.length, 1);
});

test("our own group in a hierarchy", () => {
  const [cpu, systemd, unified] = parseCgroupLayout(HYBRID).hierarchies;
  const own = "5:cpu,cpuacct:/one\n4:name=systemd:/two:with:colons\n0::/three\n";
  assert.deepEqual([cpu, systemd, unified].map((hierarchy) => groupOf(own, hierarchy!)), ["/one", "/two:with:colons", "/three"]);
});
