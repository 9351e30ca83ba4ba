/** What the verifier walks through, now and as recorded: its limit of a million is far, but growth is to be seen. */

/** Program -> instructions that the verifier processed. */
export type Instructions = Readonly<Record<string, number>>;

const GROWTH = 1.1;
/** A shrink is no fault; a record that far behind would hide the next growth. */
const SHRINK = 0.75;
const REMEDY = "make record-instructions";

/** A sentence per program that must not stay as it is. */
export function compare(recorded: Instructions, counted: Instructions): string[] {
  const names = [...new Set([...Object.keys(recorded), ...Object.keys(counted)])].toSorted();
  return names.flatMap((name) => {
    const [before, now] = [recorded[name], counted[name]];
    if (before === undefined) return [`${name} (${now}) is not recorded: ${REMEDY}`];
    if (now === undefined || Number.isNaN(now)) return [`${name} was recorded with ${before} and was not counted now: ${REMEDY} if it is gone`];
    if (now > before * GROWTH) return [`${name} grew from ${before} to ${now}, more than 10 %: find out why, then ${REMEDY}`];
    if (now < before * SHRINK) return [`${name} shrank from ${before} to ${now}: ${REMEDY}`];
    return [];
  });
}
