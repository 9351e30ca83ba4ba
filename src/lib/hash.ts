/** Stable hashes of canonical text: equal content has one name in every process and after every restart. */
import { hash } from "node:crypto";

/** The first digits of SHA-256, lower-case hexadecimal: 64 bits unless told. */
export function contentHash(text: string, digits = 16): string {
  return hash("sha256", text, "hex").slice(0, digits);
}

/** First 32 bits of SHA-256 as an unsigned number. */
export function hash32(text: string): number {
  return Number.parseInt(contentHash(text, 8), 16);
}

/** JSON with the keys of every object in code unit order: equal values give equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item !== "object" || item === null || Array.isArray(item)) return item;
    const sorted = Object.create(null) as Record<string, unknown>;
    for (const [key, inner] of Object.entries(item).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))) sorted[key] = inner;
    return sorted;
  });
}
