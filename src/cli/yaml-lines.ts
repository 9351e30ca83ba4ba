/** YAML documents with the line on which each of their parts begins. */
import { EVENT_ID, constructFromEvents, getScalarValue, parseEvents } from "js-yaml";
import type { Event } from "js-yaml";

export interface LinedDocument {
  readonly value: unknown;
  /** Of the part at a path such as `spec.ingress[0].toPorts`; of what is not there, the nearest part around it. From 1. */
  readonly line: (path: string) => number;
}

/** Throws YAMLException with line and column. */
export function parseDocuments(source: string, filename: string): readonly LinedDocument[] {
  const events = parseEvents(source, { filename });
  const values = constructFromEvents(events, { source, filename });
  const starts = lineStarts(source);
  const positions = documentsOf(events).map((document) => positionsOf(document, source));
  return values.map((value, index) => ({ value, line: (path) => lineAt(starts, nearest(positions[index] ?? new Map<string, number>(), path)) }));
}

function lineStarts(source: string): readonly number[] {
  const starts = [0];
  for (let at = source.indexOf("\n"); at >= 0; at = source.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}

function lineAt(starts: readonly number[], offset: number): number {
  let [low, high] = [0, starts.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= offset) low = middle;
    else high = middle;
  }
  return low + 1;
}

function nearest(positions: ReadonlyMap<string, number>, path: string): number {
  for (let at = path; ; at = at.replace(/(^|\.)[^.[\]]*$|\[\d+\]$/, "")) {
    const found = positions.get(at);
    if (found !== undefined) return found;
    if (at === "") return 0;
  }
}

function documentsOf(events: readonly Event[]): readonly (readonly Event[])[] {
  const documents: Event[][] = [];
  for (const event of events) {
    if (event.type === EVENT_ID.DOCUMENT) documents.push([]);
    documents.at(-1)?.push(event);
  }
  return documents;
}

interface Level {
  readonly path: string;
  readonly isMapping: boolean;
  /** Of a sequence, the next item; of a mapping, the key whose value comes next. */
  index: number;
  key: { readonly text: string; readonly start: number } | undefined;
}

/** Path -> offset: of a mapping's field where its key begins, of an item where it begins itself. */
function positionsOf(events: readonly Event[], source: string): ReadonlyMap<string, number> {
  const positions = new Map<string, number>();
  const levels: Level[] = [];
  /** Takes a node; returns its path, undefined for a key. */
  const take = (start: number, keyText: string | undefined): string | undefined => {
    const level = levels.at(-1);
    if (level === undefined) return place(positions, "", start);
    if (!level.isMapping) return place(positions, `${level.path}[${level.index++}]`, start);
    if (level.key === undefined) {
      level.key = { text: keyText ?? "", start };
      return undefined;
    }
    const { text, start: keyStart } = level.key;
    level.key = undefined;
    return place(positions, level.path === "" ? text : `${level.path}.${text}`, keyStart);
  };
  for (const event of events) {
    switch (event.type) {
      case EVENT_ID.SCALAR:
        take(event.valueStart, getScalarValue(source, event));
        break;
      case EVENT_ID.ALIAS:
        take(event.anchorStart, undefined);
        break;
      case EVENT_ID.SEQUENCE:
      case EVENT_ID.MAPPING:
        levels.push({ path: take(event.start, undefined) ?? "?", isMapping: event.type === EVENT_ID.MAPPING, index: 0, key: undefined });
        break;
      case EVENT_ID.POP:
        levels.pop();
        break;
      case EVENT_ID.DOCUMENT:
        break;
    }
  }
  return positions;
}

function place(positions: Map<string, number>, path: string, start: number): string {
  if (!positions.has(path)) positions.set(path, start);
  return path;
}
