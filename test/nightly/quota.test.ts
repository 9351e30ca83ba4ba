/** A tenant at its real size, against the quotas as they are. */
import { test } from "node:test";
import { NAMESPACE_IDENTITIES } from "../../src/operator/identities.ts";
import { NAMESPACE_QUOTA } from "../../src/operator/policy-quota.ts";
import { greedyLabels, greedyPolicies } from "../support/greedy-tenant.ts";

const MANY = 100_000;

test("100,000 label sets of one namespace: it has its identities, is told so, and another namespace gets its own", async () => {
  await greedyLabels(MANY, NAMESPACE_IDENTITIES);
});

test("100,000 rules in as many policies, and 100,000 blocks in one: left out with the numbers, while all others stay in force", () => {
  greedyPolicies(MANY, NAMESPACE_QUOTA);
});
