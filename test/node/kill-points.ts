/** An agent that dies between two steps: the methods of its parts are wrapped in this process, before it starts. */
import * as files from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { PodLinks } from "../../src/agent/endpoints.ts";
import { Addresses } from "../../src/cni/addresses.ts";
import { AttachmentStore } from "../../src/cni/store.ts";
import { PodVeths } from "../../src/kernel/pod-link.ts";

const PARTS = { Addresses, AttachmentStore, PodLinks, PodVeths, files } as const;

export interface KillPoint {
  readonly part: keyof typeof PARTS;
  readonly method: string;
  readonly when: "before" | "after";
  /** Only a call whose arguments hold one of these. */
  readonly of: readonly string[];
  /** The first such call is 1. */
  readonly call: number;
}

/** A kill point of whatever pod. */
export type Step = Omit<KillPoint, "of">;
export const step = (part: KillPoint["part"], method: string, when: KillPoint["when"], call = 1): Step => ({ part, method, when, call });

type Method = (this: unknown, ...args: unknown[]) => unknown;

/** SIGKILL, as the kernel kills: no handler runs, nothing is flushed. */
const die = (): void => void process.kill(process.pid, "SIGKILL");

export function dieAt({ part, method, when, of, call }: KillPoint): void {
  const owner = (part === "files" ? (files as { default?: object }).default : PARTS[part].prototype) as Record<string, Method | undefined>;
  const original = owner[method];
  if (original === undefined) throw new Error(`${part} has no ${method}`);
  let left = call;
  owner[method] = function (...args) {
    const text = JSON.stringify(args);
    const meant = of.some((each) => text.includes(each)) && --left === 0;
    if (meant && when === "before") die();
    const result = original.apply(this, args);
    if (!meant) return result;
    if (!(result instanceof Promise)) return die();
    return result.then(die);
  };
  if (part === "files") syncBuiltinESMExports();
}
