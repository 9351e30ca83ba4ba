/** Times on the command line: `90s`, `5m`, `1h`. */
import { InvalidArgumentError } from "commander";

export function milliseconds(text: string): number {
  const [, number, unit] = /^(\d+)(s|m|h)$/.exec(text) ?? [];
  if (number === undefined) throw new InvalidArgumentError("a number and s, m or h");
  return Number(number) * { s: 1000, m: 60_000, h: 3_600_000 }[unit as "s" | "m" | "h"];
}
