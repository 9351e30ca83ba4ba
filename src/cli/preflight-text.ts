/** The words of `cilium preflight`. Pure. */
import { dump } from "js-yaml";
import type { Finding } from "../preflight/index.ts";
import type { NodeReport } from "./preflight.ts";
import { table } from "./table.ts";

export type PreflightFormat = "table" | "json" | "yaml";

const NAMED = 4;

/** A finding, and the nodes that have it. */
interface Shared extends Finding {
  readonly nodes: string[];
}

export function preflightText(reports: readonly NodeReport[], format: PreflightFormat): string {
  if (format === "json") return JSON.stringify(reports, undefined, 2);
  if (format === "yaml") return dump(reports, { lineWidth: -1 });
  const shared = sharedFindings(reports);
  const rows = shared.map(({ check, verdict, nodes, message }) => [check, verdict, nodesText(nodes, reports.length), message]);
  const todo = shared.filter(({ verdict }) => verdict === "blocker" || verdict === "warning");
  return [table(["CHECK", "RESULT", "NODES", "FINDING"], rows), todo.map((finding) => advice(finding, reports.length)).join(""), `${sum(reports)}\n`].filter((part) => part !== "").join("\n");
}

export function hasBlocker(reports: readonly NodeReport[]): boolean {
  return reports.some(({ findings }) => findings.some(({ verdict }) => verdict === "blocker"));
}

/** In the order of the checks; of one check in the order of the nodes. */
function sharedFindings(reports: readonly NodeReport[]): readonly Shared[] {
  const found = new Map<string, Shared>();
  for (const { node, findings } of reports) {
    for (const finding of findings) {
      const key = `${finding.check}\n${finding.verdict}\n${finding.message}`;
      const known = found.get(key);
      if (known === undefined) found.set(key, { ...finding, nodes: [node] });
      else known.nodes.push(node);
    }
  }
  const order = new Map([...found.values()].map(({ check }) => check).filter((check, at, all) => all.indexOf(check) === at).map((check, at) => [check, at]));
  return [...found.values()].sort((a, b) => (order.get(a.check) ?? 0) - (order.get(b.check) ?? 0));
}

function nodesText(nodes: readonly string[], all: number): string {
  if (nodes.length === all && all > 1) return `all ${all}`;
  return nodes.length <= NAMED ? nodes.join(",") : `${nodes.slice(0, NAMED).join(",")} and ${nodes.length - NAMED} more`;
}

function advice({ check, verdict, message, meaning, remedy, nodes }: Shared, all: number): string {
  return `${verdict}: ${check}, ${nodesText(nodes, all)}: ${message}\n  means: ${meaning}\n  do:    ${remedy}\n`;
}

function sum(reports: readonly NodeReport[]): string {
  const count = (verdict: Finding["verdict"]): number => reports.reduce((total, { findings }) => total + findings.filter((finding) => finding.verdict === verdict).length, 0);
  const [blockers, warnings, unknown] = [count("blocker"), count("warning"), count("unknown")];
  const rest = unknown === 0 ? "" : `, ${unknown} not checked`;
  return `${blockers} blockers, ${warnings} warnings${rest}`;
}
