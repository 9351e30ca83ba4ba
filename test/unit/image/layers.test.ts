import assert from "node:assert/strict";
import { test } from "node:test";
import { productionPackages } from "../../../src/image/layers.ts";

test("the runtime layer holds what the lock file needs in production, nested packages with their parents", () => {
  const lock = {
    packages: {
      "": { name: "cilium" },
      "node_modules/winston": {},
      "node_modules/winston/node_modules/ms": {},
      "node_modules/@kubernetes/client-node": {},
      "node_modules/@kubernetes/client-node/node_modules/ws": {},
      "node_modules/oxlint": { dev: true },
      "node_modules/fsevents": { devOptional: true },
    },
  };
  assert.deepEqual(productionPackages(JSON.stringify(lock)), ["node_modules/@kubernetes/client-node", "node_modules/winston"]);
});
