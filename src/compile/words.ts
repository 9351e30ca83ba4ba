/** Words that objects for nodes may say: another one is refused by its path, not left out, as it may mean that something is stricter. Pure. */

/** true: whatever is there, the schema has looked at it. Of a list, the words of each item. */
export type Words = true | { readonly [word: string]: Words };

/** A selector without the word that was meant would mean every node. */
export const NODE_SELECTOR: Words = { matchLabels: true, matchExpressions: { key: true, operator: true, values: true } };

/** Path of the first word that is not known, or that says what it cannot; undefined: none. */
export function unknownWord(value: unknown, words: Words, path: string): string | undefined {
  if (words === true) return undefined;
  if (typeof value !== "object" || value === null) return path;
  const isList = Array.isArray(value);
  for (const [name, inner] of Object.entries(value)) {
    const [known, where] = isList ? [words, `${path}[${name}]`] : [Object.hasOwn(words, name) ? words[name] : undefined, `${path}.${name}`];
    const found = known === undefined ? where : unknownWord(inner, known, where);
    if (found !== undefined) return found;
  }
  return undefined;
}
