/** A forecast for people. */
import type { FlowSimulation } from "./flows.ts";
import { ruleText } from "./text.ts";
import type { PairChange, SideWords, Simulation } from "./simulate.ts";

export function simulationText({ pairs, unjudged }: Simulation, flows: FlowSimulation | undefined): string {
  const lines = [
    pairs.length === 0 ? "No pair of pods changes its verdict." : `${pairs.length} ${pairs.length === 1 ? "change" : "changes"} between pods, nodes and the outside:`,
    ...pairs.map((pair) => `  ${pairText(pair)}`),
    ...(unjudged === 0 ? [] : [`  and ${unjudged} more pairs, which were not judged`]),
    ...(flows === undefined ? [] : flowLines(flows)),
  ];
  return `${lines.join("\n")}\n`;
}

function pairText({ from, to, ports, before, after, rule }: PairChange): string {
  return `${sideText(from)} → ${sideText(to)} ${ports.join(", ")}: ${before} → ${after.toUpperCase()}${rule === undefined ? "" : `, by ${ruleText(rule)}`}`;
}

function sideText({ name, pods }: SideWords): string {
  return pods > 1 ? `${name} and ${pods - 1} alike` : name;
}

function flowLines({ changes, events, lost, outdated }: FlowSimulation): readonly string[] {
  return [
    changes.length === 0 ? `None of the flows of ${events} events changes its verdict.` : `Of the flows of ${events} events these change their verdict:`,
    ...changes.map(({ from, to, port, seen, before, after, rule }) => `  ${from} → ${to} ${port} (seen ${seen} times): ${before} → ${after.toUpperCase()}${rule === undefined ? "" : `, by ${ruleText(rule)}`}`),
    ...(lost === 0 ? [] : [`  the recording lost ${lost} events`]),
    ...(outdated === 0 ? [] : [`  ${outdated} drops would pass by the policies as they are: they are older than these`]),
  ];
}
