/**
 * preflight: whether this machine can be a node, and what on it would be in the way.
 *
 *   gather (reads the machine, changes nothing on it) ── Facts ──▶ judge (pure) ──▶ Finding[]
 *
 * It must not know Kubernetes: what the cluster means to use (`Plan`) is given by the caller. The agent runs it at its start,
 * the command on demand. A fact that cannot be read is said to be unknown, never taken for good or bad.
 */
export { CHECKS, judge, problems } from "./checks.ts";
export type { Facts, Finding, Known, Plan, Range, Verdict } from "./facts.ts";
export { gather } from "./gather.ts";
export type { GatherOptions } from "./gather.ts";
export { requireRights } from "./rights.ts";
