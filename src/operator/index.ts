/**
 * The operator: gives label sets their identity numbers, compiles policies into one state per node, and folds what
 * the nodes acknowledge into the policies' status.
 *
 * `main.ts` starts it, `operator.ts` is the wiring, only `config.ts` reads settings. It knows nothing of kernels and
 * never writes spec, labels or annotations of what users own. Nothing imports this folder.
 */
export { CiliumOperator } from "./operator.ts";
