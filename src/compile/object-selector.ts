/** Objects that are no pods, by the labels that they have themselves. */
import { splitLabelKey } from "../api/label-keys.ts";

export interface ObjectSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly { readonly key: string; readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist"; readonly values?: readonly string[] }[];
}

/** As Kubernetes selects: NotIn holds where the key is absent. A key may say its source: objects have labels of one alone. */
export function selectsObject({ matchLabels = {}, matchExpressions = [] }: ObjectSelector, labels: Readonly<Record<string, string>>): boolean {
  const valueOf = (key: string): string | undefined => {
    const name = splitLabelKey(key)[1];
    return Object.hasOwn(labels, name) ? labels[name] : undefined;
  };
  return (
    Object.entries(matchLabels).every(([key, value]) => valueOf(key) === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = valueOf(key);
      if (operator === "Exists" || operator === "DoesNotExist") return (value !== undefined) === (operator === "Exists");
      return (value !== undefined && values.includes(value)) === (operator === "In");
    })
  );
}
