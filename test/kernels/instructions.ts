/** What the verifier walks through, now and as recorded: growth is to be seen, long before its limit of a million. */

/** Program -> instructions that the verifier processed. */
export type Instructions = Readonly<Record<string, number>>;

const GROWTH = 1.1;
/** A shrink is no fault; a record that far behind would hide the next growth. */
const SHRINK = 0.75;
/** Another compiler may make a third more of the same program, which no recorded figure excuses. */
const MOST = 700_000;
const REMEDY = "make record-instructions";

/** A sentence per program that must not stay as it is. */
export function compare(recorded: Instructions, counted: Instructions): string[] {
  const names = [...new Set([...Object.keys(recorded), ...Object.keys(counted)])].toSorted();
  return names.flatMap((name) => {
    const [before, now] = [recorded[name], counted[name]];
    if (before === undefined) return [`${name} (${now}) is not recorded: ${REMEDY}`];
    if (now === undefined || Number.isNaN(now)) return [`${name} was recorded with ${before} and was not counted now: ${REMEDY} if it is gone`];
    if (now > MOST) return [`${name} has ${now}, more than ${MOST}: too near to the verifier's limit`];
    if (now > before * GROWTH) return [`${name} grew from ${before} to ${now}, more than 10 %: find out why, then ${REMEDY}`];
    if (now < before * SHRINK) return [`${name} shrank from ${before} to ${now}: ${REMEDY}`];
    return [];
  });
}
