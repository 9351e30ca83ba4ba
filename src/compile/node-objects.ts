/**
 * Objects that speak for nodes by the nodes' labels, one for each node: of those that select it the one with the greatest
 * priority, of equal ones the oldest, then the first by name. The one named default stands for the chart's values
 * and speaks where no other does. Pure; operator and agents ask the same.
 */
export const DEFAULT_OBJECT = "default";

export type NodeLabels = Readonly<Record<string, string>>;

export interface NodeSelector {
  readonly matchLabels?: NodeLabels;
  readonly matchExpressions?: readonly { readonly key: string; readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist"; readonly values?: readonly string[] }[];
}

export interface NodeObject {
  readonly metadata: { readonly name: string; readonly creationTimestamp?: string };
  readonly spec: { readonly priority?: number; readonly nodeSelector?: NodeSelector };
}

/** The object that speaks for a node with these labels; undefined: none selects it. */
export function objectFor<T extends NodeObject>(objects: Iterable<T>, labels: NodeLabels): T | undefined {
  let first: T | undefined;
  for (const object of objects) if (isSelected(object, labels) && (first === undefined || isBefore(object, first))) first = object;
  return first;
}

/** Of the nodes that `object` selects, by name, which object speaks for each. */
export function speakersOf<T extends NodeObject>(object: T, objects: Iterable<T>, nodes: ReadonlyMap<string, NodeLabels>): ReadonlyMap<string, T> {
  const all = [...objects];
  return new Map([...nodes].flatMap(([name, labels]) => (isSelected(object, labels) ? [[name, objectFor(all, labels) ?? object] as const] : [])));
}

/** As Kubernetes label selectors: NotIn holds where the key is absent. Without a selector an object means every node. */
export function isSelected({ spec: { nodeSelector } }: NodeObject, labels: NodeLabels): boolean {
  const { matchLabels = {}, matchExpressions = [] } = nodeSelector ?? {};
  return Object.entries(matchLabels).every(([key, value]) => labels[key] === value) && matchExpressions.every(({ key, operator, values = [] }) => {
    const value = labels[key];
    switch (operator) {
      case "In":
        return value !== undefined && values.includes(value);
      case "NotIn":
        return value === undefined || !values.includes(value);
      case "Exists":
        return value !== undefined;
      case "DoesNotExist":
        return value === undefined;
    }
  });
}

function isBefore(one: NodeObject, other: NodeObject): boolean {
  const [a, b] = [rankOf(one), rankOf(other)];
  const index = a.findIndex((value, at) => value !== b[at]);
  return index !== -1 && (a[index] ?? "") < (b[index] ?? "");
}

/** Less is before. Times of the API server are in one form, so that they compare as text. */
function rankOf({ metadata: { name, creationTimestamp = "" }, spec: { priority = 0 } }: NodeObject): readonly (number | string)[] {
  return [name === DEFAULT_OBJECT ? 1 : 0, -priority, creationTimestamp, name];
}
