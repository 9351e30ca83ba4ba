/**
 * Whether a text is a regular expression as proxies read it: RE2's syntax (https://github.com/google/re2/wiki/Syntax), which
 * has the extended ones of POSIX but nothing that looks ahead, behind or back. JavaScript's own differ in both ways.
 */

/** RE2's limit. */
const MOST_REPETITIONS = 1000;
/** Escapes of one letter: classes, edges, characters. */
const ESCAPES = /^[AbBzdDsSwWaftnrvC]/;
const REPETITION = /^\{(\d+)(,(\d*))?\}/;
const LOOKS = /^\(\?(<?[=!])/;
const GROUP = /^\(\?(P?<\w+>|[imsU]*(-[imsU]+)?[:)])/;
const POSIX_CLASS = /^\[:\^?(alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|word|xdigit):\]/;

class SyntaxProblem extends Error {}

/** What is wrong with it, in words that follow its name; undefined: nothing is. */
export function expressionProblem(text: string): string | undefined {
  try {
    readExpression(text);
    return undefined;
  } catch (thrown) {
    if (thrown instanceof SyntaxProblem) return thrown.message;
    throw thrown;
  }
}

function readExpression(text: string): void {
  let open = 0;
  let isRepeatable = false;
  for (let at = 0; at < text.length; ) {
    const rest = text.slice(at);
    const char = text.charAt(at);
    const length = tokenLength(rest, isRepeatable);
    if (char === "(" && !/^\(\?[imsU-]*\)/.test(rest)) open++;
    if (char === ")" && --open < 0) throw new SyntaxProblem("has a ) that nothing opened");
    isRepeatable = !isRepetition(rest) && char !== "|" && char !== "(";
    at += length;
  }
  if (open > 0) throw new SyntaxProblem("has a ( that nothing closes");
}

function isRepetition(rest: string): boolean {
  return /^[*+?]/.test(rest) || REPETITION.test(rest);
}

/** Of what the text begins with: a character, an escape, a class, the opening of a group, or a repetition with its laziness. */
function tokenLength(rest: string, isRepeatable: boolean): number {
  if (isRepetition(rest)) {
    if (!isRepeatable) throw new SyntaxProblem(`repeats nothing with ${rest.charAt(0)}`);
    const counted = repetitionLength(rest);
    return rest.charAt(counted) === "?" ? counted + 1 : counted;
  }
  if (rest.startsWith("\\")) return escapeLength(rest);
  if (rest.startsWith("[")) return classLength(rest);
  if (!rest.startsWith("(?")) return 1;
  if (LOOKS.test(rest)) throw new SyntaxProblem("looks ahead or behind, which proxies cannot");
  const group = GROUP.exec(rest)?.[0];
  if (group === undefined) throw new SyntaxProblem(`has an unknown kind of group, ${rest.slice(0, 4)}`);
  return group.length;
}

function repetitionLength(rest: string): number {
  const [all = rest.charAt(0), least = "0", isRange, most = ""] = REPETITION.exec(rest) ?? [];
  const last = isRange === undefined || most === "" ? Number(least) : Number(most);
  if (Number(least) > last) throw new SyntaxProblem(`repeats from ${least} to ${most} times`);
  if (last > MOST_REPETITIONS) throw new SyntaxProblem(`repeats ${last} times, more than ${MOST_REPETITIONS}`);
  return all.length;
}

function escapeLength(rest: string): number {
  const after = rest.slice(1);
  if (after === "") throw new SyntaxProblem("ends in a backslash");
  if (/^[1-9]/.test(after)) throw new SyntaxProblem(`refers back with \\${after.charAt(0)}, which proxies cannot`);
  const quoted = /^Q[^]*?(\\E|$)/.exec(after) ?? /^[pP](\{\^?\w+\}|[A-Z])/.exec(after) ?? /^x(\{[0-9A-Fa-f]+\}|[0-9A-Fa-f]{2})/.exec(after) ?? /^0[0-7]{0,2}/.exec(after);
  if (quoted !== null) return 1 + quoted[0].length;
  if (ESCAPES.test(after) || /^[^A-Za-z0-9]/.test(after)) return 2;
  throw new SyntaxProblem(`has an unknown escape, \\${after.charAt(0)}`);
}

/** `[...]`: a bracket that comes first is one of the characters. */
function classLength(rest: string): number {
  const first = rest.startsWith("[^") ? 2 : 1;
  let at = first;
  while (at === first || rest.charAt(at) !== "]") {
    if (at >= rest.length) throw new SyntaxProblem("has a [ that nothing closes");
    at += memberLength(rest.slice(at));
  }
  return at + 1;
}

/** A named class, a range, or a character. */
function memberLength(inner: string): number {
  if (inner.startsWith("[:") && inner.includes(":]")) {
    const name = POSIX_CLASS.exec(inner)?.[0];
    if (name === undefined) throw new SyntaxProblem(`has an unknown class, ${inner.slice(0, inner.indexOf(":]") + 2)}`);
    return name.length;
  }
  const from = characterLength(inner);
  if (!/^-[^\]]/.test(inner.slice(from))) return from;
  const to = characterLength(inner.slice(from + 1));
  if (from === 1 && to === 1 && inner.charAt(0) > inner.charAt(2)) throw new SyntaxProblem(`has a range that ends before it begins, ${inner.slice(0, 3)}`);
  return from + 1 + to;
}

function characterLength(inner: string): number {
  return inner.startsWith("\\") ? escapeLength(inner) : 1;
}
