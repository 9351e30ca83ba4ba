/**
 * Rules on the requests of an application and names of DNS, which only a proxy can judge: their form. The definitions refuse them
 * by name as long as no proxy serves them, and say no more of them; `Validator` with `proxy` reads them by this schema.
 */
import type { SectionItem } from "./meaning.ts";
import type { Schema } from "./crds.ts";

/** One of both. */
export interface NameSelector {
  readonly matchName?: string;
  /** `*` stands for a part of a label, alone for every name, `**.` in front for any labels. */
  readonly matchPattern?: string;
}

export interface HeaderMatch {
  readonly name: string;
  readonly value?: string;
  readonly secret?: { readonly name: string; readonly namespace?: string };
  readonly mismatch?: "LOG" | "ADD" | "DELETE" | "REPLACE";
}

/** Expressions match as a whole; what is absent is not asked. A request of gRPC is a POST of `/package.Service/Method`. */
export interface HttpRule {
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  /** `Name`, or `Name: value`. */
  readonly headers?: readonly string[];
  readonly headerMatches?: readonly HeaderMatch[];
}

/** A role is several keys of the protocol's requests. */
export interface KafkaRule {
  readonly role?: string;
  readonly apiKey?: string;
  readonly apiVersion?: string;
  readonly clientID?: string;
  readonly topic?: string;
}

/** One kind of them. */
export interface ApplicationRules {
  readonly http?: readonly HttpRule[];
  readonly kafka?: readonly KafkaRule[];
  readonly dns?: readonly NameSelector[];
  /** Name of a parser, with what it is told. */
  readonly l7proto?: string;
  readonly l7?: readonly Readonly<Record<string, string>>[];
}

const MOST_NAME = 255;
/** The published forms, written so that they cannot be slow to match. */
const NAME = "^[-a-zA-Z0-9_]+(\\.[-a-zA-Z0-9_]+)*\\.?$";
const PATTERN = "^[-a-zA-Z0-9_*]+(\\.[-a-zA-Z0-9_*]+)*\\.?$";

type Form = Schema & { readonly [keyword: string]: unknown };
const text = (more: object = {}): Form => ({ type: "string", ...more });
const list = (items: Form): Form => ({ type: "array", minItems: 1, items });
const object = (properties: Readonly<Record<string, Form>>, required: readonly string[] = []): Form => ({ type: "object", properties, required });

const NAMES_SCHEMA: Form = list(object({ matchName: text({ maxLength: MOST_NAME, pattern: NAME }), matchPattern: text({ maxLength: MOST_NAME, pattern: PATTERN }) }));

const RULES_SCHEMA: Form = object({
  http: list(object({
    method: text(), path: text(), host: text(),
    headers: list(text({ minLength: 1 })),
    headerMatches: list(object({
      name: text({ minLength: 1 }), value: text(),
      secret: object({ name: text({ minLength: 1 }), namespace: text() }, ["name"]),
      mismatch: text({ enum: ["LOG", "ADD", "DELETE", "REPLACE"] }),
    }, ["name"])),
  })),
  kafka: list(object({
    role: text({ enum: ["produce", "consume"] }), apiKey: text(), apiVersion: text({ pattern: "^[0-9]{1,5}$" }),
    clientID: text({ maxLength: MOST_NAME }), topic: text({ maxLength: MOST_NAME, pattern: "^[a-zA-Z0-9._-]+$" }),
  })),
  dns: NAMES_SCHEMA,
  l7proto: text({ minLength: 1 }),
  l7: list({ type: "object", additionalProperties: text() }),
});

/** The schema of a policy where a proxy serves what the definition refuses, in sections that allow. */
export function withProxy(policy: Schema): Schema {
  const places = [["spec"], ["specs", "[]"]].flatMap((spec) => [
    { at: [...spec, "ingress", "[]", "toPorts", "[]"], field: "rules", form: RULES_SCHEMA },
    { at: [...spec, "egress", "[]", "toPorts", "[]"], field: "rules", form: RULES_SCHEMA },
    { at: [...spec, "egress", "[]"], field: "toFQDNs", form: NAMES_SCHEMA },
  ]);
  return places.reduce((schema, { at, field, form }) => edited(schema, at, (one) => knowing(one, field, form)), policy);
}

function edited(schema: Schema, [step, ...rest]: readonly string[], edit: (schema: Schema) => Schema): Schema {
  if (step === undefined) return edit(schema);
  if (step === "[]") return { ...schema, items: edited(schema.items ?? {}, rest, edit) };
  return { ...schema, properties: { ...schema.properties, [step]: edited(schema.properties?.[step] ?? {}, rest, edit) } };
}

function knowing(schema: Schema, field: string, form: Form): Schema {
  const rules = schema["x-kubernetes-validations"] ?? [];
  return { ...schema, properties: { ...schema.properties, [field]: form }, "x-kubernetes-validations": rules.filter(({ rule }) => rule !== `!has(self.${field})`) };
}

type Ports = NonNullable<SectionItem["toPorts"]>[number];

/** Of ports whose policy is valid; undefined: any request. */
export function applicationRulesOf({ rules }: Ports): ApplicationRules | undefined {
  return rules;
}

/** Of an item whose policy is valid. */
export function namesOf({ names }: SectionItem): readonly NameSelector[] | undefined {
  return names;
}
