/** Kinds that the API server refuses to tell the agent: without the right to read them, or without the kind. */
import { isRefused } from "../kube/index.ts";
import type { Component } from "../lib/lifecycle.ts";
import type { MapWarning } from "./map-fill.ts";

const MAX_MESSAGE = 500;

/** Which they are, with its answer: what was told last holds meanwhile. */
export function refusalsOf(sources: readonly Pick<Component, "name" | "health">[]): readonly MapWarning[] {
  return sources.flatMap((source) => {
    const health = source.health();
    if (health.level === "ok" || !isRefused(health.error)) return [];
    return [{ part: source.name, message: `cannot be listed, so what was told last holds: ${health.error.message}`.slice(0, MAX_MESSAGE) }];
  });
}
