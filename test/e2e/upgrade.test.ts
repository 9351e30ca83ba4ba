/**
 * `helm upgrade` between versions that differ in what they keep: layouts of the kernel's maps, names of their pins,
 * formats of node states. On a cluster of this file, under traffic of which every packet is counted.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { CURRENT, earlier, whyNotInHistory } from "./harness/earlier.ts";
import { sideCluster } from "./harness/side-cluster.ts";
import { recorded } from "../nightly/record.ts";

/** Node states of format 1 only; every map has another layout, or a pin without its size in the name. */
const OLDEST = "545c3270f9564681be9413d8badabdf610ec04f9";
/** Reads both formats and takes maps over, as this version; `nodes` has another layout, and there is no map of underlay devices. */
const FORMER = "dea2f754d9febca316ddc9bb9c831ac82d0d3562";

const missing = await whyNotInHistory(OLDEST, FORMER);

test("helm upgrade from the oldest version to this one, and back to a former one, under traffic: no connection is lost, nothing forbidden passes", { skip: missing ?? false, timeout: 900_000 }, async (context) => {
  const [oldest, former] = [await earlier(OLDEST), await earlier(FORMER)];
  const cluster = sideCluster("upgr", 81, { NODES: "2", CNI: "cilium", KUBE_PROXY: "1" });
  cluster.adopt();
  after(() => cluster.remove());
  await cluster.make("cluster");
  const { Story } = await import("./harness/upgrade-story.ts");
  const { inWords, sumOf } = await import("./harness/traffic.ts");
  await recorded("M12, M13: helm upgrade from the oldest version, and back to a former one, under traffic", async () => {
    const story = await Story.begin(oldest, [former, CURRENT]);
    const installed = await story.kept((format) => format === 1);
    const there = await story.upgrade(CURRENT);
    const upgraded = await story.kept((format) => format > 2);
    assert.deepEqual(upgraded.maps.filter((map) => installed.maps.includes(map)), [], "no map has the layout that it had");
    await story.widen();
    const back = await story.upgrade(former);
    const downgraded = await story.kept((format) => format === 2);
    assert.notDeepEqual(downgraded.maps, upgraded.maps);
    const counted = `2 nodes, there and back: ${inWords(sumOf([there, back]))}`;
    context.diagnostic(counted);
    return counted;
  });
});
