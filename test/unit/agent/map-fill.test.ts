import assert from "node:assert/strict";
import { test } from "node:test";
import { MapPressure } from "../../../src/agent/map-fill.ts";

const at = (map: string, entries: number, capacity = 100) => ({ map, entries, capacity });

test("a map is warned of from 85 % on, by its value, until it is below 80 %", () => {
  const pressure = new MapPressure();
  const said = (entries: number): readonly string[] => pressure.warnings([at("policy", entries), at("nodes", 10)]).map(({ part, message }) => `${part}: ${message}`);
  const warning = ["map policy: more than 85 % of its 100 entries are taken; bpf.policyMapMax makes it greater"];
  assert.deepEqual([84, 85, 99, 82, 80].map((entries) => said(entries)), [[], warning, warning, warning, warning]);
  assert.deepEqual([79, 84].map((entries) => said(entries)), [[], []], "and not again before 85 %");
});

test("a map that lets go of its oldest entry is full without a warning", () => {
  assert.deepEqual(new MapPressure().warnings([at("fragments", 100)]), []);
});
