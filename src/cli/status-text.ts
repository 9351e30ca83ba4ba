/** The words of `cilium status`. Pure. */
import type { NodeStatus, Status } from "./status.ts";
import { table } from "./table.ts";

const UNMANAGED_SHOWN = 20;

export function statusText(status: Status): string {
  const managed = sum(status.nodes.map((node) => node.managed));
  const pods = sum(status.nodes.map((node) => node.pods));
  const head = [
    `Agents:     ${status.agents.ready}/${status.agents.desired} ready`,
    `Operator:   ${status.operators.ready}/${status.operators.desired} ready`,
    `Endpoints:  ${managed} of ${pods} pods managed`,
    `Images:     ${status.images.join(", ") || "none"}`,
  ];
  const sections = [head.map((line) => `${line}\n`).join(""), nodeTable(status.nodes), unmanagedText(status.unmanaged), warningText(status.nodes), problemText(status.problems)];
  return sections.filter((section) => section !== "").join("\n");
}

function nodeTable(nodes: readonly NodeStatus[]): string {
  const heads = ["NODE", "AGENT", "MANAGED PODS", "REVISION", "APPLIED"];
  return table(
    heads,
    nodes.map((node) => [node.name, node.agent, `${node.managed}/${node.pods}`, String(node.revision ?? "-"), String(node.applied ?? "-")]),
  );
}

function unmanagedText(unmanaged: readonly string[]): string {
  if (unmanaged.length === 0) return "";
  const shown = unmanaged.slice(0, UNMANAGED_SHOWN).map((pod) => `  ${pod}\n`);
  const more = unmanaged.length > UNMANAGED_SHOWN ? `  … and ${unmanaged.length - UNMANAGED_SHOWN} more\n` : "";
  return `Unmanaged pods, which no policy holds for until they are restarted:\n${shown.join("")}${more}`;
}

function warningText(nodes: readonly NodeStatus[]): string {
  const warnings = nodes.flatMap((node) => node.warnings.map((warning) => `  ${node.name}: ${warning}\n`));
  return warnings.length === 0 ? "" : `Warnings:\n${warnings.join("")}`;
}

function problemText(problems: readonly string[]): string {
  return problems.length === 0 ? "" : `Problems:\n${problems.map((problem) => `  ${problem}\n`).join("")}`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
