/** Whether what a policy does not allow is dropped, or passes and is told. */
import type { KubeObject } from "./meta.ts";
import type { Problem } from "./problem.ts";

export type Enforcement = "Enforce" | "Audit";

/** Label of a namespace, for its own policies; annotation of a policy whose schema is not ours. */
export const ENFORCEMENT_KEY = "cilium.io/enforcement";

/** Anything else is no word of ours. */
export function isEnforcement(text: string | undefined): text is Enforcement {
  return text === "Enforce" || text === "Audit";
}

/** What a policy's annotation says; undefined: nothing. */
export function annotatedEnforcement({ metadata }: KubeObject): Enforcement | undefined {
  const text = metadata.annotations?.[ENFORCEMENT_KEY];
  return isEnforcement(text) ? text : undefined;
}

const PATH = `metadata.annotations[${ENFORCEMENT_KEY}]`;

/** @param isField the kind has a field for it. */
export function checkAnnotation({ metadata }: KubeObject, isField: boolean, problems: Problem[]): void {
  const text = metadata.annotations?.[ENFORCEMENT_KEY];
  if (text === undefined) return;
  if (isField) problems.push({ path: PATH, message: "this kind says it in spec.enforcement" });
  else if (!isEnforcement(text)) problems.push({ path: PATH, message: "must be one of Enforce, Audit" });
}

export function isOfAnnotation({ path }: Problem): boolean {
  return path === PATH;
}
