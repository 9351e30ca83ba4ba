/** All tables. */
import { cidr, encryption, endpoint, host, iface, ipcache, node, underlay } from "./addresses.ts";
import { hook, metrics } from "./counters.ts";
import { encryptionPeers, encryptionStatus } from "./encryption.ts";
import { ct, eventBudget, fragment, quota } from "./flows.ts";
import { policyEndpoints, policySelectors } from "./loaded.ts";
import { overviewOf } from "./overview.ts";
import { block, policy, subject } from "./policy.ts";
import { routingPeers, routingStatus } from "./routing.ts";
import { policyStats } from "./stats.ts";
import type { Table } from "./table.ts";

/** Each shows one map: `cilium bpf <name> list`. */
export const MAP_TABLES: readonly Table[] = [block, cidr, ct, encryption, endpoint, eventBudget, fragment, hook, host, iface, ipcache, metrics, node, policy, quota, subject, underlay];

export const OVERVIEW = overviewOf([...MAP_TABLES, policyStats]);

export const TABLES: ReadonlyMap<string, Table> = new Map([OVERVIEW, ...MAP_TABLES, policyStats, policyEndpoints, policySelectors, encryptionStatus, encryptionPeers, routingStatus, routingPeers].map((table) => [table.name, table]));
