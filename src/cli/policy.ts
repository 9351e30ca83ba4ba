/** `cilium policy validate FILE…`: the operator's own validator, before anything is applied. Asks no cluster. */
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { loadAll } from "js-yaml";
import type { Problem } from "../api/problem.ts";
import type { PolicyKind } from "../api/policy-kinds.ts";
import { Validator } from "../api/validate.ts";
import { describeError } from "../lib/errors.ts";

export interface Finding {
  readonly file: string;
  /** `namespace/name` of the policy, or which document of the file. */
  readonly object: string;
  /** `skipped` is no policy of ours and was not looked at. */
  readonly outcome: "valid" | "invalid" | "skipped";
  /** One line each; empty when valid. */
  readonly problems: readonly string[];
}

interface Head {
  readonly apiVersion?: unknown;
  readonly kind?: unknown;
  readonly metadata?: { readonly name?: unknown; readonly namespace?: unknown };
}

const POLICY_KINDS: readonly PolicyKind[] = ["CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "NetworkPolicy"];

/** Other products have kinds of these names too. */
function isOfGroup(apiVersion: unknown, kind: PolicyKind): boolean {
  return apiVersion === (kind === "NetworkPolicy" ? "networking.k8s.io/v1" : "cilium.io/v2");
}

/** `-` is standard input. */
export async function validateFiles(files: readonly string[]): Promise<Finding[]> {
  const validator = new Validator();
  const findings: Finding[] = [];
  for (const file of files) {
    const source = file === "-" ? await text(process.stdin) : await readFile(file, "utf8");
    findings.push(...validateText(file, source, validator));
  }
  return findings;
}

export function validateText(file: string, source: string, validator: Validator): Finding[] {
  let documents: unknown[];
  try {
    documents = loadAll(source);
  } catch (error) {
    return [{ file, object: "YAML", outcome: "invalid", problems: [describeError(error)] }];
  }
  return documents.filter((document) => document !== null && document !== undefined).map((document, index) => validate(file, document as Head, index, validator));
}

function validate(file: string, document: Head, index: number, validator: Validator): Finding {
  const { name, namespace } = document.metadata ?? {};
  const object = typeof name === "string" ? [namespace, name].filter((part) => typeof part === "string").join("/") : `document ${index + 1}`;
  if (document.kind === "CiliumCIDRGroup" && document.apiVersion === "cilium.io/v2") return finding(file, object, validator.cidrGroup(document));
  const kind = POLICY_KINDS.find((candidate) => candidate === document.kind);
  if (kind === undefined || !isOfGroup(document.apiVersion, kind)) {
    const isOurs = typeof document.apiVersion === "string" && document.apiVersion.startsWith("cilium.io/");
    const message = isOurs ? `the kind ${String(document.kind)} is not built yet` : `${String(document.kind)} is no policy, not checked`;
    return { file, object, outcome: isOurs ? "invalid" : "skipped", problems: [message] };
  }
  return finding(file, object, validator.policy(document, kind));
}

function finding(file: string, object: string, problems: readonly Problem[]): Finding {
  return { file, object, outcome: problems.length === 0 ? "valid" : "invalid", problems: problems.map(({ path, message }) => `${path}: ${message}`) };
}

export function findingsText(findings: readonly Finding[]): string {
  return findings
    .map(({ file, object, outcome, problems }) => `${file}: ${object}: ${outcome}\n${problems.map((problem) => `  ${problem}\n`).join("")}`)
    .join("");
}
