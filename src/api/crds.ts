/** Reads the CustomResourceDefinitions of crds/: the one home of our kinds' schemas. */
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";

/** The part of an OpenAPI v3 structural schema that our definitions use. */
export interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
  readonly enum?: readonly string[];
  readonly "x-kubernetes-validations"?: readonly CelRule[];
  readonly "x-kubernetes-preserve-unknown-fields"?: boolean;
  readonly "x-kubernetes-int-or-string"?: boolean;
}

export interface CelRule {
  readonly rule: string;
  readonly message: string;
  readonly fieldPath?: string;
}

export interface CustomResourceDefinition {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly group: string;
    readonly scope: "Namespaced" | "Cluster";
    readonly names: { readonly kind: string; readonly plural: string };
    readonly versions: readonly { readonly name: string; readonly storage: boolean; readonly schema: { readonly openAPIV3Schema: Schema } }[];
  };
}

/** crds/ beside src/ in the repository and beside dist/ in the image. */
export const CRDS_DIRECTORY = join(import.meta.dirname, "..", "..", "crds");

/** All definitions, sorted by name. */
export function readCrds(directory: string = CRDS_DIRECTORY): readonly CustomResourceDefinition[] {
  return readdirSync(directory)
    .filter((file) => file.endsWith(".yaml"))
    .sort()
    .map((file) => load(readFileSync(join(directory, file), "utf8")) as CustomResourceDefinition);
}

export function schemaOf(crd: CustomResourceDefinition): Schema {
  const stored = crd.spec.versions.find((version) => version.storage);
  if (stored === undefined) throw new Error(`${crd.metadata.name}: no stored version`);
  return stored.schema.openAPIV3Schema;
}
