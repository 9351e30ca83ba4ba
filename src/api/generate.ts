/**
 * Writes src/api/gen from crds/ (`make generate`). With --check it writes nothing and fails where a file differs
 * (`make verify`). A development tool: nothing imports it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compile } from "json-schema-to-typescript";
import type { JSONSchema } from "json-schema-to-typescript";
import { readCrds, schemaOf } from "./crds.ts";
import type { CustomResourceDefinition, Schema } from "./crds.ts";

const DIRECTORY = join(import.meta.dirname, "gen");

/** A closed JSON schema without the extensions of Kubernetes; metadata becomes our ObjectMeta. */
function plain(schema: Schema, path: string): JSONSchema {
  const open = schema.properties === undefined;
  const properties = Object.entries(schema.properties ?? {}).map(([name, inner]) => [
    name,
    path === "" && name === "metadata" ? { tsType: "ObjectMeta" } : plain(inner, `${path}.${name}`),
  ]);
  return {
    type: (schema.type ?? "object") as "object",
    ...(schema.description === undefined ? {} : { description: schema.description }),
    ...(schema.enum === undefined ? {} : { enum: [...schema.enum] }),
    ...(schema.items === undefined ? {} : { items: plain(schema.items, `${path}[]`) }),
    ...(schema.type === "object" && !open ? { properties: Object.fromEntries(properties) as JSONSchema, additionalProperties: false } : {}),
    ...(schema.type === "object" && open ? { additionalProperties: schema.additionalProperties === undefined ? true : plain(schema.additionalProperties, `${path}.*`) } : {}),
    required: [...(schema.required ?? []), ...(path === "" ? ["metadata"] : [])],
  };
}

async function typesOf(crd: CustomResourceDefinition): Promise<string> {
  const body = await compile(plain(schemaOf(crd), ""), crd.spec.names.kind, {
    bannerComment: "",
    format: true,
    style: { printWidth: 140 },
    ignoreMinAndMaxItems: true,
    additionalProperties: false,
  });
  const banner = `/* Generated from crds/${crd.spec.names.plural}.yaml by make generate; do not edit. */\nimport type { ObjectMeta } from "../meta.ts";\n\n`;
  return banner + body;
}

async function main(check: boolean): Promise<void> {
  const stale: string[] = [];
  for (const crd of readCrds()) {
    const file = join(DIRECTORY, `${crd.spec.names.plural}.ts`);
    const text = await typesOf(crd);
    if (!check) writeFileSync(file, text);
    else if (readFileSync(file, "utf8") !== text) stale.push(file);
  }
  if (stale.length > 0) throw new Error(`not generated from the current crds/, run make generate: ${stale.join(", ")}`);
}

await main(process.argv.includes("--check"));
