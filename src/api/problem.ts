/** What is wrong with an object. */
export interface Problem {
  /** Where, such as `spec.ingress[0].toPorts[0].foo`. */
  readonly path: string;
  readonly message: string;
}

/** `spec.ingress[0]: unknown field` for people, one line each. */
export function formatProblems(problems: readonly Problem[]): string {
  return problems.map(({ path, message }) => `${path}: ${message}`).join("; ");
}
