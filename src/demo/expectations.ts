/** What the story promises; each broken promise is one line, and the demo fails. Pure. */
import type { MonitorEvent, PacketEvent } from "../hubble/event.ts";
import type { Reach, Source, Target } from "./reach.ts";

export const POLICY = "allow-frontend-to-api";

export interface Outcome {
  readonly sources: readonly Source[];
  readonly targets: readonly Target[];
  readonly before: Reach;
  readonly after: Reach;
  /** Drops between pods of the namespace after the policy was in force. */
  readonly drops: readonly PacketEvent[];
}

export function brokenPromises(outcome: Outcome): string[] {
  return [...brokenBySetting(outcome), ...brokenByReach(outcome), ...brokenByDrops(outcome.drops)];
}

function brokenBySetting({ sources, targets }: Outcome): string[] {
  const broken: string[] = [];
  for (const app of ["frontend", "other"]) {
    if (!sources.some((source) => source.app === app)) broken.push(`no pod of ${app} runs`);
  }
  if (targets.length < 2) broken.push("no pod of api runs");
  return broken;
}

function brokenByReach({ sources, targets, before, after }: Outcome): string[] {
  const broken: string[] = [];
  for (const { app, pod } of sources) {
    for (const { name } of targets) {
      if (before.get(pod)?.get(name) !== true) broken.push(`before the policy, ${app} should reach ${name}`);
      const reached = after.get(pod)?.get(name) === true;
      if (app === "frontend" && !reached) broken.push(`after the policy, frontend should still reach ${name}`);
      if (app === "other" && reached) broken.push(`after the policy, other should not reach ${name}`);
    }
  }
  return broken;
}

function brokenByDrops(drops: readonly PacketEvent[]): string[] {
  const broken: string[] = [];
  if (!drops.some(isDropOfOther)) broken.push(`cilium monitor should show a drop of other by ${POLICY}`);
  const frontend = drops.find((drop) => drop.source.labels.includes("k8s:app=frontend"));
  if (frontend !== undefined) broken.push(`no packet of frontend should be dropped, but one was: ${frontend.reason}`);
  return broken;
}

export function isDropOfOther(drop: PacketEvent): boolean {
  return drop.source.labels.includes("k8s:app=other") && (drop.rule?.policies ?? []).some((policy) => policy.endsWith(`/${POLICY}`));
}

/** The drops among the lines of `cilium monitor -o json`; the last line may be cut off. */
export function dropsOf(lines: string): PacketEvent[] {
  const events = lines.split("\n").slice(0, -1).map((line) => JSON.parse(line) as MonitorEvent);
  return events.filter((event): event is PacketEvent => event.type === "drop");
}
